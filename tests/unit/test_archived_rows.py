"""What of an archived row is not given: secrets, and what is about somebody else, as of a living one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pytest

from lethe.archive.model import PERSONS
from lethe.catalog.model import Store, Table
from lethe.errors import Uncountable
from lethe.subjects.archived_rows import _into, _leads_by_others, _masked, _Mine, _secrets
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


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ({"hanging": "d"}, [6]),  # nobody else has the address
        ({"hanging": "cd", "persons": "d", "left": "c"}, [6]),  # its own name says that it is theirs, another's that it is not
        ({"hanging": "d", "left": "c"}, None),
    ],
)
def test_whose_an_archived_row_is_that_hangs_by_way_of_others_is_not_guessed(names: dict[str, str], ids: list[int] | None) -> None:
    """A living row on the way may lead to somebody with the same address who is not meant: the archive does not name them."""
    found = {k: frozenset(n * 32 for n in names.get(k, "")) for k in ("persons", "hanging", "left")}
    gathered: list[Any] = []
    give = _into(gathered, _Mine(**found, located=JEANNE), (), untold=True)([])
    if ids is None:
        with pytest.raises(Uncountable, match="hang on an address"):
            give(cast(Any, None), ROWS)
    else:
        give(cast(Any, None), ROWS)
        assert [row["id"] for _, rows in gathered for row in rows.to_pylist()] == ids


def test_ways_by_rows_that_lead_to_persons_are_told_from_those_that_do_not() -> None:
    def of(**tables: Any) -> Store:
        entries = {n: {"table": n, "role": "controller", "category": "x", "purposes": [], "key": ["id"], **t} for n, t in tables.items()}
        return Store.model_validate(
            {
                "id": "s",
                "kind": "postgresql",
                "connection": "c",
                "start_of_service": "2020-01-01T00:00:00Z",
                "tables": entries,
                "identities": ["users"],
            }
        )

    one = {"columns": {"id": {"category": "system.operations"}}}
    mail = {"columns": {"id": {"category": "system.operations"}, "email": {"category": "user.contact.email"}}}
    up = {"columns": ["id"]}
    store = of(
        users=one | {"persons": [[]]},
        signups=mail,
        events=one | {"persons": [["signup"], ["user"]], "relations": {"signup": up | {"to": "signups"}, "user": up | {"to": "users"}}},
        clicks=one | {"persons": [["event", "signup"]], "relations": {"event": up | {"to": "events"}}},
        prefs=one | {"persons": [["signup"]], "relations": {"signup": up | {"to": "signups"}}},
        consents=mail | {"persons": [["user"]], "relations": {"user": up | {"to": "users"}}},
        visits=one | {"persons": [["consent"]], "relations": {"consent": up | {"to": "consents"}}},
        audience=one | {"persons": [["consent", "user"], ["consent"]], "relations": {"consent": up | {"to": "consents"}}},
        notes=one | {"persons": [["event", "user"]], "relations": {"event": up | {"to": "events"}}},
    )
    assert [n for n in store.tables if _leads_by_others(store, n)] == ["clicks", "visits"]
