"""Is a bundle whole? Read from its ZIP as a stream, never unpacked: a changed byte, a missing file, an added one, a name that leads elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lethe.subjects.bundle.bag import read_path

_PIECE = 1 << 20
_JSON = re.compile(r"data/json/(.+?)(?:\.\d{4})?\.json")
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)")
_TAGS = ("bagit.txt", "bag-info.txt", "manifest-sha256.txt")
LARGEST_TAG = 64 << 20
"""Bytes of a manifest: a larger one is not read."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong, and with which entry: its path in the bag, None for the bag itself."""

    what: str
    path: str | None = None


def problems(file: BinaryIO | Any) -> tuple[Problem, ...]:
    """Everything that is wrong with a bundle; nothing for one that is whole. `file` is open for reading and can be moved in."""
    try:
        with zipfile.ZipFile(file) as opened:
            return tuple(_problems(opened))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        return (Problem(what=f"it is no whole ZIP ({type(error).__name__})"),)


def contents(file: BinaryIO | Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of the lossless copy with its section's id, numbers exact; a line at a time. Call `problems` first."""
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            found = _JSON.fullmatch(info.filename.partition("/")[2])
            if found is None:
                continue
            with opened.open(info) as lines:
                for line in lines:
                    text = line.strip().rstrip(b",")
                    if text not in (b"[", b"]", b""):
                        yield found[1], json.loads(text, parse_float=Decimal)


def _problems(opened: zipfile.ZipFile) -> Iterator[Problem]:
    infos = [i for i in opened.infolist() if not i.is_dir()]
    twice = [name for name, n in Counter(i.filename for i in infos).items() if n > 1]
    yield from (Problem(what="is there twice", path=name) for name in twice)
    roots = {i.filename.partition("/")[0] for i in infos}
    outside = [i.filename for i in infos if _leads_out(i.filename)]
    yield from (Problem(what="lies outside of the bag", path=name) for name in outside)
    if len(roots) != 1 or outside or twice:
        yield from () if len(roots) == 1 else (Problem(what="it is not one bag"),)
        return
    root = roots.pop()
    there = {i.filename[len(root) + 1 :]: i for i in infos}
    yield from (Problem(what="is missing", path=name) for name in (*_TAGS, "tagmanifest-sha256.txt") if name not in there)
    if any(name not in there for name in _TAGS):
        return
    said, tags = _manifest(opened, there["manifest-sha256.txt"]), {}
    if "tagmanifest-sha256.txt" in there:
        tags = _manifest(opened, there["tagmanifest-sha256.txt"])
        yield from (Problem(what="is in no manifest", path=name) for name in _TAGS if name not in tags)
    if not said:
        yield Problem(what="its manifest names nothing")
    for path, digest in {**said, **tags}.items():
        if path not in there:
            yield Problem(what="is missing", path=path)
        elif (actual := _digest(opened, there[path])) is None:
            yield Problem(what="cannot be read", path=path)
        elif actual != digest:
            yield Problem(what="was changed", path=path)
    for path in there:
        if path not in said and path not in tags and path != "tagmanifest-sha256.txt":
            yield Problem(what="was added", path=path)
    payload = [i for path, i in there.items() if path.startswith("data/")]
    if _oxum(opened, there["bag-info.txt"]) != (sum(i.file_size for i in payload), len(payload)):
        yield Problem(what="has other bytes or files than it says (Payload-Oxum)", path="bag-info.txt")


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ":" in name.partition("/")[0] or ".." in PurePosixPath(name).parts or "/" not in name


def _manifest(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _text(opened, info).splitlines():
        if (matched := _LINE.fullmatch(line)) is not None:
            found[read_path(matched[2])] = matched[1].lower()
    return found


def _oxum(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, int] | None:
    found = re.search(r"^Payload-Oxum: *(\d{1,18})\.(\d{1,9})\s*$", _text(opened, info), re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def _text(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > LARGEST_TAG:
        return ""
    try:
        with opened.open(info) as entry:
            return entry.read(LARGEST_TAG).decode(errors="replace")
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error):
        return ""


def _digest(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> str | None:
    whole = hashlib.sha256()
    try:
        with opened.open(info) as entry:
            while piece := entry.read(_PIECE):
                whole.update(piece)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error):
        return None
    return whole.hexdigest()
