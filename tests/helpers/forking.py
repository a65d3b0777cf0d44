"""Processes that a test kills, forked from one that has imported what they need: importing takes longer than most of them live."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_PRELOADED = [
    "helpers.purge_once",
    "helpers.archive_once",
    "helpers.filing",
    "helpers.shelf",
    "helpers.expiring",
    "helpers.warm_client",
    "helpers.mailing",
    "helpers.intake",
    "helpers.export_once",
]
"""All of them, whoever comes first: a fork server imports once, when it starts, and a test process has one."""


def forked(work: Callable[..., None], *given: Any) -> BaseProcess:
    """A process that will do `work`, a function of a module of `_PRELOADED`; not started yet."""
    server = multiprocessing.get_context("forkserver")
    root = Path(__file__).parents[2]
    os.environ["PYTHONPATH"] = f"{root / 'include'}:{root / 'tests'}"
    server.set_forkserver_preload(_PRELOADED)
    return server.Process(target=work, args=given)
