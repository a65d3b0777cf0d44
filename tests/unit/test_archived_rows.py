"""What of an archived row is not given: secrets, and what is about somebody else, as of a living one."""

from __future__ import annotations

from lethe.catalog.model import Table
from lethe.subjects.archived_rows import _masked
from lethe.subjects.locating import Located

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
    assert _masked(ENTRY, own, JEANNE) == ["token"]
    theirs = own | {"signed_by": "Paul", "signed_at": "paul@example.org"}
    assert _masked(ENTRY, theirs, JEANNE) == ["token", "signed_by", "signed_at"]
