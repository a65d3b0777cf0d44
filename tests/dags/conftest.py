"""One demo and one Airflow, with a real scheduler, for all tests of this folder that need them and run in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.airflow_demo import Api, Demo, airflow_of, demo_in


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    """Spotrak's data at a small scale, with the canary, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="lethe-dags-", ignore_cleanup_errors=True) as folder:
        with demo_in(Path(folder), scale=0.02, canary=True) as running:
            yield running


@pytest.fixture(scope="package")
def api(demo: Demo) -> Iterator[Api]:
    """A real Airflow over that demo: api-server, scheduler, dag-processor and triggerer."""
    with airflow_of(demo) as running:
        yield running
