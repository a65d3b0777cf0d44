"""Who may do what in Lethe's own database. Applied again at each migration, so that a role made later gets its rights too.

`lethe_runtime` works; on `ledger` it may only select and insert (invariant 8). `lethe_approver` reads plans, their counts,
runs and the ledger, and inserts approvals and their evidence; nothing else. `lethe_archivist` reads manifests and records each
reading of the archive.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from lethe.control.tables import SCHEMA, metadata

RUNTIME = "lethe_runtime"
APPROVER = "lethe_approver"
ARCHIVIST = "lethe_archivist"

RIGHTS: Mapping[str, Mapping[str, str]] = {
    RUNTIME: {
        "ledger": "SELECT, INSERT",
        "plans": "SELECT, INSERT",
        "plan_counts": "SELECT, INSERT, UPDATE",
        "runs": "SELECT, INSERT, UPDATE",
        "batches": "SELECT, INSERT, UPDATE",
        "step_results": "SELECT, INSERT, UPDATE",
        "leases": "SELECT, INSERT, UPDATE, DELETE",
        "holds": "SELECT, INSERT, UPDATE",
        "approvals": "SELECT, INSERT",
        "maintenance": "SELECT, INSERT, UPDATE",
        "archive_objects": "SELECT, INSERT, UPDATE",
        "archive_subjects": "SELECT, INSERT, DELETE",
        "requests": "SELECT, INSERT, UPDATE",
        "request_identifiers": "SELECT, INSERT, DELETE",
        "request_decisions": "SELECT, INSERT",
        "deadline_warnings": "SELECT, INSERT",
        "exports": "SELECT, INSERT, UPDATE",
        "export_parts": "SELECT, INSERT",
        "request_answers": "SELECT, INSERT, UPDATE",
        "request_intake": "SELECT, INSERT, UPDATE",
    },
    ARCHIVIST: {
        "archive_objects": "SELECT",
        "archive_subjects": "SELECT",
        "ledger": "SELECT, INSERT",
    },
    APPROVER: {
        "plans": "SELECT",
        "plan_counts": "SELECT",
        "runs": "SELECT",
        "ledger": "SELECT, INSERT",
        "approvals": "INSERT",
    },
}


def grant(connection: Connection) -> tuple[str, ...]:
    """Gives each role that exists exactly `RIGHTS`, and takes everything else; the roles it found."""
    present = tuple(role for role in RIGHTS if connection.scalar(text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}))
    quote = connection.dialect.identifier_preparer.quote
    for role in present:
        connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA {quote(SCHEMA)} FROM {quote(role)}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(SCHEMA)} TO {quote(role)}"))
        for table, rights in RIGHTS[role].items():
            if f"{SCHEMA}.{table}" not in metadata.tables:
                raise KeyError(table)
            connection.execute(text(f"GRANT {rights} ON {quote(SCHEMA)}.{quote(table)} TO {quote(role)}"))
    return present
