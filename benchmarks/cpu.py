"""Where the processors' time goes: CPU seconds of processes by their names. The machine's: nothing else may use such names meanwhile."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_EVERY = 0.5
"""Seconds between two looks: what a process used after the last look before its end is missed."""


@contextmanager
def spent(names: Mapping[str, str]) -> Iterator[dict[str, float]]:
    """CPU seconds meanwhile, by what `names` calls a process whose name has that in it; filled in at the end. Others are not counted."""
    found: dict[str, float] = {}
    first = _used(names)
    seen, ended = dict(first), threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY):
            seen.update(_used(names))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
        seen.update(_used(names))
        sums: dict[str, float] = defaultdict(float)
        for key, used in seen.items():
            sums[key[1]] += used - first.get(key, 0.0)
        found.update(sums)


def _used(names: Mapping[str, str]) -> dict[tuple[int, str], float]:
    """CPU seconds of each process so far."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            head, _, tail = (folder / "stat").read_text().rpartition(")")
        except OSError:  # it ended
            continue
        called = next((name for part, name in names.items() if part in head), None)
        if called is not None:
            values = tail.split()
            found[int(folder.name), called] = (int(values[11]) + int(values[12])) / _TICK
    return found
