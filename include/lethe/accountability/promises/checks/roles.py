"""Can each database role do what it must, and no more? The databases are asked, as they are now (invariants 5 and 8)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.catalog.model import Store
from lethe.control.grants import RIGHTS

_WRITES = "INSERT, UPDATE, DELETE, TRUNCATE"

# Rights beyond the declared ones on the tables of Lethe's own database, of any role but their owner, PUBLIC too. No index: a catalog.
_GRANTED = text(
    "SELECT c.relname, coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC') AS role, a.privilege_type FROM pg_class c "
    "CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a "
    "WHERE c.relnamespace = 'lethe'::regnamespace AND c.relkind = 'r' AND a.grantee <> c.relowner"
)
_LEDGER = text(
    "SELECT r.rolname FROM pg_roles r, pg_class c WHERE c.oid = 'lethe.ledger'::regclass AND r.rolname = ANY(:roles) "
    "AND (r.rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER') OR has_table_privilege(r.oid, c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER'))"
)
_SELF = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = session_user")
_WRITABLE = text(
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = ANY(:tables) "
    f"AND has_table_privilege(c.oid, '{_WRITES}')"
)
_OWNED = text(
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = ANY(:tables) "
    "AND pg_has_role(c.relowner, 'MEMBER')"
)


def least(look: Look) -> Seen:
    """The ledger can only grow; the checking role of each database cannot write; the purging role owns nothing and is no superuser."""
    faults = list(_own(look.control))
    for store in (s for s in look.workspace.catalog.stores if s.kind == "postgresql"):
        faults += _source(look, store)
    return look.now(*faults)


def _own(control: Connection) -> Iterator[str]:
    if control.scalar(_SELF):
        yield "The runtime's login to Lethe's own database is a superuser, or makes roles."
    over = sorted(control.scalars(_LEDGER, {"roles": list(RIGHTS)}))
    if over:
        yield f"These roles can change or cut the ledger: {judges.named(over)}."
    beyond = {
        f"{role} {right} on {table}"
        for table, role, right in control.execute(_GRANTED)
        if right not in RIGHTS.get(role, {}).get(table, "").split(", ") and table != "alembic_version"
    }
    if beyond:
        yield f"Rights beyond the declared ones in Lethe's own database: {judges.named(sorted(beyond))}."


def _source(look: Look, store: Store) -> Iterator[str]:
    tables = {"tables": [f"{t.db_schema}.{t.table}" for t in store.tables.values()]}
    if store.check_connection is None:
        yield f"{store.id} has no role of its own for checks: what deletes would vouch for itself."
    else:
        with look.workspace.checking(store).connect() as checking:
            if writable := checking.scalar(_WRITABLE, tables):
                yield f"The checking role of {store.id} can write {writable} tables."
    with look.workspace.source(store).connect() as purging:
        if purging.scalar(_SELF):
            yield f"The purging role of {store.id} is a superuser, or makes roles."
        elif owned := purging.scalar(_OWNED, tables):
            yield f"The purging role of {store.id} owns {owned} tables, so it could drop them."
