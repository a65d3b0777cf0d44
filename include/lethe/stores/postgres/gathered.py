"""Rows as columns: the server gathers every column of a statement into one string of bytes, and Arrow takes it over as it lies.

What PostgreSQL has for many rows, COPY, is a stream of values, each with its length, which a client takes apart one by one: that took it nearly
as long as the server needed to send them. Gathered, a column of numbers is one block of memory (ADR 15).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from lethe.errors import NotArchivable
from lethe.stores.postgres import decoded
from lethe.stores.postgres.decoded import Fixed, OtherRows


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column as it is asked for: its name in the answer and in the statement; what stands for a NULL text; whether a number is said never to be
    NULL (`certain`); and whether a text may have the character that stands between two (`careful`)."""

    name: str
    column: str
    null: bytes
    certain: bool
    careful: bool


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A type: which strings its values are gathered into, and what makes a column of so many rows of them."""

    sums: Callable[[_Column], list[str]]
    made: Callable[[_Column, list[bytes], int], pa.Array]


def _bytes(value: bytes) -> str:
    return f"decode('{value.hex()}', 'hex')"


def _fixed(send: str, width: int, make: Fixed) -> _Kind:
    there, missing = _bytes(b"\x01"), _bytes(bytes(width + 1))

    def sums(asked: _Column) -> list[str]:
        one = f"{send}({asked.column})"
        return [f"string_agg({one}, '')" if asked.certain else f"string_agg(coalesce({one} || {there}, {missing}), '')"]

    return _Kind(sums=sums, made=lambda asked, sent, rows: decoded.fixed(sent[0], rows, width, make, asked.name, certain=asked.certain))


def _text(plain: str, sent: str) -> _Kind:
    """`plain` is what is gathered as text, with a character between two that text may have: where one has it, there are more texts than rows.
    Then each is `sent` by itself, which takes half as long again, and a zero byte stands between two."""

    def sums(asked: _Column) -> list[str]:
        if asked.careful or not plain:
            return [f"string_agg(coalesce({sent.format(asked.column)}, {_bytes(_NO_TEXT + asked.null)}), {_bytes(_ZERO)})"]
        return [f"textsend(string_agg(coalesce({plain.format(asked.column)}, chr(2) || '{asked.null.decode()}'), chr(1)))"]

    def made(asked: _Column, strings: list[bytes], rows: int) -> pa.Array:
        between, null = (_ZERO, _NO_TEXT) if asked.careful or not plain else (b"\x01", b"\x02")
        return decoded.texts(strings[0], rows, between, null + asked.null, asked.name)

    return _Kind(sums=sums, made=made)


_ZERO, _NO_TEXT = b"\x00", b"\xff"
"""What no text of PostgreSQL has, and what no UTF-8 has."""


def _strings(asked: _Column) -> list[str]:
    lengths = f"coalesce(int4send(octet_length({asked.column})), {_bytes(bytes([255] * 4))})"
    return [f"coalesce(string_agg({asked.column}, ''), '')", f"string_agg({lengths}, '')"]


def _addresses(send: str, kind: str) -> _Kind:
    return _Kind(
        sums=lambda asked: [f"string_agg(coalesce({send}({asked.column}), {_bytes(bytes(8))}), '')"],
        made=lambda asked, sent, rows: decoded.addresses(sent[0], rows, kind),
    )


def _lists(asked: _Column) -> list[str]:
    return [f"string_agg(coalesce(textsend(array_to_json({asked.column})::text), {_bytes(b'null')}), {_bytes(b',')})"]


_KINDS: dict[int, _Kind] = {
    16: _fixed("boolsend", 1, decoded.booleans),
    17: _Kind(sums=_strings, made=lambda asked, sent, rows: decoded.strings(sent[0], rows, sent[1])),  # bytea
    19: _text("", "namesend({})"),
    20: _fixed("int8send", 8, decoded.integers("i8")),
    21: _fixed("int2send", 2, decoded.integers("i2")),
    23: _fixed("int4send", 4, decoded.integers("i4")),
    25: _text("{}", "textsend({})"),
    114: _text("{}::text", "textsend({}::text)"),  # json
    650: _addresses("cidr_send", "cidr"),
    700: _fixed("float4send", 4, decoded.floats("f4")),
    701: _fixed("float8send", 8, decoded.floats("f8")),
    869: _addresses("inet_send", "inet"),
    1009: _Kind(sums=_lists, made=lambda asked, sent, rows: decoded.lists(sent[0], rows, asked.name)),  # text[], of one dimension
    1042: _text("", "bpcharsend({})"),  # its blanks stay
    1043: _text("{}", "varcharsend({})"),
    1082: _fixed("date_send", 4, decoded.days),
    1114: _fixed("timestamp_send", 8, decoded.instants(None)),
    1184: _fixed("timestamptz_send", 8, decoded.instants("UTC")),
    2950: _fixed("uuid_send", 16, decoded.uuids),
    3802: _text("{}::text", "textsend({}::text)"),  # jsonb
}
"""By the number of the type, which is the same on every server."""


def gather(
    session: psycopg.Connection[Any], statements: Sequence[str], certain: Collection[str] = (), *, at_once: int | None = None
) -> pa.Table:
    """All rows of statements, one at least, one after the other: SELECTs without parameters that differ in their values alone. Each column has a piece
    for each of them, or pieces of `at_once` rows.

    `certain` names columns that are never NULL, which makes them cheaper; one that has a NULL all the same is asked for again. Infinite instants
    and days are the highest number of their type, -infinity is that below zero; network addresses are opaque, as they are sent.

    Call it in a transaction of one snapshot. Raises psycopg's errors (ProgramLimitExceeded for a string above a gigabyte: gather less at once),
    and NotArchivable for a type that is not known here and a value that Arrow cannot hold.
    """
    kinds, columns = _described(session, statements[0], frozenset(certain))
    exacting = [replace(c, certain=False, careful=True) for c in columns]
    found: list[pa.Table] = []
    for statement in statements:
        try:
            found += _gathered(session, statement, kinds, columns, at_once)
        except OtherRows:
            found += _asked_again(session, statement, kinds, exacting, at_once)
    return pa.concat_tables(found) if found else _nothing(kinds, columns)


def _described(session: psycopg.Connection[Any], statement: str, certain: Collection[str]) -> tuple[list[_Kind], list[_Column]]:
    """The statement's columns, in their order, as the server sees them now. It is parsed and not planned, which would cost more than that."""
    _answered(session, session.pgconn.prepare(b"", statement.encode()))
    found = _answered(session, session.pgconn.describe_prepared(b""))
    kinds, asked, null = [], [], secrets.token_hex(8).encode()  # nobody's text
    for n in range(found.nfields):
        name, number = (found.fname(n) or b"").decode(), found.ftype(n)
        if number not in _KINDS:
            known = session.adapters.types.get(number)
            kind = "a type of its own" if known is None else f"{known.name}[]" if number == known.array_oid else known.name
            raise NotArchivable(
                f"Column {name} came as {kind}, which is not read so.",
                fix="The table was altered, or is not what the catalog says: plan anew.",
            )
        kinds.append(_KINDS[number])
        asked.append(_Column(name=name, column=f"q.c{n}", null=null, certain=name in certain, careful=False))
    return kinds, asked


def _asked_again(
    session: psycopg.Connection[Any], statement: str, kinds: Sequence[_Kind], columns: Sequence[_Column], at_once: int | None
) -> list[pa.Table]:
    try:
        return _gathered(session, statement, kinds, columns, at_once)
    except OtherRows:
        raise RuntimeError("the server gathered other rows than it counted") from None


def _answered(session: psycopg.Connection[Any], answer: PGresult) -> PGresult:
    if answer.status == ExecStatus.COMMAND_OK:
        return answer
    error = psycopg.errors.error_from_result(answer, "utf-8")
    raise psycopg.OperationalError("the connection is lost") if error.sqlstate is None and session.pgconn.status != ConnStatus.OK else error


def _gathered(
    session: psycopg.Connection[Any], statement: str, kinds: Sequence[_Kind], columns: Sequence[_Column], at_once: int | None
) -> list[pa.Table]:
    """A statement's rows, in pieces. A string becomes its column as soon as it is there, and is let go. Raises OtherRows once all have come."""
    sums, names = [kind.sums(column) for kind, column in zip(kinds, columns, strict=True)], [c.name for c in columns]
    last = sum(len(each) for each in sums)
    found, other = list[pa.Table](), False
    made, waiting, rows, before = list[pa.Array](), list[bytes](), 0, last
    with session.cursor() as cursor:
        for number, value in cursor.stream(_asking(statement, sums, at_once).encode(), binary=True):
            if number != (before + 1) % (last + 1):
                raise RuntimeError("the server gave its strings in another order")
            before = number
            if number == 0:
                made, rows = [], int.from_bytes(value, "big")
                continue
            n = len(made)
            waiting.append(value)
            if len(waiting) < len(sums[n]):
                continue
            try:
                made.append(_made(kinds[n], columns[n], waiting, rows))
            except OtherRows:
                made.append(pa.nulls(rows))
                other = True
            waiting = []
            if number == last:
                found.append(pa.Table.from_arrays(made, names=names))
    if before != last:
        raise RuntimeError("the server gave a part of its strings")
    if other:
        raise OtherRows
    return found


def _made(kind: _Kind, column: _Column, strings: list[bytes], rows: int) -> pa.Array:
    if None in strings:
        raise OtherRows  # nothing but NULL where none was said to be
    return kind.made(column, strings, rows)


def _asking(statement: str, sums: Sequence[Sequence[str]], at_once: int | None) -> str:
    """Strings come as rows of their own, so that none waits for another one, in their order: row 0 says of how many rows they are."""
    flat = [s for each in sums for s in each]
    named = ", ".join(f"{s} as s{n}" for n, s in enumerate(flat))
    rows, group = f"({statement}) as q({', '.join(f'c{n}' for n in range(len(sums)))})", ""
    if at_once is not None:
        rows, group = f"(select *, (row_number() over () - 1) / {at_once} as part from {rows}) as q", " group by q.part order by q.part"
    strings = ", ".join(["(0, int8send(g.rows))", *(f"({n + 1}, g.s{n})" for n in range(len(flat)))])
    gathered = f"select count(*) as rows, {named} from {rows}{group}"
    return f"select v.number, v.sent from ({gathered}) as g, lateral (values {strings}) as v(number, sent) where g.rows > 0"


def _nothing(kinds: Sequence[_Kind], columns: Sequence[_Column]) -> pa.Table:
    """No rows, with the types that rows would have."""
    empty = [kind.made(c, [b""] * 2, 0) for kind, c in zip(kinds, columns, strict=True)]
    return pa.Table.from_arrays(empty, names=[c.name for c in columns])
