"""A BagIt bag (RFC 8493) inside a ZIP, written in one pass to a stream: nothing of it lies on a disk, and memory does not grow with it.

The payload's digests are taken while it passes, so the manifests come last. The same entries give the same bytes: instants come from the caller.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_OLDEST = (1980, 1, 1, 0, 0, 0)  # no ZIP is older
_OWNER_ONLY = 0o100600 << 16


class Passing(io.RawIOBase):
    """A stream that counts and hashes what passes to another; it cannot be told a place, so the ZIP is written for reading from its end."""

    def __init__(self, onto: Any) -> None:
        """`onto` needs `write`."""
        self._onto, self._hash, self.bytes = onto, hashlib.sha256(), 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Passes bytes on."""
        view = memoryview(data).cast("B")
        self._onto.write(view)
        self._hash.update(view)
        self.bytes += len(view)
        return len(view)

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hex."""
        return self._hash.hexdigest()


class Entry:
    """An open entry: takes bytes, and knows its digest and size."""

    def __init__(self, onto: Any) -> None:
        """`onto` needs `write`."""
        self._onto, self._hash, self.size = onto, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        self._onto.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Of what it took so far, in hex."""
        return self._hash.hexdigest()


class Bag:
    """One bag, its root a folder of that name. Entries are written one after the other; `finish` makes it valid, and without it nothing is."""

    def __init__(self, onto: Any, root: str, *, at: datetime) -> None:
        """`onto` needs `write`; `at` is the instant that all entries carry."""
        self.stream = Passing(onto)
        self._root, self._at = root, at
        self._zip = zipfile.ZipFile(self.stream, "w", allowZip64=True)
        self._payload: dict[str, str] = {}
        self._octets = 0

    @contextmanager
    def entry(self, path: str, *, squeeze: bool = True) -> Iterator[Entry]:
        """A payload file at `data/PATH`. `squeeze` False stores bytes as they are: photos and archives do not get smaller."""
        name = f"data/{path}"
        if name in self._payload:
            raise ValueError(f"entry written twice: {len(self._payload)}")
        with self._zip.open(self._info(name, squeeze=squeeze), "w", force_zip64=True) as opened:
            entry = Entry(opened)
            yield entry
        self._payload[name] = entry.sha256
        self._octets += entry.size

    def add(self, path: str, content: str) -> Entry:
        """A small payload file, whole."""
        with self.entry(path) as entry:
            entry.write(content.encode())
        return entry

    def finish(self, about: Mapping[str, str]) -> None:
        """Writes the manifests and the ZIP's directory. `about`: the fields of bag-info.txt beside those that are counted."""
        info = {**about, "Bagging-Date": self._at.date().isoformat(), "Payload-Oxum": f"{self._octets}.{len(self._payload)}"}
        tags = {
            "bagit.txt": _DECLARATION,
            "bag-info.txt": "".join(f"{k}: {v}\n" for k, v in info.items()).encode(),
            "manifest-sha256.txt": "".join(f"{digest}  {_written(path)}\n" for path, digest in self._payload.items()).encode(),
        }
        tags["tagmanifest-sha256.txt"] = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in tags.items()).encode()
        for name, body in tags.items():
            self._zip.writestr(self._info(name, squeeze=True), body)
        self._zip.close()

    def _info(self, name: str, *, squeeze: bool) -> zipfile.ZipInfo:
        made = zipfile.ZipInfo(f"{self._root}/{name}", max(_OLDEST, self._at.timetuple()[:6]))
        made.compress_type = zipfile.ZIP_DEFLATED if squeeze else zipfile.ZIP_STORED
        made.create_system, made.external_attr = 3, _OWNER_ONLY
        return made


def _written(path: str) -> str:
    """A path as a manifest has it (RFC 8493, 2.1.3): line breaks and % are percent-encoded."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def read_path(text: str) -> str:
    """The path that a manifest means."""
    return text.replace("%0A", "\n").replace("%0D", "\r").replace("%0a", "\n").replace("%0d", "\r").replace("%25", "%")
