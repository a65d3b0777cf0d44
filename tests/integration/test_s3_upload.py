"""An object written as a stream and read as a file, on a real gateway: encrypted as asked, whole or not there, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import Any

import pytest

from demo.ceph import CephGateway
from helpers.archive_store import KMS_KEY, ArchiveStore, archive_store
from lethe.errors import LetheError, NotEncrypted
from lethe.stores.s3.listing import everything
from lethe.stores.s3.reader import open_object
from lethe.stores.s3.upload import PART, Upload

pytestmark = [pytest.mark.ceph, pytest.mark.timeout(180)]
KEY = "R-2026-7K3M9QWX/00ff/lethe.zip"


@pytest.fixture(scope="module")
def keys(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def store(ceph: CephGateway, keys: tuple[str, str]) -> ArchiveStore:
    return archive_store(ceph, keys=keys)


def upload(store: ArchiveStore, encryption: str | None = "aws:kms") -> Upload:
    key = KMS_KEY if encryption == "aws:kms" else None
    return Upload(store.client, store.name, KEY, encryption=encryption, kms_key=key, content_type="application/zip")


def left(store: ArchiveStore) -> list[Any]:
    return list(everything(store.client, store.name, "R-2026-7K3M9QWX"))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART + 5])
def test_a_stream_of_any_length_becomes_one_encrypted_object(store: ArchiveStore, size: int) -> None:
    data = os.urandom(size)
    stream = upload(store)
    for start in range(0, size, 700_001):
        stream.write(data[start : start + 700_001])
    stream.close()
    made = stream.uploaded
    assert made is not None and (made.bytes, made.sha256, made.encryption) == (size, hashlib.sha256(data).hexdigest(), "aws:kms")
    with open_object(store.client, store.name, KEY, made.version, size) as file:
        assert file.read() == data
    assert KEY not in repr(made) and len(left(store)) == 1


def test_nothing_is_there_before_the_end_and_nothing_is_left_of_what_was_given_up(store: ArchiveStore) -> None:
    stream = upload(store)
    stream.write(os.urandom(PART + 1))
    assert [e.kind.value for e in left(store)] == ["upload"]
    stream.abort()
    assert left(store) == [] and stream.uploaded is None


def test_a_store_that_does_not_encrypt_as_asked_is_found_out(store: ArchiveStore) -> None:
    stream = Upload(store.client, store.name, KEY, encryption=None, content_type="application/zip")
    stream._encryption = "AES256"  # the wish was lost on its way
    stream.write(b"x")
    with pytest.raises(NotEncrypted) as refused:
        stream.close()
    assert KEY not in str(refused.value) and refused.value.fix


def test_an_encryption_that_the_store_does_not_have_is_refused(store: ArchiveStore) -> None:
    with pytest.raises(LetheError):
        Upload(store.client, store.name, KEY, encryption="aws:kms", kms_key="no-such-key", content_type="application/zip")
    assert left(store) == []


def test_a_directory_at_the_end_of_an_object_is_read_without_reading_all_of_it(store: ArchiveStore) -> None:
    stream, filler = upload(store), os.urandom(3 * PART)
    with zipfile.ZipFile(stream, "w") as made:  # type: ignore[arg-type]
        made.writestr("large", filler)
        made.writestr("small", b"found")
    stream.close()
    assert stream.uploaded is not None
    asked: list[Any] = []
    store.client.meta.events.register("before-call.s3.GetObject", lambda params, **_: asked.append(params["headers"]["Range"]))
    with open_object(store.client, store.name, KEY, stream.uploaded.version, stream.uploaded.bytes) as file, zipfile.ZipFile(file) as found:
        assert found.read("small") == b"found"
    assert 1 <= len(asked) <= 5
    store.client.meta.events.unregister("before-call.s3.GetObject")
