"""Is a part of a bundle what was written? Read as a stream: nothing is unpacked to a disk, and memory does not grow with the bundle."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any, Literal

from lethe.errors import BundleDiffers
from lethe.subjects.bundle.bag import DECLARATION, TAGS
from lethe.subjects.bundle.container import Container

What = Literal["no bundle", "changed", "missing", "added", "double", "outside"]

_MANIFEST, _TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
_MOST = 256 << 20  # bytes of a manifest: a million files
_FOLDER = re.compile(r"lethe-[A-Za-z0-9-]+")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_ROWS = re.compile(r"data/json/(.+?)(?:\.\d{4,})?\.json")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong, and with which entry, from the ZIP's root; None: with the whole. A path may have a file's name: it goes into no log."""

    what: What
    path: str | None = field(default=None, repr=False)


def problems(file: IO[bytes]) -> tuple[Problem, ...]:
    """Everything by which the ZIP `file` (seekable) is not a whole, unchanged bag of Lethe's; empty when it is one.

    Every byte counts: content is held against the manifests, these against the tag manifest, and the rest against what a writer makes of it.
    (Some bits of a compressed stream may be otherwise and mean the same; the sha256 of the whole ZIP has those too.)
    Whether it is the file that was once written its sha256 tells, which its answer and the ledger have.
    """
    archive = _open(file)
    if archive is None:
        return (Problem(what="no bundle"),)
    with archive:
        return tuple(_problems(archive, file))


def contents(file: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a part as section id and JSON object, numbers exact, a line at a time. For one in which there are no problems.

    Raises BundleDiffers when it is no ZIP, or a line is no row.
    """
    archive = _open(file)
    if archive is None:
        raise BundleDiffers("A bundle's part is no ZIP.", fix="Run the export again.")
    with archive:
        container = Container(archive, file)
        for info in archive.infolist():
            found = _ROWS.fullmatch(info.filename.partition("/")[2])
            if found is not None:
                for line in _split(container, info):
                    yield found[1], _row(line)


def _split(container: Container, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The lines of a file of rows, without the brackets of the list."""
    rest = b""
    try:
        for piece in container.pieces(info):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line for line in lines if line.strip() not in {b"[", b"]"})
    except _BROKEN:
        raise BundleDiffers("A file of a bundle's rows cannot be read.", fix="Run the export again.") from None


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.rstrip().removesuffix(b","), parse_float=Decimal, parse_int=_whole)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise BundleDiffers("A line of a bundle's rows is no row.", fix="Run the export again.")
    return row


def _whole(digits: str) -> int:
    """Any number of digits: Python's int() takes 4,300 of a text."""
    return int(digits) if len(digits) < 4000 else int(Decimal(digits))


def _open(file: IO[bytes]) -> zipfile.ZipFile | None:
    """The ZIP, or None when it is none. OSError when the file cannot be read."""
    try:
        return zipfile.ZipFile(file)
    except (*_BROKEN, ValueError, OverflowError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # its directory is said to lie before its begin
            return None
        raise


def _problems(archive: zipfile.ZipFile, file: IO[bytes]) -> Iterator[Problem]:
    infos = archive.infolist()
    folder = infos[0].filename.partition("/")[0] if infos else ""
    if not _FOLDER.fullmatch(folder):
        yield Problem(what="no bundle")
        return
    names = Counter(i.filename for i in infos)
    yield from (Problem(what="double", path=n) for n, times in names.items() if times > 1)
    yield from (Problem(what="outside", path=n) for n in names if not _inside(n, folder))
    container, readable, hashes = Container(archive, file), dict[str, zipfile.ZipInfo](), dict[str, str]()
    whole, changed = True, set[str]()
    for info in infos:
        whole = whole and container.header(info)
        path = info.filename.removeprefix(f"{folder}/")
        hashed = _hash(container, info)
        if hashed is None:
            changed.add(path)
        else:
            hashes[path], readable[path] = hashed, info
    there = hashes.keys() | changed
    manifests = {m: _manifest(container, readable[m], m) if m in readable else None for m in (_MANIFEST, _TAGS)}
    said: dict[str, str] = {}
    for name, listed in manifests.items():
        if listed is None:
            yield Problem(what="changed" if name in there else "missing", path=f"{folder}/{name}")
        said |= listed or {}
    expected = {*said, _TAGS, *TAGS}
    yield from (Problem(what="missing", path=f"{folder}/{p}") for p in sorted(expected - there - manifests.keys()))
    yield from (Problem(what="added", path=f"{folder}/{p}") for p in sorted(there - expected) if _inside(f"{folder}/{p}", folder))
    changed |= {p for p, hashed in hashes.items() if p in said and said[p] != hashed}
    changed |= {TAGS[0]} if TAGS[0] in hashes and hashes[TAGS[0]] != hashlib.sha256(DECLARATION).hexdigest() else set()
    changed |= {TAGS[1]} if TAGS[1] in readable and not _counts(container, readable) else set()
    yield from (Problem(what="changed", path=f"{folder}/{p}") for p in sorted(changed - {n for n, m in manifests.items() if m is None}))
    if not (whole and container.directory()):
        yield Problem(what="changed")


def _inside(name: str, folder: str) -> bool:
    """Is it a path below the folder, for every system that may unpack it?"""
    parts = name.removesuffix("/").split("/")
    below = len(parts) > 1 or name.endswith("/")
    return parts[0] == folder and below and not any(p in {"", ".", ".."} for p in parts) and not re.search(r"[\x00-\x1f\\:]", name)


def _hash(container: Container, info: zipfile.ZipInfo) -> str | None:
    """sha256 in hex of an entry; None when it cannot be read, or its checksum differs."""
    hashed = hashlib.sha256()
    try:
        for piece in container.pieces(info):
            hashed.update(piece)
    except (*_BROKEN, ValueError):
        return None
    return hashed.hexdigest()


def _manifest(container: Container, info: zipfile.ZipInfo, name: str) -> Mapping[str, str] | None:
    """What a manifest says: hashes by path. None when it is none. A payload's names payload only, a tag manifest's the tags."""
    found: dict[str, str] = {}
    for line in _lines(container, info):
        matched = _LINE.fullmatch(line)
        if matched is None or matched[2] in found or matched[2].startswith("data/") != (name == _MANIFEST):
            return None
        found[matched[2]] = matched[1]
    return found


def _counts(container: Container, readable: Mapping[str, zipfile.ZipInfo]) -> bool:
    """Does bag-info count what is there?"""
    payload = [info.file_size for path, info in readable.items() if path.startswith("data/")]
    return f"Payload-Oxum: {sum(payload)}.{len(payload)}" in _lines(container, readable[TAGS[1]])


def _lines(container: Container, info: zipfile.ZipInfo) -> list[str]:
    """The lines of a tag file; of one that is too large to be one, a line that is none."""
    return b"".join(container.pieces(info)).decode(errors="replace").split("\n")[:-1] if info.file_size <= _MOST else ["too large"]
