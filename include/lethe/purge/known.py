"""The keys that were due when a run was counted, read when a batch first asks: there are as many as rows, and a run without young
rows never does."""

from __future__ import annotations

from collections.abc import Container
from threading import Lock

from sqlalchemy import Engine

from lethe.archive.expiring import numbers_of
from lethe.control.plans import load_keys
from lethe.plan.model import ExpiryPredicate, Plan, Predicate
from lethe.stores.postgres.keys import FrozenKeys


class KeysOfTheCount:
    """By step: key64s of rows, numbers of archive objects, None for what has neither. Safe to ask from several threads."""

    def __init__(self, control: Engine, plan: Plan, attempt: int) -> None:
        """Reads nothing yet. `control` is an engine on `lethe_db`."""
        self._control, self._plan, self._attempt = control, plan, attempt
        self._found: dict[str, Container[int] | None] = {}
        self._lock = Lock()

    def __call__(self, step: str) -> Container[int] | None:
        """The keys of a step; none, as a container, where it was not counted."""
        with self._lock:
            if step not in self._found:
                self._found[step] = self._read(step)
            return self._found[step]

    def is_read(self, step: str) -> bool:
        """Is there nothing to wait for? Never waits itself, while another lane reads."""
        return step in self._found

    def _read(self, step: str) -> Container[int] | None:
        predicate = self._plan.step(step).predicate
        if not isinstance(predicate, Predicate | ExpiryPredicate):
            return None
        with self._control.connect() as book:
            kept = load_keys(book, self._plan.digest, self._attempt, step)
        return FrozenKeys.of(kept) if isinstance(predicate, Predicate) else numbers_of(kept)
