"""The roles of Spotrak's database, made from `roles.sql`; their passwords come from whoever loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

ROLES = ("spotrak_app", "lethe_purger", "lethe_checker", "lethe_keeper")

_FILE = Path(__file__).parent / "roles.sql"
_AFTER = "\n-- after the load\n"
_ONE_AT_A_TIME = 7211_9001
"""Advisory lock: roles belong to the whole server, and two loads at once would trip over each other."""


def create_roles(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Creates the roles that are missing and sets the passwords given; ValueError for a role that is not Spotrak's.

    A password goes to the server as a SCRAM verifier, so that no statement log can hold it.
    """
    unknown = set(passwords) - set(ROLES)
    if unknown:
        raise ValueError(f"no such role of Spotrak's database: {', '.join(sorted(unknown))}")
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
    connection.execute(_FILE.read_text().split(_AFTER)[0])
    for role, password in passwords.items():
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def grant(connection: psycopg.Connection) -> None:
    """Hands the tables of schema `app` to their owners and grants the least that each role needs."""
    connection.execute(_FILE.read_text().split(_AFTER)[1])
