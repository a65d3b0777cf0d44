"""A file of five gigabytes in a person's bundle: its memory beside that of a small file, its ZIP read back and checked.

Run by `measure` in a process of its own for each size: python -m benchmarks.attachment BYTES
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.memory import peak
from benchmarks.score import Row, at_most
from benchmarks.stores import AS_OF
from benchmarks.world import Ground
from lethe.catalog.disclosure import load_disclosure
from lethe.catalog.load import load_catalog
from lethe.control.requests import Language, RequestKind
from lethe.policy.load import load_policies
from lethe.policy.model import Role
from lethe.settings import SHIPPED, catalog_dir
from lethe.subjects.bundle import About, write_bundle
from lethe.subjects.bundle.verify import problems
from lethe.subjects.found import Field, FileRef, Origin, Section
from lethe.subjects.found import Row as Found

SMALL, LARGE = 50 * 1000**2, 5 * 1000**3
"""Bytes. The large one is more than 32 bits count, which is where a ZIP changes its form."""
FLAT = 1.1
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Written:
    """Bytes of the part, seconds of writing it and of checking it, peak memory of the process in MB."""

    size: int
    wrote: float
    checked: float
    peak: float


def measure(ground: Ground) -> list[Row]:
    """Both sizes; scaled with the rows of the ground where these are few."""
    large = max(SMALL, int(LARGE * min(1.0, ground.rows / 5_000_000)))
    few, many = _in_child(SMALL), _in_child(large)
    told = (
        f"{few.peak:.0f} MB for {SMALL / 1e6:.0f} MB, {many.peak:.0f} MB for {large / 1e9:.2f} GB; "
        f"written in {many.wrote:.0f} s, every byte of the part checked in {many.checked:.0f} s"
    )
    return [at_most("memory of a bundle with a 5 GB file against one with 50 MB", [many.peak / few.peak], FLAT, detail=told)]


def _in_child(size: int) -> Written:
    done = subprocess.run([sys.executable, "-m", "benchmarks.attachment", str(size)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the benchmark's child failed: {done.stderr[-3000:]}")
    return Written(**json.loads(done.stdout))


def _pieces(size: int) -> Iterator[bytes]:
    """Bytes that no compression makes small and no two pieces share."""
    block = bytes((n * 167 + n // 251) % 256 for n in range(_PIECE))
    for n in range(size // _PIECE):
        yield n.to_bytes(8, "big") + block[8:]
    yield block[: size % _PIECE]


def _main(size: int) -> Written:
    section = Section(
        store="source",
        dataset="attachments",
        origin=Origin.LIVE,
        role=Role.CONTROLLER,
        category="attachments",
        purposes=(),
        fields=(Field(name="id", category="user.unique_id", type="bigint"),),
    )
    row = Found(values={"id": 1}, file=FileRef(connection="none", bucket="none", key="one", name="recording.wav", size=size))
    about = About(
        request="R-2026-7K3M9QWX",
        kind=RequestKind.ACCESS,
        language=Language.FR,
        received_at=AS_OF,
        made_at=AS_OF,
        policy=load_policies(SHIPPED).in_force(AS_OF),
        disclosure=load_disclosure(SHIPPED),
        purposes=load_catalog(catalog_dir(SHIPPED)).purposes,
    )
    with tempfile.TemporaryDirectory(prefix="lethe-attachment-") as folder:
        file = Path(folder) / "part.zip"
        began = time.perf_counter()
        (part,) = write_bundle(
            [(section, [row])], about=about, open_file=lambda ref: _pieces(ref.size), sink=lambda number: file.open("wb")
        )
        wrote, began = time.perf_counter() - began, time.perf_counter()
        with file.open("rb") as opened:
            found = problems(opened)
        if found or part.rows != {"attachments": 1} or file.stat().st_size < size:
            raise RuntimeError(f"the part is not what was written: {found}")
        return Written(size=file.stat().st_size, wrote=wrote, checked=time.perf_counter() - began, peak=peak())


if __name__ == "__main__":
    json.dump(asdict(_main(int(sys.argv[1]))), sys.stdout)
