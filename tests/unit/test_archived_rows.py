"""What of an archived row is not given: secrets, and what is about somebody else, as of a living one."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

from lethe.archive.model import PERSONS
from lethe.catalog.model import Table
from lethe.subjects.archived_rows import _into, _masked, _secrets
from lethe.subjects.found import Located

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


def test_a_row_is_the_person_s_by_name_or_by_the_address_that_the_archive_keeps() -> None:
    """The account that a row led to may be gone: then its address alone says whose it is."""
    table = pa.table(
        {
            "id": [1, 2, 3, 4],
            "signed_at": ["Jeanne@Example.org", "paul@example.org", None, "paul@example.org"],
            PERSONS: [[], ["b" * 32], [], ["a" * 32]],
        }
    )
    gathered: list[Any] = []
    give = _into(gathered, frozenset({"a" * 32}), ("signed_at", "not_kept"), JEANNE)([])
    give(cast(Any, None), table)
    assert [row["id"] for _, found in gathered for row in found.to_pylist()] == [1, 4]
    _into(gathered, frozenset(), (), JEANNE)([])(cast(Any, None), table)
    assert len(gathered) == 1, "an object without a row of the person gives none"
