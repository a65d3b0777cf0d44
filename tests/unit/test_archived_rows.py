"""What of an archived row is not given: secrets, and what is about somebody else, as of a living one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pytest

from lethe.archive.model import PERSONS
from lethe.catalog.model import Table
from lethe.subjects.archived_rows import _into, _masked, _Mine, _secrets
from lethe.subjects.found import Located
from lethe.verify.archived_person import Sought

ENTRY = Table.model_validate(
    {
        "table": "accounts", "schema": "app", "role": "controller", "category": "accounts", "purposes": ["p"], "key": ["id"],
        "columns": {
            "id": {"category": "user.unique_id"},
            "token": {"category": "user.authorization.credentials"},
            "signed_by": {"category": "user.name", "about": "signatory"},
            "signed_at": {"category": "user.contact.email", "about": "signatory"},
        },
    }
)  # fmt: skip
JEANNE = Located(
    persons=(), emails=("jeanne@example.org",), addresses=("jeanne@example.org",), counted=(), forwards=(), archive_objects=1, left_out=0
)


def test_secrets_are_withheld_from_archived_rows_too() -> None:
    own = {"id": 1, "token": "s3cret", "signed_by": "Jeanne", "signed_at": "Jeanne@example.org"}
    assert _secrets(ENTRY, own) == ["token"] and _masked(ENTRY, own, JEANNE) == []
    theirs = own | {"signed_by": "Paul", "signed_at": "paul@example.org"}
    assert _masked(ENTRY, theirs, JEANNE) == ["signed_by", "signed_at"]


ROWS = pa.table(
    {
        "id": [1, 2, 3, 4, 5, 6],
        "signed_at": ["Jeanne@Example.org", "paul@example.org", None, "paul@example.org", "jeanne@example.org", None],
        PERSONS: [[], ["b" * 32], [], ["a" * 32], ["c" * 32], ["d" * 32]],
    }
)
ADDRESS = ("signed_at", "not_kept")
FOUND: dict[str, tuple[dict[str, Any], tuple[str, ...], list[int]]] = {
    "by name, or by the address that the archive keeps": ({"persons": "a"}, ADDRESS, [1, 4, 5]),
    "by the name of a row that it hung on": ({"hanging": "d"}, (), [6]),
    "but not where it names who has the same address and is not meant": ({"persons": "a", "left": "c"}, ADDRESS, [1, 4]),
    "by the person's own name all the same": ({"persons": "ac", "left": "c"}, ADDRESS, [1, 4, 5]),
    "nor where what it hung on is theirs": ({"hanging": "cd", "left": "c"}, (), [6]),
    "by the address as it is written, where case matters": ({"exact": ("jeanne@example.org",)}, ADDRESS, [5]),
    "by nothing": ({}, (), []),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_row_is_the_person_s(case: str) -> None:
    """The account that a row led to may be gone: then its address alone says whose it is. The check tells the same by itself."""
    given, columns, ids = FOUND[case]
    names = {k: frozenset(n * 32 for n in given.get(k, "")) for k in ("persons", "hanging", "left")}
    exact = given.get("exact")
    gathered: list[Any] = []
    _into(gathered, _Mine(**names, located=replace(JEANNE, exact=exact)), columns)([])(cast(Any, None), ROWS)
    assert [row["id"] for _, found in gathered for row in found.to_pylist()] == ids
    assert bool(gathered) == bool(ids), "an object without a row of the person gives none"
    sought = Sought(
        persons=names["persons"],
        hanging=names["hanging"],
        left_out=names["left"],
        addresses=frozenset(JEANNE.addresses),
        exact=None if exact is None else frozenset(exact),
    )
    counted = [row["id"] for row in ROWS.to_pylist() if sought.has(row[PERSONS], (row[c] for c in columns if c in row))]
    assert counted == ids
