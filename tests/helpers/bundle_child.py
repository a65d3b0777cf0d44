"""Writes, checks and reads a bundle of many rows, or of a large file, in a process of its own, and prints the most memory it ever held, in MB.

python -m helpers.bundle_child ROWS FILE_MB
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from random import Random

from helpers.bundling import about, section
from lethe.subjects.bundle import write_bundle
from lethe.subjects.bundle.verify import contents, problems
from lethe.subjects.found import FileRef, Row

_MB = 1 << 20


def rows(count: int, random: Random) -> Iterator[Row]:
    for n in range(count):
        yield Row(values={"id": n, "text": random.randbytes(60).hex(), "at": "2026-01-01T00:00:00+00:00"})


def main(count: int, megabytes: int) -> None:
    random = Random(1)

    def open_file(ref: FileRef) -> Iterator[bytes]:
        for _ in range(megabytes):
            yield random.randbytes(_MB)

    logs = section("logs", text="text", at="timestamp with time zone")
    found = [(logs, rows(count, random))]
    if megabytes:
        large = FileRef(connection="s3", bucket="files", key="large", name="large.bin", size=megabytes * _MB)
        found.append((section("files"), iter([Row(values={"id": 1}, file=large)])))
    with tempfile.TemporaryFile() as body:
        (part,) = write_bundle(found, about=about(), open_file=open_file, limit=1 << 40, sink=lambda number: Open(body))
        assert problems(body) == ()
        assert sum(1 for _ in contents(body)) == sum(part.rows.values())
    with open("/proc/self/status") as status:
        print(int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) // 1024)


class Open:
    """A stream into a file that is read afterwards: it stays open."""

    def __init__(self, into: object) -> None:
        self.write = into.write  # type: ignore[attr-defined]

    def close(self) -> None:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
