"""An export from beginning to end in a process of its own, which dies by SIGKILL where a test says."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any
from unittest.mock import patch

import great_expectations  # noqa: F401 - imported by the check, seconds in each process that did not fork from here

from helpers.exporting import AT
from helpers.forking import forked
from lethe.subjects.answering import answer_request
from lethe.subjects.bundle.writing import LIMIT
from lethe.subjects.exporting import export_request
from lethe.subjects.judging import judge_request
from lethe.subjects.locating import Finder
from lethe.workspace import Workspace

Death = tuple[str, str, int]
"""What it calls when it dies, `before` or `after` the call, and at which call of it."""


def answered(finder: Finder, request: str, *, limit: int = LIMIT) -> str:
    """All three acts, as the DAG does them; the kind of answer."""
    export_request(finder, request, by="j.dupont", at=AT, limit=limit)
    judge_request(finder, request, by="j.dupont", at=AT)
    return answer_request(finder, request, by="j.dupont", at=AT)


def die_once(environment: dict[str, str], request: str, death: Death, harm: tuple[str, ...], limit: int) -> None:
    """What the process does. `harm`: sections whose rows it leaves out, so that its bundle is not the person's."""
    os.environ.update(environment)
    with Workspace.open() as workspace, dying(*death), leaving_out(harm):
        answered(Finder(workspace), request, limit=limit)


@contextlib.contextmanager
def dying(target: str, when: str, nth: int) -> Iterator[None]:
    """Within the block this process is killed before or after the nth call of that function, in its transaction if it is in one."""
    module, _, name = target.rpartition(".")
    whole: Callable[..., Any] = _found(target)
    calls = 0

    def call(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        done = whole(*given, **more) if calls < nth or when == "after" else None
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    with patch(f"{module}.{name}", call):
        yield


@contextlib.contextmanager
def leaving_out(sections: tuple[str, ...]) -> Iterator[None]:
    """Within the block no row of these datasets is found."""
    whole = _found("lethe.subjects.locating.rows_of_store")

    def fewer(*given: Any) -> Iterator[Any]:
        for section, rows in whole(*given):
            yield section, iter(()) if section.dataset in sections else rows

    with patch("lethe.subjects.locating.rows_of_store", fewer):
        yield


def process(request: str, death: Death, *, harm: tuple[str, ...] = (), limit: int = LIMIT) -> BaseProcess:
    """A process that will do `die_once` in this environment; not started yet."""
    environment = {k: v for k, v in os.environ.items() if k.startswith(("AIRFLOW_CONN_", "LETHE_"))}
    return forked(die_once, environment, request, death, harm, limit)


def _found(target: str) -> Any:
    import pkgutil

    return pkgutil.resolve_name(target)
