"""What is in the archive, from its manifests: by dataset and law, without a person and without opening an object."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, func, select

from lethe.archive.finding import LIVING
from lethe.control.tables import archive_objects as objects
from lethe.frozen import Frozen


class Shelf(Frozen):
    """The living objects of a dataset under a law: how many, their rows and bytes, the first and last day of expiry, and how many of them
    are sealed (their manifest lies beside them) and locked in the store."""

    dataset: str
    law: str
    objects: int
    rows: int
    size: int
    first_expiry: date
    last_expiry: date
    sealed: int
    locked: int


def shelves(connection: Connection) -> tuple[Shelf, ...]:
    """Every dataset and law that the archive has objects of, by name."""
    count = func.count().label
    query = (
        select(
            objects.c.dataset,
            objects.c.law,
            count("objects"),
            func.sum(objects.c.rows).label("rows"),
            func.coalesce(func.sum(objects.c.manifest["size"].as_integer()), 0).label("size"),
            func.min(objects.c.expires_on).label("first_expiry"),
            func.max(objects.c.expires_on).label("last_expiry"),
            func.count().filter(objects.c.state == "sealed").label("sealed"),
            func.count(objects.c.lock_until).label("locked"),
        )
        .where(objects.c.state.in_(list(LIVING)))
        .group_by(objects.c.dataset, objects.c.law)
        .order_by(objects.c.dataset, objects.c.law)
    )
    return tuple(Shelf.model_validate(dict(row)) for row in connection.execute(query).mappings())
