"""Makes Lethe's own database, or brings it up to date. Run by the owner role; idempotent, and safe when two start at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from lethe.control.grants import grant
from lethe.control.tables import SCHEMA


def migrate(owner: str | URL | Engine) -> tuple[str, ...]:
    """Applies every migration that is missing and the rights of `control.grants`; the roles that were given rights.

    `owner` is the owner's engine or URL (libpq's form too); it needs CREATE on the database the first time. All of it is one
    transaction, behind an advisory lock.
    """
    engine = owner if isinstance(owner, Engine) else create_engine(make_url(owner).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(7211, 0)"))
        if not connection.scalar(text("SELECT true FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}):
            connection.execute(text(f"CREATE SCHEMA {connection.dialect.identifier_preparer.quote(SCHEMA)}"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return grant(connection)
