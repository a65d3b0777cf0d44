"""Where the data of servers lies that live as long as a test: in memory, where there is room."""

from __future__ import annotations

import os
import shutil

ROOM = 6 << 30
"""Bytes that must be free: the servers of three processes need about a third of it."""


def _memory() -> str | None:
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM else None


MEMORY = _memory()
"""A folder for `tempfile`; None for its own choice. A test makes a database and drops it, hundreds of files each time: on a disk that is most of
what many tests take."""
