"""What the lanes of a group count together, so that no number is used twice and no ceiling is passed."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from lethe.errors import NotApproved


class Tally:
    """What the lanes of a group keep together: the number of each step's next batch, and how many rows it may still delete."""

    def __init__(self, ceilings: Mapping[str, int]) -> None:
        """Empty until `read`. A step without a ceiling has none."""
        self._ceilings = ceilings
        self._next: dict[str, int] = {}
        self._deleted: dict[str, int] = {}
        self._lock = Lock()

    def read(self, numbers: Mapping[str, int], deleted: Mapping[str, int]) -> None:
        """Goes on from where earlier processes of the run stopped."""
        with self._lock:
            self._next, self._deleted = dict(numbers), dict(deleted)

    def enter(self, rows: Mapping[str, int]) -> dict[str, int]:
        """The number of a batch in each of its steps, once its rows are within what the guard let pass; NotApproved, and nothing is taken
        down, where they are not (invariant 12). A number whose batch never happened is not used again."""
        with self._lock:
            self._refuse(rows)
            taken = {s: self._next[s] for s in rows}
            for step, more in rows.items():
                self._next[step] += 1
                self._deleted[step] += more
        return taken

    def refuse(self, rows: Mapping[str, int]) -> None:
        """NotApproved where a batch of these rows would not be let in; nothing is taken down."""
        with self._lock:
            self._refuse(rows)

    def _refuse(self, rows: Mapping[str, int]) -> None:
        for step, more in rows.items():
            ceiling = self._ceilings.get(step)
            if ceiling is not None and self._deleted[step] + more > ceiling:
                raise NotApproved(
                    f"Step {step}: more than the {ceiling} rows that the guard let pass are due by now; {self._deleted[step]} are deleted.",
                    fix="Find out what made them due. Then make a plan as of another instant: it is counted, and approved, anew.",
                )

    def strike(self, rows: Mapping[str, int]) -> None:
        """Takes back the rows of a batch that did not happen."""
        with self._lock:
            for step, fewer in rows.items():
                self._deleted[step] -= fewer
