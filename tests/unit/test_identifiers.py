"""Which addresses are one, which are refused, and that no refusal repeats what was typed."""

from __future__ import annotations

import json

import pytest

from lethe.errors import IdentifierRefused
from lethe.subjects.identifiers import MOST, Identifier, identifier, read_identifiers

DATASETS = ("users", "leads")


def email(text: str, *, fold: bool = True) -> Identifier:
    return identifier("email", text, fold_local=fold)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("jose\u0301@example.org", "jos\u00e9@example.org", True),
        ("  jeanne@example.org ", "jeanne@example.org", True),
        ("jeanne@EXAMPLE.org", "jeanne@example.ORG", True),
        ("Jeanne@example.org", "jeanne@example.org", True),
        ("jeanne@caf\u00e9.fr", "jeanne@xn--caf-dma.fr", True),
        ("jeanne@cafe\u0301.fr", "jeanne@XN--CAF-DMA.fr", True),
        ("jos\u00e9@example.org", "jose@example.org", False),
        ("jeanne@caf\u00e9.fr", "jeanne@cafe.fr", False),
        ("jean.ne@example.org", "jeanne@example.org", False),
        ("jeanne+a@example.org", "jeanne@example.org", False),
        ("wei\u00df@example.org", "weiss@example.org", False),
        ("jeanne@stra\u00dfe.de", "jeanne@strasse.de", False),
    ],
)
def test_twins_match_and_neighbours_do_not(one: str, other: str, same: bool) -> None:
    assert (email(one).normal == email(other).normal) is same


def test_case_of_the_local_part_is_a_setting_and_that_of_the_domain_is_not() -> None:
    assert email("Jeanne@Example.org", fold=False).normal == "Jeanne@example.org"
    assert email("Jeanne@Example.org").normal == "jeanne@example.org" and email("Jeanne@Example.org").value == "Jeanne@Example.org"


BAD = {
    "empty": "",
    "spaces": "   ",
    "line break": "canary@example.org\nBcc: x@example.org",
    "line break at the end": "canary@example.org\n",
    "carriage return": "canary\r@example.org",
    "NUL": "canary\x00@example.org",
    "line separator": "canary\u2028@example.org",
    "not seen": "canary\u200b@example.org",
    "half a pair": "canary\ud800@example.org",
    "no @": "canary.example.org",
    "two @": "canary@example@example.org",
    "a lookalike": "canary\uff20b@example.org",
    "no local part": "@canary.org",
    "no domain": "canary@",
    "no dot": "canary@localhost",
    "a dot at the end": "canary@example.org.",
    "an empty label": "canary@example..org",
    "a bad label": "canary@-example.org",
    "bad punycode": "canary@xn--\u00e9.org",
    "an inner space": "canary x@example.org",
    "10,000 characters": "canary" * 2000 + "@example.org",
    "255 characters": "canary@" + "a" * 60 + ("." + "b" * 60) * 3 + ".orgs",
    "a local part of 65": "canary" + "a" * 59 + "@example.org",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(IdentifierRefused) as refused:
        email(text)
    assert "canary" not in str(refused.value) and refused.value.fix and refused.value.__cause__ is None


def test_the_longest_address_is_one() -> None:
    local, domain = "a" * 64, ".".join(["b" * 62, "c" * 62, "d" * 59, "fr"])
    assert len(f"{local}@{domain}") == 253
    assert email(f"{local}@{domain}").normal == f"{local}@{domain}"


@pytest.mark.parametrize("text", ["canary:1", "users", "users:", "users:a canary", "users:canary@example.org", ":1", "users:1\n"])
def test_an_account_is_a_key_of_a_dataset_of_persons(text: str) -> None:
    assert identifier("account", "users:a:1", datasets=DATASETS).normal == "users:a:1"
    with pytest.raises(IdentifierRefused) as refused:
        identifier("account", text, datasets=DATASETS)
    assert "canary" not in str(refused.value)


def test_an_identifier_is_not_printed() -> None:
    assert "canary" not in repr(email("canary@example.org"))


@pytest.mark.parametrize(
    "body",
    [
        b"email=Jeanne@example.org\r\n\r\naccount=users:1\n",
        b"\xef\xbb\xbfemail=Jeanne@example.org\naccount = users:1\nemail=jeanne@EXAMPLE.org",
        json.dumps({"email": ["Jeanne@example.org"], "account": "users:1"}).encode(),
        b'{"email": "Jeanne@example.org", "account": "users:1", "email": "Jeanne@example.org"}',
    ],
)
def test_a_file_is_json_or_lines(body: bytes) -> None:
    assert {i.normal for i in read_identifiers(body, datasets=DATASETS)} == {"jeanne@example.org", "users:1"}


@pytest.mark.parametrize(
    "body",
    [
        b"canary@example.org",
        b"name=canary",
        b"email=canary@example.org\ncanary",
        b'{"email": "canary"',
        b'{"email": {"canary": "a@example.org"}}',
        b'{"email": [["canary@example.org"]]}',
        b'{"email": 1, "canary": null}',
        b'{"email": "canary@example.org\\n"}',
        b'{"canary": "canary@example.org"}',
        b"{" + b'"canary":{' * 6000,
        b"email=canary\xff@example.org",
        b"\n".join(b"email=canary%d@example.org" % n for n in range(MOST + 1)),
    ],
)
def test_a_file_that_is_neither_is_refused_without_being_repeated(body: bytes) -> None:
    with pytest.raises(IdentifierRefused) as refused:
        read_identifiers(body, datasets=DATASETS)
    assert "canary" not in str(refused.value)
