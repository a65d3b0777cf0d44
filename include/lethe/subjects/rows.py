"""Rows as a database gives them, as rows of a bundle: exact numbers, what is about somebody else masked, each file with its row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

import psycopg
from sqlalchemy import Connection

from lethe.catalog.model import EMAIL, Prefix, Store
from lethe.errors import LetheError, MissingFile, Uncountable, Unreachable
from lethe.stores.postgres.person import SHARED, PersonTable
from lethe.stores.s3.client import answering
from lethe.stores.s3.listing import folder
from lethe.subjects.found import FileRef, Located, Row
from lethe.subjects.identifiers import is_address_of
from lethe.workspace import Workspace

_BATCH = 2_000  # rows of a fetch: memory does not grow with the person


class Reader:
    """Runs statements for one person on the connection of a snapshot, through psycopg: each is prepared once for the connection."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is in a REPEATABLE READ transaction."""
        found: Any = connection.connection.driver_connection
        self._driver: psycopg.Connection[Any] = found

    def all(self, statement: str, values: Mapping[str, Any], what: str) -> list[Any]:
        """Every row. Raises Uncountable or Unreachable, which name `what` and no value."""
        try:
            return self._driver.execute(statement, values, prepare=True).fetchall()
        except psycopg.Error as error:
            raise in_words(error, what) from None

    def one(self, statement: str, values: Mapping[str, Any], what: str) -> Sequence[Any]:
        """The one row. Raises as `all`."""
        (row,) = self.all(statement, values, what)
        found: Sequence[Any] = row
        return found

    def rows(self, text: str, most: int, stream: str, values: Mapping[str, Any], each: PersonTable) -> Iterable[dict[str, Any]]:
        """The rows of a text of `as_json`, or, where it has more than `most`, those of a statement that gives each as a text, streamed; in the
        order of their key."""
        first = loads(text)
        if len(first) <= most:
            return in_order([dict(zip(each.names, row, strict=True)) if type(row) is list else row for row in first], each.key)
        del first
        return self._streamed(stream, values)

    def _streamed(self, stream: str, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            with self._driver.cursor(name="lethe_person") as cursor:
                cursor.itersize = _BATCH
                cursor.execute(stream, values)
                for (row,) in cursor:
                    yield loads(row)
        except psycopg.Error as error:
            raise in_words(error, "The person's rows") from None


def loads(text: str) -> Any:
    """JSON with exact numbers, of any length."""
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:  # int() of a text has a limit; asked for each number, a function of ours would take most of the time
        return json.loads(text, parse_float=Decimal, parse_int=_whole)


def in_order(rows: list[dict[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """The rows sorted by their key: numbers as such, texts by their letters' codes. A key of a type that JSON has no order for goes as text."""
    try:
        rows.sort(key=itemgetter(*key))
    except TypeError:
        rows.sort(key=lambda row: [str(row[c]) for c in key])
    return rows


def _whole(digits: str) -> int:
    return int(digits) if len(digits) < 4000 else int(Decimal(digits))


def in_words(error: psycopg.Error, what: str) -> LetheError:
    """What the database's refusal means, without a value of a row."""
    state = error.sqlstate
    if state is None and not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        raise error  # a statement of ours that is none: its text holds no value
    if state is None or state.startswith(("08", "57P", "53")):
        return Unreachable(
            f"{what}: the database does not answer ({state or 'connection lost'}).", fix="See that it runs and accepts the connection."
        )
    said = f": {error.diag.message_primary}" if state in {"42P01", "42703", "42501", "42883"} else ""
    return Uncountable(
        f"{what} cannot be read ({state}{said}).", fix="`lethe check` shows what differs; correct the catalog or the role, then run again."
    )


def rows_read(workspace: Workspace, store: Store, each: PersonTable, located: Located, found: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """The rows of a dataset as a bundle has them. Raises MissingFile when the object of a row is not there."""
    masks = _Masks(store, each, located)
    filed = _Files(workspace, each) if each.table.files is not None else None
    if filed is None and masks.none and set(each.key) <= each.fields.keys():  # then a row's values are those that were read
        for values in found:
            shared = bool(values.pop(SHARED, False))
            yield Row(values=values, shared=shared)
        return
    for values in found:
        shared = bool(values.pop(SHARED, False))
        masked = masks.of(values)
        for column in masked:
            values[column] = None
        file = filed.of(values) if filed is not None else None  # after the masks: what is somebody else's is no file of the person
        yield Row(
            values={c: values.get(c) for c in each.table.columns},
            shared=shared or any(m not in each.withheld for m in masked),
            redacted=tuple(masked),
            file=file,
        )


class _Masks:
    """Which columns of a row are about somebody else, or a secret."""

    def __init__(self, store: Store, each: PersonTable, located: Located) -> None:
        self._each, self._located = each, located
        self._groups: dict[str, list[str]] = {}
        for column, kind in each.table.columns.items():
            if kind.about is not None:
                self._groups.setdefault(kind.about, []).append(column)
        self._keys: dict[str, tuple[tuple[str, ...], set[str]]] = {}
        for name in self._groups:
            relation = each.table.relations.get(name)
            if relation is not None and relation.to in store.identities:
                self._keys[name] = (relation.columns, set(located.keys.get(relation.to, ())))

    @property
    def none(self) -> bool:
        """No column of any row is masked."""
        return not self._groups and not self._each.withheld

    def of(self, values: Mapping[str, Any]) -> list[str]:
        found = list(self._each.withheld)
        for name, columns in self._groups.items():
            if all(values.get(c) is None for c in columns) or self._theirs(name, columns, values):
                continue
            found += [c for c in columns if values.get(c) is not None]
        return found

    def _theirs(self, name: str, columns: Sequence[str], values: Mapping[str, Any]) -> bool:
        """Is the group about the person? By the relation's key, else by an address of theirs; what cannot be told is somebody else's."""
        if name in self._keys:
            held, keys = self._keys[name]
            if len(held) == 1 and values.get(held[0]) is not None:
                return str(values[held[0]]) in keys
        addresses = [values.get(c) for c in columns if self._each.table.columns[c].category == EMAIL]
        return any(is_address_of(self._located.known, a, fold_local=self._located.fold_local) for a in addresses)


class _Files:
    """The objects of a dataset's rows."""

    def __init__(self, workspace: Workspace, each: PersonTable) -> None:
        assert each.table.files is not None
        self._files = each.table.files
        store, entry = workspace.catalog.datasets()[self._files.dataset]
        if not isinstance(entry, Prefix):
            raise Uncountable(f"The files of {each.dataset} lie in no prefix.", fix="Correct `files` in the catalog.")
        self._dataset, self._prefix, self._connection = each.dataset, entry, store.connection
        self._client = workspace.s3(store.connection)

    def of(self, values: Mapping[str, Any]) -> FileRef | None:
        from botocore.exceptions import ClientError

        key = values.get(self._files.column)
        if not key:
            return None
        if not str(key).startswith(folder(self._prefix.prefix)):
            raise MissingFile(
                f"A row of {self._dataset} names an object outside of the prefix that the catalog gives its files.",
                fix="Correct the key in the row, or `files` in the catalog: what lies elsewhere is another dataset's.",
            )
        with answering(self._prefix.bucket):
            try:
                head = self._client.head_object(Bucket=self._prefix.bucket, Key=str(key))
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                    raise
                raise MissingFile(
                    f"A file of {self._dataset} is not in bucket {self._prefix.bucket!r}, though its row is there.",
                    fix="The nightly report names such rows; restore the file, or correct the row. A bundle without it would not be complete.",
                ) from None
        name = values.get(self._files.name) if self._files.name else None
        kind = values.get(self._files.media_type) if self._files.media_type else None
        return FileRef(
            connection=self._connection,
            bucket=self._prefix.bucket,
            key=str(key),
            name=str(name or str(key).rsplit("/", 1)[-1]),
            size=int(head["ContentLength"]),
            media_type=str(kind or head.get("ContentType") or "application/octet-stream"),
        )
