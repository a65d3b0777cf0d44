"""`make bench`: every target of the product, measured as ratios in one run on this machine, beside what it should reach."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks import (
    airflow_share,
    archive,
    attachment,
    completeness,
    expiry,
    partitions,
    person,
    planning,
    processors,
    promises,
    purging,
    request_run,
    tenfold,
    unordered,
)
from benchmarks.score import Row, show
from benchmarks.world import Ground, ground

MEASURES: dict[str, Callable[[Ground], list[Row]]] = {
    "purging": purging.measure,
    "partitions": partitions.measure,
    "unordered": unordered.measure,
    "completeness": completeness.measure,
    "planning": planning.measure,
    "tenfold": tenfold.measure,
    "archive": archive.measure,
    "expiry": expiry.measure,
    "person": person.measure,
    "attachment": attachment.measure,
    "processors": processors.measure,
    "promises": promises.measure,
    "request": request_run.measure,
    "airflow": airflow_share.measure,
}


def main(
    rows: Annotated[int, typer.Option(min=20_000, help="Rows of a log table, half of them due.")] = 5_000_000,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each measure; the median counts.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(MEASURES)}; may be given again.")] = None,
) -> None:
    """Prints the score and writes `benchmarks/latest.json`; rows of what is not measured stay in it."""
    unknown = sorted(set(only or ()) - set(MEASURES))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(MEASURES)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # its server ends with it
    found: list[Row] = []
    busy = os.getloadavg()[0]
    with ground(rows, repeat) as made:
        for name in only or MEASURES:
            print(f"{name} ...", flush=True)
            began = time.monotonic()
            rows_found = MEASURES[name](made)
            for row in rows_found:
                print(f"  {row.name}: {row.value:g} {row.unit} ({row.target})", flush=True)
            print(f"  {time.monotonic() - began:.0f} s", flush=True)
            found += rows_found
    show(found, ground=f"{rows:,} rows, {repeat} runs, load {busy:.1f} before")


if __name__ == "__main__":
    typer.run(main)
