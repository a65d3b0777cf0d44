"""What tasks import, imported once by the process that they are forked from."""

from __future__ import annotations

from importlib import import_module

SLOW = (
    "sqlalchemy",
    "psycopg",
    "boto3",
    "pandas",
    "pyarrow.parquet",
    "great_expectations",
    "lethe.verify.session",
    "lethe.retention",
    "lethe.subjects.exporting",
    "lethe.subjects.judging",
    "lethe.subjects.answering",
)
"""Modules, with the libraries that take longest before those of ours that use them. Nothing of them connects, or starts a thread of Python, by being imported."""


def preload() -> None:
    """Imports all of them; ImportError when one is not there."""
    for name in SLOW:
        import_module(name)
