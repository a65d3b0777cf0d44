"""Airflow's share is measured by what really ran inside the library: each moment once, in the processes that did the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.airflow_share import PARTS, TAP, covered

from demo.home import PROJECT


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (5, 6)], 3),
        ([(1, 4), (2, 3)], 3),
        ([(5, 7), (1, 2), (6, 9)], 5),
        ([(1, 3), (3, 5)], 4),
    ],
)
def test_moments_in_which_two_groups_are_purged_count_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert covered(spans) == seconds


CALLED = """
import lethe.retention as retention
for name in {parts}:
    try:
        getattr(retention, name)()
    except TypeError:
        pass
from lethe.retention import audit
print(retention.plan_run.__name__, hasattr(audit, "__wrapped__"))
"""


def test_the_tap_notes_every_part_of_a_run_whether_it_succeeds_or_not_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "tap.jsonl"
    path = os.pathsep.join([str(TAP), str(PROJECT / "include")])
    done = subprocess.run(
        [sys.executable, "-c", CALLED.format(parts=PARTS)],
        env=os.environ | {"PYTHONPATH": path, "LETHE_TAP": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["plan_run", "False"], done.stderr[-2000:]
    notes = [json.loads(line) for line in file.read_text().splitlines()]
    assert tuple(n["call"] for n in notes) == PARTS
    assert all(n["ended"] >= n["began"] for n in notes)
