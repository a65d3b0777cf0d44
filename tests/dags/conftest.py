"""One demo and one Airflow, with a real scheduler, for the tests of this folder that need them and run after one another in this process.

Both end with the last of these tests, not with the session: an Airflow that nobody asks anything takes a fifth of a core, and its
environment is not that of the tests which follow.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers.airflow_demo import Api, Demo, airflow_of, demo_in
from helpers.memory import MEMORY

HERE = Path(__file__).parent


class _Running:
    """What runs now, until `end`."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.demo: Demo | None = None
        self.api: Api | None = None

    def end(self) -> None:
        self.demo = self.api = None
        self.stack.pop_all().close()


_RUNNING = _Running()


@pytest.fixture(scope="module")
def demo() -> Demo:
    """Spotrak's data at a small scale, with the canary, in a folder of its own."""
    if _RUNNING.demo is None:
        folder = _RUNNING.stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-dags-", dir=MEMORY, ignore_cleanup_errors=True))
        _RUNNING.demo = _RUNNING.stack.enter_context(demo_in(Path(folder), scale=0.02, canary=True))
    return _RUNNING.demo


@pytest.fixture(scope="module")
def api(demo: Demo) -> Api:
    """A real Airflow over that demo: api-server, scheduler, dag-processor and triggerer."""
    if _RUNNING.api is None:
        _RUNNING.api = _RUNNING.stack.enter_context(airflow_of(demo))
    return _RUNNING.api


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends both when the next test is not of this folder."""
    if nextitem is None or HERE not in nextitem.path.parents:
        _RUNNING.end()


def pytest_sessionfinish() -> None:
    """Ends both when the session is broken off."""
    _RUNNING.end()
