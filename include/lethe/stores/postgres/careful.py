"""Deleting rows that others refer to, or whose clock or contract lies in other rows: lock first, then look, then delete.

Each batch takes three statements, every one with a snapshot of its own (READ COMMITTED): the rows are locked FOR UPDATE, so that
nobody can begin to refer to them; the rows that their clock or contract lies on are locked too; then the DELETE evaluates the
whole predicate again, and that no row refers to them now. A cascade or SET NULL counts as a reference, so neither ever fires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, FromClause, Text, bindparam, cast, literal, select, tuple_
from sqlalchemy.dialects.postgresql import OID

from lethe.catalog.model import Path
from lethe.plan.model import HoldScope
from lethe.stores.postgres.delete import (
    Isolation,
    Outcome,
    Piece,
    Tid,
    deleting,
    files_of,
    going,
    pieces,
    refuse_if_left,
    summing,
    system_column,
)
from lethe.stores.postgres.filing import Filing, Named, removed
from lethe.stores.postgres.predicate import Target, predicate_of, referred_to
from lethe.stores.postgres.tables import reach
from lethe.stores.postgres.taking import Taking, refuse_other_count, together


def placed(row: Any, name: str = "places") -> list[ColumnElement[bool]]:
    """The rows at these places: `<name>` is bound to ctids, `<name>_of` to the table or partition that they lie in."""
    places = cast(bindparam(name, type_=ARRAY(Text)), ARRAY(Tid()))
    return [
        system_column(row, "ctid") == places.any_(),
        system_column(row, "tableoid") == cast(bindparam(f"{name}_of", type_=BigInteger), OID),
    ]


def paths(target: Target) -> list[Path]:
    """The ways from a row to the rows that decide whether it is due."""
    predicate = predicate_of(target.step)
    return [p for p in (predicate.clock.through, predicate.shield.through if predicate.shield else ()) if p]


def lock_deciding(connection: Connection, target: Target, values: dict[str, Any]) -> None:
    """Locks the rows that a row's clock and contract lie on, hop by hop: FOR SHARE, so that they cannot change, and FOR UPDATE where
    further rows hang on them, so that none can be added (a foreign key's new row needs a lock on its parent). So too the tenant of a row
    that its tenant's other rows would keep (`kept_for`)."""
    row = target.row()
    ways = [(path, False) for path in paths(target)]
    if predicate_of(target.step).kept_for and target.table.tenant:
        ways.append((target.table.tenant, True))
    for path, others_hang_on_its_end in ways:
        for n in range(1, len(path) + 1):
            reached = reach(target.store, target.dataset, row, path[:n], prefix="k")
            last = reached.aliases[-1]
            hangs = "." in path[n] if n < len(path) else others_hang_on_its_end
            locked = select(literal(1)).select_from(row, *reached.aliases).where(*placed(row), reached.where)
            connection.execute(locked.with_for_update(read=not hangs, of=last), values).all()


@dataclass(kw_only=True)
class Careful:
    """Keyset batches in the order of clock and key, with locks. A row that something still refers to is left: it is blocked."""

    target: Target
    rows: int
    snapshot: str | None = None
    recount: bool = False
    taking: Taking | None = None
    filing: Filing | None = None
    role: str = "purge"
    name: str = "careful"
    isolation: Isolation = "READ COMMITTED"

    @property
    def steps(self) -> tuple[str, ...]:
        """The one step."""
        return (self.target.step.id,)

    def start(self, connection: Connection) -> Any:
        """From the lowest."""
        return ()

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """Locks the next rows, what their clocks lie on, and deletes those that may go."""
        row = self.target.row()
        order = self._order(row)
        wanted = select(system_column(row, "tableoid").label("of"), system_column(row, "ctid").label("place"), *order)
        wanted = wanted.select_from(row).where(going(row, self.target, holds)).order_by(*order).limit(self.rows)
        if cursor:
            wanted = wanted.where(tuple_(*order) > tuple_(*(literal(v, c.type) for v, c in zip(cursor, order, strict=True))))
        locked = connection.execute(wanted.with_for_update(of=row)).all()
        found, files, xid = [], None, None
        for values in _by_table(locked):
            lock_deciding(connection, self.target, values)
            piece, named, xid = self._delete(connection, values, holds)
            found.append(piece)
            files = named if files is None else files + (named or [])
        whole = add(self.target.step.id, found)
        (filed,) = removed(connection, self.filing, [Named(target=self.target, rows=whole.rows, keys=files)])
        last = tuple(locked[-1][2:]) if locked else cursor
        return Outcome(
            pieces=(replace(whole, filed=filed),),
            range={"rows locked": len(locked)},
            cursor=last,
            done=len(locked) < self.rows,
            xid=xid,
        )

    def _order(self, row: FromClause) -> list[ColumnElement[Any]]:
        """By the clock where it is a column of the row, whose index then ends at the cutoff; by the key, every live row would be read to
        find that no more are due. Then by the key."""
        clock = predicate_of(self.target.step).clock
        key = [row.c[c] for c in self.target.table.key]
        first = [row.c[clock.column]] if clock.own and clock.column and clock.column not in self.target.table.key else []
        return [*first, *key]

    def _delete(self, connection: Connection, values: dict[str, Any], holds: Sequence[HoldScope]) -> tuple[Piece, list[str] | None, int]:
        row = self.target.row(None)
        free = [~referred_to(row, reference, self.target, f"r{n}") for n, reference in enumerate(self.target.incoming)]
        where = [*placed(row), *free]
        taken = None
        if self.taking is not None:
            values = self._free(connection, row, where, holds, values)
            due = [going(row, self.target, holds), *placed(row)]
            taken = self.taking.take(connection, self.target, row, due, holds, [values], self.snapshot)
        answer = connection.execute(summing(deleting(self.target, row, where, holds, self.snapshot)), values).one()
        if self.recount:
            refuse_if_left(connection, self.target, row, where, holds, answer.snapshot, values)
        piece = pieces(answer, self.steps)[0]
        if taken is not None:
            refuse_other_count(self.target, piece.rows, piece.fingerprint, taken)
        return replace(piece, taken=taken), files_of(answer), answer.xid

    def _free(
        self,
        connection: Connection,
        row: FromClause,
        where: Sequence[ColumnElement[bool]],
        holds: Sequence[HoldScope],
        values: dict[str, Any],
    ) -> dict[str, Any]:
        """The places of those locked rows that may go now. While they are read, a row that refers to another may go by somebody else's hand:
        what it freed stays for the next batch, or more would be deleted than was read."""
        chosen = select(system_column(row, "ctid")).select_from(row).where(going(row, self.target, holds), *where)
        return values | {"places": [str(place) for place in connection.scalars(chosen, values)]}


def add(step: str, found: Sequence[Piece]) -> Piece:
    """Several pieces of one step as one."""
    fingerprint = 0
    for piece in found:
        fingerprint ^= piece.fingerprint
    return Piece(
        step=step,
        rows=sum(p.rows for p in found),
        fingerprint=fingerprint,
        young=tuple(k for p in found for k in p.young),
        taken=together([p.taken for p in found if p.taken is not None]),
    )


def _by_table(locked: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The places, one dict for each table or partition that they lie in."""
    places: dict[int, list[str]] = defaultdict(list)
    for found in locked:
        places[int(found.of)].append(str(found.place))
    for of, those in places.items():
        yield {"places": those, "places_of": of}
