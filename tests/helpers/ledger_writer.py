"""Appends to a ledger from a process of its own: `python -m helpers.ledger_writer URL WRITER RECORDS`."""

from __future__ import annotations

import sys

from helpers.control import engine
from lethe.evidence.ledger import append


def main(url: str, writer: int, records: int) -> None:
    """Appends `records` records, one transaction each."""
    control = engine(url)
    for number in range(records):
        with control.begin() as connection:
            append(connection, "test.written", {"writer": writer, "number": number})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
