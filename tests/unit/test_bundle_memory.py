"""A bundle's memory does not grow with its rows nor with a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def megabytes(rows: int, file: int = 0) -> int:
    path = os.pathsep.join([str(TESTS.parent / "include"), str(TESTS)])
    command = [sys.executable, "-m", "helpers.bundle_child", str(rows), str(file)]
    return int(subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True).stdout)


def test_ten_times_the_rows_take_no_more_memory() -> None:
    few, many = megabytes(30_000), megabytes(300_000)
    assert many < few + 12, "300,000 rows are 100 MB of text"


def test_a_large_file_takes_no_more_memory() -> None:
    none, large = megabytes(10), megabytes(10, file=200)
    assert large < none + 12
