"""The ledger's table, and the metadata that the other tables of Lethe's own database join (`lethe.control.tables`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text

SCHEMA = "lethe"
metadata = MetaData(schema=SCHEMA)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", Text, nullable=False, comment="ISO 8601, UTC, microseconds: a text, so that the digest is over what is stored"),
    Column(
        "kind",
        Text,
        nullable=False,
        comment="plan.made, guard.waiting, approval.given, batch.interrupted, step.verified, run.finished, hold.added, ...",
    ),
    Column("run", Text, comment="the plan's digest, or the hold's or request's id"),
    Column("body", Text, nullable=False, comment="canonical JSON: ids, counts and digests only"),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
)

Index("ledger_kind", ledger.c.kind, ledger.c.seq)
