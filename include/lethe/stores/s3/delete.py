"""Deleting what is due under a prefix, in batches of at most a thousand, each judged again by the holds of its moment, each answer
read key by key.

Order matters: of one key the versions go first and its delete markers after them, and a marker goes only when no version
under it stays. Otherwise a run that is refused or killed half-way would bring back an object that was hidden.
Deleting by version id is idempotent, so a run that was stopped is simply run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

from lethe.errors import ObjectErrors
from lethe.frozen import Frozen
from lethe.plan.model import HoldScope, ObjectPredicate
from lethe.stores.s3.client import answering
from lethe.stores.s3.judge import Judge
from lethe.stores.s3.listing import Entry, Kind, by_key, everything, uploads

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LIMIT = 1000  # keys that one DeleteObjects may name
UPLOADS = 100  # of a batch: each is a request of its own, and nobody can add a hold until the batch is over
_PASSING = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}
_VANISHED = "NoSuchUpload"
_HIDES = "VersionStays"  # our own code: a marker left because a version under it is left

Holding = Callable[[], AbstractContextManager[Sequence[HoldScope]]]
"""Entered for each batch: gives the holds in force, and keeps new ones out until it is left."""

Asking = Callable[[], AbstractContextManager[object]]
"""Entered around each request that deletes; an error of it lets the request go unsent."""


class ObjectBatch(Frozen):
    """What a batch is about to delete: how many entries, and their digests (Entry.key64), for `remaining`."""

    number: int
    entries: int
    keys: tuple[int, ...]


class ObjectResult(Frozen):
    """What a batch did. `vanished` uploads were ended by somebody else; `errors` is code -> entries, and sums to `failed`.

    `keys` are the digests of what is gone by this batch, `xor` all of them together; `refused` those of what failed.
    """

    number: int
    versions: int = 0
    markers: int = 0
    uploads: int = 0
    vanished: int = 0
    failed: int = 0
    errors: dict[str, int] = {}
    keys: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()

    @property
    def deleted(self) -> int:
        """Versions, delete markers and uploads together."""
        return self.versions + self.markers + self.uploads

    @property
    def xor(self) -> int:
        """The fingerprint of what is gone by this batch."""
        return reduce(xor, self.keys, 0)


class ObjectTotals(Frozen):
    """What a step's batches did together; the sums are over `ObjectResult`s."""

    batches: int = 0
    versions: int = 0
    markers: int = 0
    uploads: int = 0
    vanished: int = 0
    failed: int = 0
    errors: dict[str, int] = {}
    xor: int = 0

    @property
    def deleted(self) -> int:
        """Versions, delete markers and uploads together."""
        return self.versions + self.markers + self.uploads

    def raise_if_failed(self) -> None:
        """ObjectErrors, with numbers by error code and no key, when the store refused any entry."""
        if self.failed:
            codes = ", ".join(f"{code}: {number}" for code, number in sorted(self.errors.items()))
            raise ObjectErrors(
                f"The object store refused {self.failed} of {self.failed + self.deleted} entries ({codes}).",
                fix="Look for an object lock, a legal hold or a bucket policy, then run the same plan again.",
            )


def delete_due(
    client: S3Client,
    predicate: ObjectPredicate,
    *,
    on_batch: Callable[[ObjectResult], None],
    on_intent: Callable[[ObjectBatch], None] | None = None,
    dataset: str | None = None,
    holding: Holding = lambda: nullcontext(()),
    asking: Asking = nullcontext,
    page_size: int = 1000,
    first_number: int = 1,
) -> ObjectTotals:
    """Deletes every due entry under the prefix that no hold keeps; `on_intent` is called before a batch, `on_batch` after it.

    `holding` is open from before a batch is judged until after `on_batch`, so a hold that was accepted meanwhile keeps the next one.
    Entries that the store refuses inside a 200 answer are counted as `failed`, by code; `ObjectTotals.raise_if_failed` turns them
    into an error. Raises Unreachable when the store stops answering: what was deleted is deleted, and running again goes on.
    """
    totals = ObjectTotals()
    staying: dict[str, list[Entry]] = {}
    for entries in _batches(client, Judge(predicate, dataset), page_size):
        with holding() as holds:
            judge = Judge(predicate, dataset, holds)
            due = [e for e in entries if judge.goes(e)]
            for entry in set(entries) - set(due):
                _stays(entry, staying)
            if due:
                number = first_number + totals.batches
                if on_intent is not None:
                    on_intent(ObjectBatch(number=number, entries=len(due), keys=tuple(e.key64 for e in due)))
                with answering(predicate.bucket):
                    result = delete_entries(client, predicate.bucket, number, due, staying, asking)
                on_batch(result)
                totals = _add(totals, result)
        last = entries[-1].key  # the only one that may go on in the next batch
        staying = {last: staying[last]} if last in staying else {}
    return totals


def remaining(client: S3Client, bucket: str, prefix: str, keys: Collection[int], *, page_size: int = 1000) -> int:
    """How many of the entries of these digests are still there: what recovery asks about a batch that nobody closed."""
    wanted = frozenset(keys)
    return sum(entry.key64 in wanted for entry in everything(client, bucket, prefix, page_size=page_size))


def _batches(client: S3Client, judge: Judge, page_size: int) -> Iterator[list[Entry]]:
    """All entries of keys that have a due one, up to `LIMIT` together; then the uploads, up to `UPLOADS`.

    A key is split only when it alone is larger: its versions then come before its markers, in batches that follow each other.
    """
    p = judge.predicate
    batch: list[Entry] = []
    for entries in by_key(client, p.bucket, p.prefix, page_size=page_size):
        if not any(judge.goes(e) for e in entries):
            continue
        if batch and len(batch) + len(entries) > LIMIT:
            yield batch
            batch = []
        batch += sorted(entries, key=lambda e: e.kind is Kind.MARKER)
        while len(batch) > LIMIT:
            yield batch[:LIMIT]
            batch = batch[LIMIT:]
    if batch:
        yield batch
    batch = []
    for upload in uploads(client, p.bucket, p.prefix, page_size=page_size):
        if judge.goes(upload):
            batch.append(upload)
        if len(batch) == UPLOADS:
            yield batch
            batch = []
    if batch:
        yield batch


def _stays(entry: Entry, staying: dict[str, list[Entry]]) -> None:
    """Takes down a version that is left: the markers over it must not go."""
    if entry.kind is Kind.VERSION:
        staying.setdefault(entry.key, []).append(entry)


def delete_entries(
    client: S3Client, bucket: str, number: int, due: Sequence[Entry], staying: dict[str, list[Entry]], asking: Asking
) -> ObjectResult:
    """Deletes the versions, then the markers that hide nothing, then the uploads; adds the refused versions to `staying`, by key.

    Raises boto3's errors when the store stops answering (`client.answering` says them in our words).
    """
    found = _delete_versions(client, bucket, [e for e in due if e.kind is Kind.VERSION], asking)
    for entry, code in found.items():
        if code is not None:
            _stays(entry, staying)
    markers = [e for e in due if e.kind is Kind.MARKER]
    hiding = [m for m in markers if any(v.at <= m.at for v in staying.get(m.key, ()))]
    found |= dict.fromkeys(hiding, _HIDES)
    found |= _delete_versions(client, bucket, [m for m in markers if m not in found], asking)
    found |= {e: _abort(client, bucket, e, asking) for e in due if e.kind is Kind.UPLOAD}
    gone = [e for e, code in found.items() if code is None]
    refused = {e: code for e, code in found.items() if code is not None and code != _VANISHED}
    kinds = Counter(e.kind for e in gone)
    return ObjectResult(
        number=number,
        versions=kinds[Kind.VERSION],
        markers=kinds[Kind.MARKER],
        uploads=kinds[Kind.UPLOAD],
        vanished=len(found) - len(gone) - len(refused),
        failed=len(refused),
        errors=dict(Counter(refused.values())),
        keys=tuple(e.key64 for e in gone),
        refused=tuple(e.key64 for e in refused),
    )


def _delete_versions(client: S3Client, bucket: str, entries: Sequence[Entry], asking: Asking) -> dict[Entry, str | None]:
    """Each entry with its error code, None when it is gone; codes that pass by themselves are asked again a few times."""
    answers: dict[Entry, str | None] = {}
    for start in range(0, len(entries), LIMIT):
        chunk = entries[start : start + LIMIT]

        def ask(chunk: Sequence[Entry] = chunk) -> bool:
            answers.update(_ask(client, bucket, [e for e in chunk if answers.get(e, "SlowDown") in _PASSING], asking))
            return any(answers[e] in _PASSING for e in chunk)

        Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(0.1, max=5),
            retry_error_callback=lambda _: True,
        )(ask)
    return answers


def _ask(client: S3Client, bucket: str, entries: Sequence[Entry], asking: Asking) -> dict[Entry, str | None]:
    """One DeleteObjects. An entry that the answer does not mention is `Unanswered`: silence is not a deletion."""
    if not entries:
        return {}
    named: Any = [{"Key": e.key, "VersionId": e.id} for e in entries]
    with asking():
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": False})
    codes: dict[tuple[str, str], str | None] = {(d["Key"], d.get("VersionId") or "null"): None for d in answer.get("Deleted", [])}
    codes |= {(e.get("Key", ""), e.get("VersionId") or "null"): e.get("Code", "unknown") for e in answer.get("Errors", [])}
    return {e: codes.get((e.key, e.id), "Unanswered") for e in entries}


def _abort(client: S3Client, bucket: str, upload: Entry, asking: Asking) -> str | None:
    """Ends an unfinished upload: its error code, None when it is gone. A refusal is counted, a silent store raises."""
    try:
        with asking():
            client.abort_multipart_upload(Bucket=bucket, Key=upload.key, UploadId=upload.id)
    except ClientError as error:
        answer = error.response.get("ResponseMetadata", {})
        if int(answer.get("HTTPStatusCode", 0)) >= 500:
            raise
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        # Not there at the second asking: the first one ended it, and its answer was lost.
        return None if code == _VANISHED and answer.get("RetryAttempts", 0) else code
    return None


def _add(totals: ObjectTotals, result: ObjectResult) -> ObjectTotals:
    return ObjectTotals(
        batches=totals.batches + 1,
        versions=totals.versions + result.versions,
        markers=totals.markers + result.markers,
        uploads=totals.uploads + result.uploads,
        vanished=totals.vanished + result.vanished,
        failed=totals.failed + result.failed,
        errors=dict(Counter(totals.errors) + Counter(result.errors)),
        xor=totals.xor ^ result.xor,
    )
