"""The demo's databases and who may log in to them: Spotrak's, Lethe's own, and Airflow's."""

from __future__ import annotations

import psycopg
from psycopg import sql

from demo.home import Home
from demo.postgres import PostgresServer

OWNERS = {"spotrak": "spotrak_app", "lethe": "lethe_owner", "airflow": "airflow"}
"""Each database and the role that owns it."""

ROLES = {
    "spotrak_app": "",
    "lethe_purger": "",
    "lethe_checker": "BYPASSRLS",
    "lethe_keeper": "",
    "lethe_owner": "",
    "lethe_runtime": "",
    "lethe_approver": "",
    "lethe_archivist": "",
    "airflow": "",
}
"""Every role that logs in, and what it is beyond that. What the first four may do in Spotrak's database is in `roles.sql`."""

GUESTS = {
    "spotrak": ("lethe_purger", "lethe_checker", "lethe_keeper"),
    "lethe": ("lethe_runtime", "lethe_approver", "lethe_archivist"),
    "airflow": (),
}
"""Who else may connect to a database."""


def server(home: Home) -> PostgresServer:
    """The demo's server, with its remembered port and superuser's password."""
    return PostgresServer(data=home.folder / "postgres", port=home.port("postgres"), password=home.secret("postgres"))


def url(home: Home, role: str, database: str) -> str:
    """The libpq URL of `database` for `role`, password included."""
    return server(home).url(database, user=role, password=home.secret(role))


def ensure(home: Home) -> None:
    """Makes the roles and the databases that are missing, and sets the roles' passwords; harmless when run again."""
    with psycopg.connect(server(home).url(), autocommit=True) as admin:
        for role, rights in ROLES.items():
            _ensure_role(admin, role, rights, home.secret(role))
        for database, owner in OWNERS.items():
            _ensure_database(admin, database, owner, GUESTS[database])


def _ensure_role(admin: psycopg.Connection, role: str, rights: str, password: str) -> None:
    """The server is sent the SCRAM verifier, so the password itself is in no log and no statement."""
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE " + rights + " PASSWORD {}")
    admin.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


def _ensure_database(admin: psycopg.Connection, database: str, owner: str, guests: tuple[str, ...]) -> None:
    name, owning = sql.Identifier(database), sql.Identifier(owner)
    if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owning))
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for guest in guests:
        admin.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(name, sql.Identifier(guest)))
