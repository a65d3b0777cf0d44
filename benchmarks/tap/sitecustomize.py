"""Put on a process's PYTHONPATH, writes when each call of a part of a retention run began and ended, to the file `LETHE_TAP`.

Python imports a module of this name at its start. It waits for `lethe.retention` to be imported and wraps its functions, so that
the seconds inside the library are taken in Airflow's own task processes, in the run that is measured, and nothing of the product
knows of it. A line is one JSON object: call, began, ended (seconds of the epoch).
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WATCHED = "lethe.retention"
CALLS = ("plan_run", "guard_run", "purge_run_group", "verify_run", "record_run")


def timed(name: str, call: Callable[..., Any], file: str) -> Callable[..., Any]:
    """The same function, which also notes when it began and ended, however it ended."""

    @functools.wraps(call)
    def run(*arguments: Any, **named: Any) -> Any:
        began = time.time()
        try:
            return call(*arguments, **named)
        finally:
            line = json.dumps({"call": name, "began": began, "ended": time.time()}) + "\n"
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(descriptor, line.encode())  # one short write at the end of a file is whole, also beside other processes
            os.close(descriptor)

    return run


class Tap(importlib.abc.MetaPathFinder):
    """Finds nothing itself, but wraps the watched module's functions once it has been executed."""

    def __init__(self, file: str) -> None:
        self.file = file

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            for name in CALLS:
                setattr(module, name, timed(name, getattr(module, name), self.file))

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if _file := os.environ.get("LETHE_TAP"):
    sys.meta_path.insert(0, Tap(_file))
