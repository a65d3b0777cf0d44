"""Writes a person's bundle and throws it away, in a process of its own, so that its peak memory can be told; prints what it found as JSON.

python -m benchmarks.person_child PORT DATABASE KEY
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks.memory import peak
from benchmarks.people import FLOOD, person, workspace_of
from benchmarks.stores import AS_OF, connection_of
from lethe.catalog.disclosure import load_disclosure
from lethe.control.requests import Language, RequestKind
from lethe.settings import SHIPPED
from lethe.subjects.bundle import About, write_bundle
from lethe.subjects.found import FileRef
from lethe.subjects.locating import Finder, rows_of_store
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Done:
    """Rows and bytes of a bundle, seconds of writing it, seconds of reading the same rows and no more; peak memory of the process at the
    bundle's end and after its imports, in MB."""

    rows: int
    size: int
    seconds: float
    read: float
    peak: float
    imported: float


def in_child(*, port: int, database: str, key: int) -> Done:
    """Writes the bundle of person `key` in a new process. RuntimeError with the end of what it printed when it fails."""
    command = [sys.executable, "-m", "benchmarks.person_child", str(port), database, str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the benchmark's child failed: {done.stderr[-3000:]}")
    return Done(**json.loads(done.stdout))


class _Nowhere:
    """A stream that only counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, piece: bytes) -> int:
        self.size += len(piece)
        return len(piece)

    def close(self) -> None:
        """Nothing is kept."""


def _no_file(ref: FileRef) -> Iterator[bytes]:
    raise AssertionError("no row has a file here")


def _about(workspace: Workspace) -> About:
    return About(
        request="R-2026-7K3M9QWX",
        kind=RequestKind.ACCESS,
        language=Language.FR,
        received_at=AS_OF,
        made_at=AS_OF,
        policy=workspace.policy(AS_OF),
        disclosure=load_disclosure(SHIPPED),
        purposes=workspace.catalog.purposes,
    )


def _main(port: int, database: str, key: int) -> Done:
    imported, streams = peak(), list[_Nowhere]()

    def sink(number: int) -> _Nowhere:
        streams.append(_Nowhere())
        return streams[-1]

    with workspace_of(FLOOD, lambda name: connection_of(name, port, database)) as workspace:
        (asked,) = Finder(workspace).compiled().asked
        began = time.perf_counter()
        parts = write_bundle(rows_of_store(workspace, asked, person(key)), about=_about(workspace), open_file=_no_file, sink=sink)
        took, most = time.perf_counter() - began, peak()
        began = time.perf_counter()
        rows = sum(sum(1 for _ in found) for _, found in rows_of_store(workspace, asked, person(key)))
        read = time.perf_counter() - began
    written = sum(sum(part.rows.values()) for part in parts)
    if rows != written:
        raise RuntimeError(f"{rows} rows read, {written} written")
    return Done(rows=written, size=sum(s.size for s in streams), seconds=took, read=read, peak=most, imported=imported)


if __name__ == "__main__":
    json.dump(asdict(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))), sys.stdout)
