"""The first tables, and the rules that the database holds by triggers."""

from contextlib import closing
from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    # The driver's own cursor: many statements in one text, and % is a letter.
    with closing(op.get_bind().connection.cursor()) as cursor:
        for name in ("0001_first_tables.sql", "0001_guards.sql"):
            cursor.execute((Path(__file__).parent / name).read_text())
