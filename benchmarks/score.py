"""Rows of the score: a name, a value, its target, whether it is met; printed as a table and written to `latest.json`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "latest.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: `target` in words, `met` decided by the benchmark, `detail` the runs behind the median."""

    name: str
    value: float
    unit: str
    target: str
    met: bool
    detail: str


def at_least(name: str, values: Sequence[float], target: float, unit: str = "ratio", detail: str = "") -> Row:
    """The median of `values`, which should reach `target`."""
    middle = statistics.median(values)
    return Row(name=name, value=round(middle, 4), unit=unit, target=f">= {target:g}", met=middle >= target, detail=_runs(values, detail))


def at_most(name: str, values: Sequence[float], target: float, unit: str = "ratio", detail: str = "") -> Row:
    """The median of `values`, which should stay at or below `target`."""
    middle = statistics.median(values)
    return Row(name=name, value=round(middle, 4), unit=unit, target=f"<= {target:g}", met=middle <= target, detail=_runs(values, detail))


def told(name: str, values: Sequence[float], unit: str = "ratio", detail: str = "") -> Row:
    """The median of `values`, of which nothing is asked."""
    return Row(name=name, value=round(statistics.median(values), 4), unit=unit, target="none", met=True, detail=_runs(values, detail))


def show(found: Sequence[Row], *, ground: str) -> None:
    """Prints the score and writes it; each detail says on how many rows, in how many runs, and how busy the machine was. Where only some was
    measured, the others' rows stay as they are: every ratio is of one run by itself."""
    found = [replace(r, detail=f"{ground}; {r.detail}") for r in found]
    table = Table(title="Medians of one run beside their targets", show_lines=False)
    for column in ("", "what", "value", "unit", "target", "detail"):
        table.add_column(column, overflow="fold")
    for row in found:
        table.add_row("met" if row.met else "MISSED", row.name, f"{row.value:g}", row.unit, row.target, row.detail)
    Console(width=150).print(table)
    measured = {r.name: asdict(r) for r in found}
    kept = json.loads(LATEST.read_text()) if LATEST.exists() else []
    written = [measured.pop(row["name"], row) for row in kept] + list(measured.values())
    LATEST.write_text(json.dumps(written, indent=1) + "\n")


def _runs(values: Sequence[float], detail: str) -> str:
    return f"{detail + '; ' if detail else ''}runs {', '.join(f'{v:.3g}' for v in values)}"
