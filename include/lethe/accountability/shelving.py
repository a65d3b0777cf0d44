"""Where the files of a list lie: what anybody may have beside the evidence, what is internal in a place of its own.

Internal files name contacts at other companies. Nothing is ever deleted where the evidence lies, so they lie where a rule of the policy has all
of it deleted in time, all versions, encrypted, under credentials that may do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from lethe import settings
from lethe.accountability.pages import CONTENT_TYPES
from lethe.accountability.processor_list.content import Audience
from lethe.frozen import Frozen
from lethe.stores.s3.client import answering
from lethe.stores.s3.upload import Upload
from lethe.subjects.places import LISTS, Place, place
from lethe.workspace import Workspace


class Shelved(Frozen):
    """Every file as it came back, by name. `dataset`: that of the internal ones, which lie in its bucket under the same folder."""

    files: dict[str, bytes]
    dataset: str


def shelve(workspace: Workspace, folder: str, files: Mapping[str, bytes]) -> Shelved:
    """Puts every file under `folder`, and gets it back. `files` by name; what begins with `internal/` is internal.

    Raises UnknownName when the catalog has no place for internal files, RequestRefused when that place is asked for no encryption: nothing
    is put anywhere then. Raises NotEncrypted, Unreachable, Uncountable.
    """
    depot = place(workspace, LISTS)
    depot.writing()
    bucket, client = workspace.bucket(settings.EVIDENCE_BUCKET), workspace.s3(settings.EVIDENCE_BUCKET)
    back: dict[str, bytes] = {}
    for name, content in files.items():
        kind, key = CONTENT_TYPES[name.rpartition(".")[2]], f"{folder}/{name}"
        if name.startswith(f"{Audience.INTERNAL}/"):
            back[name] = _put_away(depot, key, content, kind)
            continue
        with answering(bucket):
            client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind)
            back[name] = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return Shelved(files=back, dataset=depot.dataset)


def _put_away(depot: Place, key: str, content: bytes, kind: str) -> bytes:
    upload = Upload(
        depot.client, depot.bucket, f"{depot.prefix}{key}", encryption=depot.encryption, kms_key=depot.kms_key, content_type=kind
    )
    try:
        upload.write(content)
        upload.close()
    except BaseException:
        upload.abort()
        raise
    put = upload.uploaded
    assert put is not None
    of: Any = {"Bucket": put.bucket, "Key": put.key} | ({"VersionId": put.version} if put.version else {})
    with answering(depot.bucket), closing(depot.client.get_object(**of)["Body"]) as body:
        return bytes(body.read())
