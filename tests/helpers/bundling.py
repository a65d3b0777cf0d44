"""Sections and rows to bundle, sinks to bundle into, and a bundle unpacked by other tools."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import bagit  # type: ignore[import-untyped]

from lethe.catalog.disclosure import load_disclosure
from lethe.control.requests import Language, RequestKind
from lethe.policy.load import load_version as _load_version
from lethe.policy.model import Role
from lethe.settings import SHIPPED
from lethe.subjects.bundle import About, Part, write_bundle
from lethe.subjects.found import Field, FileRef, Origin, Row, Section

load_version = cache(_load_version)
MADE_AT = datetime(2026, 6, 1, 12, 30, 15, tzinfo=UTC)
REQUEST = "R-2026-7K3M9QWX"


def about(kind: RequestKind = RequestKind.ACCESS) -> About:
    return About(
        request=REQUEST,
        kind=kind,
        language=Language.FR,
        received_at=MADE_AT,
        made_at=MADE_AT,
        policy=load_version(SHIPPED / "2026-05-01"),
        disclosure=disclosure(),
        purposes={"provide-service": "Provide the service."},
    )


def disclosure() -> Any:
    return load_disclosure(SHIPPED)


def section(dataset: str = "notes", origin: Origin = Origin.LIVE, **columns: Any) -> Section:
    """`columns`: PostgreSQL's type by name, or a pair of it and the Fideslang category; `id` is always there, first."""
    given: Mapping[str, Any] = {"id": "bigint", **columns}
    pairs = {n: t if isinstance(t, tuple) else (t, "system.operations") for n, t in given.items()}
    fields = tuple(Field(name=n, type=t, category=c, provided=c.startswith("user.")) for n, (t, c) in pairs.items())
    return Section(
        store="app", dataset=dataset, origin=origin, role=Role.CONTROLLER, category="account", purposes=("provide-service",), fields=fields
    )


def row(file: FileRef | None = None, redacted: tuple[str, ...] = (), shared: bool = False, **values: Any) -> Row:
    return Row(values={"id": 1, **values}, file=file, redacted=redacted, shared=shared)


def file(name: str, body: bytes = b"x", key: str = "") -> FileRef:
    return FileRef(connection="s3", bucket="files", key=key or name, name=name, size=len(body))


class Kept(io.BytesIO):
    """A part in memory, which stays after it was closed."""

    done = False
    body = b""

    def close(self) -> None:
        self.done, self.body = True, self.getvalue()


class Sink:
    def __init__(self) -> None:
        self.streams: list[Kept] = []

    def __call__(self, number: int) -> Kept:
        assert number == len(self.streams) + 1
        assert all(s.done for s in self.streams), "a part is closed before the next begins"
        self.streams.append(Kept())
        return self.streams[-1]


def bundle(
    *sections: tuple[Section, Iterable[Row]], bodies: Mapping[str, bytes] = {}, told: About | None = None, **more: Any
) -> tuple[tuple[Part, ...], list[bytes]]:
    """The parts, and the bytes of each. `bodies`: of files, by their key."""

    def open_file(ref: FileRef) -> Iterator[bytes]:
        body = bodies.get(ref.key, b"x")
        yield from (body[i : i + 1000] for i in range(0, len(body), 1000))

    sink = Sink()
    parts = write_bundle(sections, about=told or about(), open_file=open_file, sink=sink, **more)
    return parts, [s.body for s in sink.streams]


def one(*sections: tuple[Section, Iterable[Row]], **more: Any) -> zipfile.ZipFile:
    """The only part of a bundle."""
    (_,), (body,) = bundle(*sections, **more)
    return zipfile.ZipFile(io.BytesIO(body))


def read(archive: zipfile.ZipFile, path: str) -> bytes:
    """An entry, by its path from the bag's folder."""
    return archive.read(f"{archive.namelist()[0].split('/')[0]}/{path}")


def paths(archive: zipfile.ZipFile) -> set[str]:
    return {n.split("/", 1)[1] for n in archive.namelist()}


def valid(body: bytes, at: Path) -> bagit.Bag:
    """Unpacks a part and has the Library of Congress's tool check it."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        archive.extractall(at)
    (folder,) = at.iterdir()
    bag = bagit.Bag(str(folder))
    bag.validate()
    return bag
