"""Which objects of the archive a person is in, told by the manifests: none is opened."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from lethe import settings
from lethe.archive.finding import LIVING, find, named_otherwise
from lethe.archive.names import fingerprint
from lethe.archive.naming import person as person_whom
from lethe.control.tables import archive_objects
from lethe.errors import Uncountable
from lethe.policy.model import Role
from lethe.subjects.found import Person
from lethe.workspace import Workspace


def archived(workspace: Workspace, persons: Iterable[Person]) -> tuple[str, ...]:
    """The ids of the archive's objects that a person is in, told by their manifests. Raises Uncountable when some were named by another key.

    `persons`: those of `Located.named`. An archived row that hung on one which is found by its address alone has that one's digest, and no
    address: it is found as long as that row is in the living store. When that is gone, nobody can tell any more whose it was, and it is not found.
    """
    names = archive_names(workspace, persons)
    if not names:
        return ()
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    with workspace.control.connect() as control:
        unlike = named_otherwise(control, fingerprint(key))
        if unlike:
            raise Uncountable(
                f"Who is in {len(unlike)} objects of the archive cannot be told: they were named by another key.",
                fix="Set the key for digests that they were made by; a bundle without them would not be complete.",
            )
        return tuple(k.id for k in find(control, names))


def addressed_datasets(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """The datasets of the company's own that the archive has living objects of and that have address columns, with these."""
    query = select(archive_objects.c.dataset).where(archive_objects.c.state.in_(list(LIVING))).distinct()
    with workspace.control.connect() as control:
        there = set(control.scalars(query))
    tables = {i: t for s in workspace.catalog.stores for i, t in s.tables.items() if i in there and t.role is Role.CONTROLLER}
    return {i: t.addresses for i, t in tables.items() if t.addresses}


def archive_names(workspace: Workspace, persons: Iterable[Person]) -> frozenset[str]:
    """The archive's names of these persons, by today's datasets."""
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    return frozenset(
        n for p in persons for n in person_whom(key, (p.dataset, p.key), workspace.catalog).names(workspace.catalog.identities)
    )
