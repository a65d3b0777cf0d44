"""The record of processing activities: every field of Article 30, as controller and as processor, and nothing that no file says."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from helpers.lists import DAY, shipped, sources, text_of
from helpers.registers import entry, register, version
from lethe.accountability.processing_record.files import files_of
from lethe.accountability.processing_record.view import view
from lethe.accountability.processing_record.words import WORDS
from lethe.catalog.model import Prefix
from lethe.errors import BeforeRegister
from lethe.policy.model import Role
from lethe.processors.check import check_register


@pytest.fixture(scope="module")
def french() -> dict[str, Any]:
    return view(sources(), "fr")


def titles(sheet: dict[str, Any]) -> list[str]:
    return [row[0] for row in sheet["data"]]


def test_as_controller_there_is_a_sheet_for_each_purpose_and_as_processor_one_for_what_customers_store(french):
    assert [s["id"] for s in french["controller"]] == list(shipped()[2].purposes)
    assert [s["id"] for s in french["processor"]] == ["on-behalf"]
    assert [r[0] for r in french["summary"]] == [str(n) for n in range(1, 8)]


def test_every_dataset_is_in_the_record_in_its_own_role_and_in_no_other(french):
    _, _, catalog, disclosure = shipped()
    for role, part in ((Role.CONTROLLER, "controller"), (Role.PROCESSOR, "processor")):
        told = {t for s in french[part] for t in titles(s)}
        mine = {d for d, (_, e) in catalog.datasets().items() if e.role is role and (isinstance(e, Prefix) or not e.partition_of)}
        assert {disclosure.datasets[d].title.fr.replace(" :", "\u00a0:") for d in mine} == told


def test_a_sheet_says_persons_data_periods_with_their_law_recipients_and_transfers_with_their_tool(french):
    sheet = next(s for s in french["controller"] if s["id"] == "provide-service")
    assert "Les clients et les utilisateurs de leur espace" in sheet["persons"] and "Les visiteurs de notre site" not in sheet["persons"]
    kept = {row[0]: row[2] for row in sheet["data"]}
    assert "Code civil 2224" in kept["Vos contrats"] and "5\u00a0ans" in kept["Vos contrats"]
    assert "Notre prestataire de paiement" in sheet["recipient_kinds"]
    assert ["Rivage Hébergement SAS", "sous-traitant, hébergement", "France"] in sheet["recipients"]
    assert sheet["transfers"] == [
        ["Pigeonhole Relay Inc.", "États-Unis", "clauses contractuelles types", "Implementing Decision (EU) 2021/914, module 3"]
    ]
    comply = next(s for s in french["controller"] if s["id"] == "comply")
    assert any(r[0] == "Direction générale des Finances publiques" and r[1] == "autorité publique" for r in comply["recipients"])
    audience = next(s for s in french["controller"] if s["id"] == "audience")
    assert audience["transfers"] == [] and not any(r[0] == "Pigeonhole Relay Inc." for r in audience["recipients"])


def test_as_processor_it_says_on_whose_behalf(french):
    (sheet,) = french["processor"]
    assert sheet["behalf"] == "Les entreprises abonnées à la plateforme" and sheet["persons"] == ["Les clients de nos clients"]
    assert not any(r[0] == "Colombe Mail Ltd" for r in sheet["recipients"]), "it receives nothing of it"


def test_what_no_file_says_is_shown_as_not_declared_and_never_invented():
    bare = sources(dpo=None, acts_for=None, measures=(), contact=None, representative=None, address=None)
    found = view(bare, "en")
    assert [term for term, text in found["organisation"] if text is None] == [
        WORDS[n][1] for n in ("address", "representative", "dpo", "contact", "joint")
    ]
    assert found["processor"][0]["behalf"] is None and found["measures"] == []
    for name, body in files_of(bare).items():
        text = text_of(name, body)
        assert text.count("not declared" if ".en." in name else "non déclaré") >= 7, name
        assert not re.search(r"\bNone\b(?!\.)", text), name
    full = view(sources(address="1 rue Neuve, 75001 Paris"), "en")
    assert [WORDS["address"][1], "1 rue Neuve, 75001 Paris"] in full["organisation"]


def test_special_categories_are_named_where_the_data_map_has_them():
    _, _, catalog, _ = shipped()
    store = next(s for s in catalog.stores if s.tables)
    table = next(n for n, t in store.tables.items() if t.role is Role.CONTROLLER)
    column = next(iter(store.tables[table].columns))
    changed = store.tables[table].columns[column].model_copy(update={"category": "user.health_and_medical.record"})
    columns = {**store.tables[table].columns, column: changed}
    tables = {**store.tables, table: store.tables[table].model_copy(update={"columns": columns})}
    other = catalog.model_copy(
        update={"stores": tuple(store.model_copy(update={"tables": tables}) if s is store else s for s in catalog.stores)}
    )
    with_health = view(sources().model_copy(update={"catalog": other}), "en")
    assert any(s["sensitive"] == ["health"] for s in with_health["controller"])
    assert all(s["sensitive"] == [] for s in view(sources(), "en")["controller"])


def test_the_record_is_as_of_its_day_and_the_same_sources_give_the_same_bytes():
    assert files_of(sources()) == files_of(sources())
    old = view(sources(as_of=date(2021, 6, 1)), "fr")
    assert not any(s["transfers"] for s in old["controller"]) and any("Ancre" in r[0] for s in old["controller"] for r in s["recipients"])
    with pytest.raises(BeforeRegister):
        view(sources(as_of=date(2013, 1, 1)), "fr")


def test_a_company_that_nobody_works_for_has_a_record_too():
    found = view(sources(register(entry("host", version("2020-01-01", "2020-12-31")))), "en")
    assert all(s["recipients"] == [] for s in (*found["controller"], *found["processor"]))


def test_a_category_of_persons_without_words_is_a_finding():
    register, _, catalog, disclosure = shipped()
    changed = disclosure.datasets["leads"].model_copy(update={"persons": ("nobody",)})
    other = disclosure.model_copy(update={"datasets": {**disclosure.datasets, "leads": changed}})
    assert [(f.kind, f.where) for f in check_register(register, catalog, other, on=DAY)] == [
        ("name not known", "disclosure.yaml leads nobody")
    ]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_both_languages_say_the_same_things(language):
    found = view(sources(), language)
    other = view(sources(), "en" if language == "fr" else "fr")
    assert [len(s["data"]) for s in found["controller"]] == [len(s["data"]) for s in other["controller"]]
    pages = text_of("x.pdf", files_of(sources())[f"record.{language}.pdf"])
    assert all(s["name"][:20] in pages.replace("\u00a0", " ") for s in found["controller"]) and str(DAY.year) in pages
