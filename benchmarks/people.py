"""Persons with rows in twelve tables, as values: the tables, the catalog that leads to a person's rows, and who a person is.

Each person has 500 rows. A table is filled turn by turn, so that a person's rows lie as far from one another as those of a busy service do,
each on a page of its own. Ten tables have the person's key, `order_lines` leads there by its order, and `messages` by its author and by its
thread. `events` lies in a database of its own, for a person who has millions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from benchmarks.stores import SERVICE
from lethe.catalog.model import Catalog, Column, Relation, Store, Table
from lethe.connections import Connection
from lethe.policy.model import Role
from lethe.settings import SHIPPED
from lethe.subjects.found import Located, Person
from lethe.workspace import Workspace

USERS = "users"
ID, OPS, TEXT, SEEN = "user.unique_id", "system.operations", "user.content.private", "user.behavior"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A table: how many rows a person has in it; its columns as (type, category, SQL of the value from row number `n`, which is the key);
    how a row leads to a person; what the floor counts, `%(key)s` being the person."""

    name: str
    each: int
    columns: dict[str, tuple[LiteralString, str, LiteralString]]
    floor: LiteralString
    relations: dict[str, Relation]
    persons: tuple[tuple[str, ...], ...]


_TURN: LiteralString = "1 + n % {persons}"
_AT: LiteralString = "timestamptz '2024-06-01 00:00+00' + n % 1000003 * interval '1 minute'"


def _own(name: str, each: int, **columns: tuple[LiteralString, str, LiteralString]) -> Kind:
    """A table whose rows have the person's key."""
    return Kind(
        name=name,
        each=each,
        columns={"user_id": ("bigint", ID, _TURN), "occurred_at": ("timestamptz", SEEN, _AT), **columns},
        floor=f"SELECT count(*) FROM app.{name} WHERE user_id = %(key)s",
        relations={"user": Relation(columns=("user_id",), to=USERS)},
        persons=(("user",),),
    )


_WORDS: tuple[LiteralString, str, LiteralString] = ("text", TEXT, "repeat(md5(n::text), 3)")
_SHORT: tuple[LiteralString, str, LiteralString] = ("text", SEEN, "md5(n::text)")
_NUMBER: tuple[LiteralString, str, LiteralString] = ("integer", SEEN, "n % 900")
_IP: tuple[LiteralString, str, LiteralString] = ("inet", SEEN, "('10.' || n % 250 || '.' || n / 250 % 250 || '.7')::inet")
_DETAIL: tuple[LiteralString, str, LiteralString] = ("jsonb", SEEN, "jsonb_build_object('ms', n % 900, 'route', 'things.show')")
_MONEY: tuple[LiteralString, str, LiteralString] = ("numeric(12, 2)", SEEN, "n % 90000 / 100.0")

PEOPLE: tuple[Kind, ...] = (
    Kind(
        name=USERS,
        each=1,
        columns={
            "name": ("text", "user.name", "'Person ' || n"),
            "joined_at": ("timestamptz", SEEN, _AT),
            "active": ("boolean", OPS, "n % 9 <> 0"),
        },
        floor="SELECT count(*) FROM app.users WHERE id = %(key)s",
        relations={},
        persons=((),),
    ),
    _own("consents", 4, purpose=_SHORT, given=("boolean", SEEN, "n % 2 = 0")),
    _own("devices", 3, label=_SHORT, last_ip=_IP),
    _own("sessions", 40, ip=_IP, agent=_SHORT),
    _own("page_views", 120, path=_SHORT, ip=_IP, ms=_NUMBER),
    _own("actions", 150, action=_SHORT, object_id=_NUMBER, detail=_DETAIL),
    _own("mails", 30, subject=_SHORT, opened=("boolean", SEEN, "n % 3 = 0")),
    _own("notes", 42, body=_WORDS),
    _own("orders", 20, total=_MONEY, status=_SHORT),
    Kind(
        name="order_lines",
        each=60,
        columns={"order_id": ("bigint", OPS, "1 + n % ({persons} * 20)"), "article": _SHORT, "price": _MONEY, "number": _NUMBER},
        floor="SELECT count(*) FROM app.order_lines l JOIN app.orders o ON o.id = l.order_id WHERE o.user_id = %(key)s",
        relations={"order": Relation(columns=("order_id",), to="orders")},
        persons=(("order", "user"),),
    ),
    _own("threads", 6, subject=_SHORT, open=("boolean", OPS, "n % 2 = 0")),
    Kind(
        name="messages",
        each=24,
        columns={
            "author_id": ("bigint", ID, _TURN),
            "thread_id": ("bigint", OPS, "1 + n % ({persons} * 6)"),
            "occurred_at": ("timestamptz", SEEN, _AT),
            "body": _WORDS,
        },
        floor=(
            "SELECT count(*) FROM app.messages WHERE id IN (SELECT id FROM app.messages WHERE author_id = %(key)s UNION "
            "SELECT m.id FROM app.messages m JOIN app.threads t ON t.id = m.thread_id WHERE t.user_id = %(key)s)"
        ),
        relations={"author": Relation(columns=("author_id",), to=USERS), "thread": Relation(columns=("thread_id",), to="threads")},
        persons=(("author",), ("thread", "user")),
    ),
)
A_PERSON = sum(k.each for k in PEOPLE)
"""Rows of one person."""

_EVENTS = _own("events", 0, action=_SHORT, object_id=_NUMBER, path=_SHORT, detail=_DETAIL)
_FEW_OR_MANY: tuple[LiteralString, str, LiteralString] = ("bigint", ID, "1 + (n % 11 <> 0)::integer")
FLOOD: tuple[Kind, ...] = (PEOPLE[0], replace(_EVENTS, columns=_EVENTS.columns | {"user_id": _FEW_OR_MANY}))
"""Of eleven events, one is person 1's and ten are person 2's."""


def build(connection: psycopg.Connection, kinds: tuple[Kind, ...], rows: Callable[[Kind], int], persons: int) -> None:
    """The tables in schema `app`, each with so many rows of `persons` persons, indexed by its key and by what leads to a person."""
    connection.execute("CREATE SCHEMA app")
    connection.execute("GRANT USAGE ON SCHEMA app TO lethe_checker")
    for kind in kinds:
        table = sql.Identifier("app", kind.name)
        columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, (t, _, _) in kind.columns.items())
        connection.execute(sql.SQL("CREATE TABLE {} (id bigint NOT NULL, {})").format(table, columns))
        values = sql.SQL(", ").join(sql.SQL(value).format(persons=sql.Literal(persons)) for _, _, value in kind.columns.values())
        insert = sql.SQL("INSERT INTO {} SELECT n + 1, {} FROM generate_series(0, {} - 1) AS n")
        connection.execute(insert.format(table, values, sql.Literal(rows(kind))))
        connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(table))
        for relation in kind.relations.values():
            connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, sql.Identifier(*relation.columns)))
        connection.execute(sql.SQL("GRANT SELECT ON {} TO lethe_checker").format(table))
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM (ANALYZE, FREEZE)")


def workspace_of(kinds: tuple[Kind, ...], connections: Callable[[str], Connection]) -> Workspace:
    """The shipped policy over a catalog of these tables."""
    tables: dict[str, Any] = {
        k.name: Table(
            table=k.name,
            db_schema="app",
            role=Role.CONTROLLER,
            category="account",
            purposes=("provide-service",),
            key=("id",),
            columns={"id": Column(category=ID if k.name == USERS else OPS)}
            | {c: Column(category=told) for c, (_, told, _) in k.columns.items()},
            relations=k.relations,
            persons=k.persons,
        )
        for k in kinds
    }
    store = Store(
        id="source",
        kind="postgresql",
        connection="source_db",
        check_connection="source_db_check",
        start_of_service=SERVICE,
        tables=tables,
        identities=(USERS,),
    )
    shipped = Workspace.open(connections, SHIPPED)
    catalog = Catalog(purposes={"provide-service": "Provide the service."}, stores=(store,))
    return Workspace(folder=SHIPPED, policies=shipped.policies, catalog=catalog, connections=connections)


def person(key: int) -> Located:
    """A person as `locate` would tell them, uncounted."""
    found = (Person(dataset=USERS, key=str(key)),)
    return Located(persons=found, emails=(), addresses=(), counted=(), forwards=(), archive_objects=0, left_out=0)
