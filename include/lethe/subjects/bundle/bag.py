"""A BagIt bag (RFC 8493) in a ZIP, written as a stream: nothing is sought, nothing lies on a disk, and memory grows by its entries only.

Every entry is hashed as it passes; the manifests come last. The same entries give the same bytes: each is dated by the request.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, cast

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
TAGS = ("bagit.txt", "bag-info.txt", "manifest-sha256.txt")
MODE = 0o100644 << 16
ENTRY_COST = 768
"""Bytes that an entry costs beside its own, at most: its header, its line of a manifest, its line of the directory. Paths are under 200."""


class Stream(Protocol):
    """Where a part goes."""

    def write(self, data: Any, /) -> Any:
        """Takes bytes."""

    def close(self) -> None:
        """Makes them one whole."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A finished bag: bytes of the ZIP, and their sha256 in hex."""

    bytes: int
    sha256: str


class _Out:
    """Counts and hashes what goes out. Has no `tell`, so that `zipfile` never seeks; after `cut` it swallows what still comes."""

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream | None = stream
        self.hash, self.bytes = hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._stream is not None:
            self._stream.write(data)
            self.hash.update(data)
            self.bytes += size
        return size

    def flush(self) -> None:
        """Nothing waits here."""

    def cut(self) -> None:
        self._stream = None


class Entry:
    """An entry that is open: takes bytes, counts and hashes them."""

    def __init__(self, into: Any) -> None:
        self._into, self._hash, self.bytes = into, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        self._into.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        """Of all that was taken, in hex."""
        return self._hash.hexdigest()


class BagWriter:
    """A bag that is being written into a stream. Paths are from the bag's folder: payload begins with `data/`."""

    def __init__(self, stream: Stream, *, folder: str, made_at: datetime) -> None:
        """`folder`: the one folder of the ZIP. `made_at`: the date of every entry, in UTC, as the ZIP can tell it (1980 to 2107)."""
        self._out = _Out(stream)
        self._zip = zipfile.ZipFile(cast(Any, self._out), "w", zipfile.ZIP_DEFLATED)  # it asks for write and flush only
        self._folder = folder
        at = made_at.astimezone(UTC)
        self._date = (min(max(at.year, 1980), 2107), at.month, at.day, at.hour, at.minute, at.second // 2 * 2)
        self._payload: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._payload_bytes = 0

    @property
    def size(self) -> int:
        """Bytes that went out so far."""
        return self._out.bytes

    @property
    def entries(self) -> int:
        """Entries of the payload so far."""
        return len(self._payload)

    @contextmanager
    def entry(self, path: str, *, size: int, deflate: bool = True) -> Iterator[Entry]:
        """An entry to be written now. `size`: the bytes that will come (above 2 GiB the entry is ZIP64). Without `deflate` they are copied."""
        if path in self._payload or path in self._tags:
            raise ValueError("an entry of a bag is written once")
        info = zipfile.ZipInfo(f"{self._folder}/{path}", self._date)
        info.compress_type, info.external_attr, info.file_size = zipfile.ZIP_DEFLATED, MODE, size
        # Copied bytes are deflate blocks without compression, not a stored entry: one whose checksum follows its bytes is refused by readers of streams.
        info._compresslevel = 6 if deflate else 0  # type: ignore[attr-defined]
        with self._zip.open(info, "w") as into:
            entry = Entry(into)
            yield entry
        if path.startswith("data/"):
            self._payload[path] = entry.sha256
            self._payload_bytes += entry.bytes
        else:
            self._tags[path] = entry.sha256

    def add(self, path: str, body: bytes) -> None:
        """Writes a whole entry."""
        with self.entry(path, size=len(body)) as entry:
            entry.write(body)

    def finish(self, info: Sequence[tuple[str, str]]) -> Sealed:
        """Writes what describes the bag, with `info` as label and value, then the directory of the ZIP. The stream is left open."""
        oxum = ("Payload-Oxum", f"{self._payload_bytes}.{len(self._payload)}")
        self.add(TAGS[0], DECLARATION)
        self.add(TAGS[1], "".join(f"{label}: {' '.join(value.split())}\n" for label, value in (*info, oxum)).encode())
        self.add(TAGS[2], _manifest(self._payload))
        self.add("tagmanifest-sha256.txt", _manifest(self._tags))
        self._zip.close()
        return Sealed(bytes=self._out.bytes, sha256=self._out.hash.hexdigest())

    def abandon(self) -> None:
        """Leaves it unfinished: a ZIP without a directory, which no reader takes for a bag. Nothing reaches the stream from now on."""
        self._out.cut()
        self._zip.close()  # or its destructor would, into the stream


def _manifest(hashes: dict[str, str]) -> bytes:
    return "".join(f"{hashed}  {path}\n" for path, hashed in sorted(hashes.items())).encode()
