"""Deleting what is due under a prefix, in batches of about a thousand, each answer read key by key.

Order matters: of one key the versions go first and its delete markers after them, and a marker goes only when no version
under it stays. Otherwise a run that is refused or killed half-way would bring back an object that was hidden.
Deleting by version id is idempotent, so a run that was stopped is simply run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING

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
_PASSING = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}
_HIDES = "VersionStays"  # our own code: a marker left because a version under it is left


class ObjectBatch(Frozen):
    """What a batch is about to delete: how many entries, and their digests (Entry.key64), for `remaining`."""

    number: int
    entries: int
    keys: tuple[int, ...]


class ObjectResult(Frozen):
    """What a batch did. `vanished` uploads were ended by somebody else; `errors` is code -> entries, and sums to `failed`.

    `keys` are the digests of what is gone by this batch, `xor` all of them together.
    """

    number: int
    versions: int = 0
    markers: int = 0
    uploads: int = 0
    vanished: int = 0
    failed: int = 0
    errors: dict[str, int] = {}
    keys: tuple[int, ...] = ()

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
    holds: Sequence[HoldScope] = (),
    page_size: int = 1000,
    first_number: int = 1,
) -> ObjectTotals:
    """Deletes every due entry under the prefix that no hold keeps; `on_intent` is called before a batch, `on_batch` after it.

    Each entry is judged as it is listed, so one that a hold now keeps stays. Entries that the store refuses inside a 200
    answer are counted as `failed`, by code; `ObjectTotals.raise_if_failed` turns them into an error. Raises Unreachable when
    the store stops answering: what was deleted is deleted, and running again goes on.
    """
    judge = Judge(predicate, dataset, holds)
    totals = ObjectTotals()
    for number, batch in enumerate(_batches(client, judge, page_size), start=first_number):
        due = [entry for entry in batch if judge.goes(entry)]
        if on_intent is not None:
            on_intent(ObjectBatch(number=number, entries=len(due), keys=tuple(e.key64 for e in due)))
        with answering(predicate.bucket):
            result = _delete(client, predicate.bucket, number, batch, due)
        on_batch(result)
        totals = _add(totals, result)
    return totals


def remaining(client: S3Client, bucket: str, prefix: str, keys: Collection[int], *, page_size: int = 1000) -> int:
    """How many of the entries of these digests are still there: what recovery asks about a batch that nobody closed."""
    wanted = frozenset(keys)
    return sum(entry.key64 in wanted for entry in everything(client, bucket, prefix, page_size=page_size))


def _batches(client: S3Client, judge: Judge, page_size: int) -> Iterator[list[Entry]]:
    """All entries of keys that have a due one, never splitting a key, until about `LIMIT` are together; then the uploads."""
    p = judge.predicate
    batch: list[Entry] = []
    for entries in by_key(client, p.bucket, p.prefix, page_size=page_size):
        if not any(judge.goes(e) for e in entries):
            continue
        if batch and len(batch) + len(entries) > LIMIT:
            yield batch
            batch = []
        batch += entries
    if batch:
        yield batch
    batch = []
    for upload in uploads(client, p.bucket, p.prefix, page_size=page_size):
        if judge.goes(upload):
            batch.append(upload)
        if len(batch) == LIMIT:
            yield batch
            batch = []
    if batch:
        yield batch


def _delete(client: S3Client, bucket: str, number: int, batch: list[Entry], due: list[Entry]) -> ObjectResult:
    errors: Counter[str] = Counter()
    gone: list[Entry] = []
    vanished = 0
    staying: dict[str, list[Entry]] = {}
    for entry in set(batch) - set(due):
        if entry.kind is Kind.VERSION:
            staying.setdefault(entry.key, []).append(entry)
    versions = [e for e in due if e.kind is Kind.VERSION]
    for entry, code in _delete_versions(client, bucket, versions).items():
        if code is None:
            gone.append(entry)
        else:
            errors[code] += 1
            staying.setdefault(entry.key, []).append(entry)
    markers = [e for e in due if e.kind is Kind.MARKER]
    free = [m for m in markers if not any(v.at <= m.at for v in staying.get(m.key, ()))]
    errors[_HIDES] += len(markers) - len(free)
    for entry, code in _delete_versions(client, bucket, free).items():
        if code is None:
            gone.append(entry)
        else:
            errors[code] += 1
    for entry in due:
        if entry.kind is Kind.UPLOAD:
            code = _abort(client, bucket, entry)
            if code is None:
                gone.append(entry)
            elif code == "NoSuchUpload":
                vanished += 1
            else:
                errors[code] += 1
    kinds = Counter(e.kind for e in gone)
    return ObjectResult(
        number=number,
        versions=kinds[Kind.VERSION],
        markers=kinds[Kind.MARKER],
        uploads=kinds[Kind.UPLOAD],
        vanished=vanished,
        failed=errors.total(),
        errors=dict(+errors),
        keys=tuple(e.key64 for e in gone),
    )


def _delete_versions(client: S3Client, bucket: str, entries: Sequence[Entry]) -> dict[Entry, str | None]:
    """Each entry with its error code, None when it is gone; codes that pass by themselves are asked again a few times."""
    answers: dict[Entry, str | None] = {}
    for start in range(0, len(entries), LIMIT):
        chunk = entries[start : start + LIMIT]

        def ask(chunk: Sequence[Entry] = chunk) -> bool:
            answers.update(_ask(client, bucket, [e for e in chunk if answers.get(e, "SlowDown") in _PASSING]))
            return any(answers[e] in _PASSING for e in chunk)

        Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(0.1, max=5),
            retry_error_callback=lambda _: True,
        )(ask)
    return answers


def _ask(client: S3Client, bucket: str, entries: Sequence[Entry]) -> dict[Entry, str | None]:
    """One DeleteObjects. An entry that the answer does not mention is `Unanswered`: silence is not a deletion."""
    if not entries:
        return {}
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": e.key, "VersionId": e.id} for e in entries], "Quiet": False})
    codes: dict[tuple[str, str], str | None] = {(d["Key"], d.get("VersionId") or "null"): None for d in answer.get("Deleted", [])}
    codes |= {(e.get("Key", ""), e.get("VersionId") or "null"): e.get("Code", "unknown") for e in answer.get("Errors", [])}
    return {e: codes.get((e.key, e.id), "Unanswered") for e in entries}


def _abort(client: S3Client, bucket: str, upload: Entry) -> str | None:
    """Ends an unfinished upload: its error code, None when it is gone. A refusal is counted, a silent store raises."""
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=upload.key, UploadId=upload.id)
    except ClientError as error:
        if int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500:
            raise
        return str(error.response.get("Error", {}).get("Code", "unknown"))
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
