"""Alembic's entry: the caller hands over an open connection; no ini file, no URL, no password in a file."""

from alembic import context

from lethe.control.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
