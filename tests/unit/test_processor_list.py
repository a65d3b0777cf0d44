"""The list of processors: who stands in it, what of them, and that its files say the same, to the byte, and nothing that is internal."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from helpers.lists import BEFORE, listed, shipped, text_of
from helpers.registers import entry, recipient, register, version
from lethe.accountability.processor_list.content import Audience, content
from lethe.accountability.processor_list.files import files_of
from lethe.accountability.processor_list.view import chain_of, view
from lethe.accountability.processor_list.words import FIELDS, LABELS
from lethe.accountability.reading import read_back
from lethe.errors import BeforeRegister
from lethe.processors.model import ProcessorVersion, RecipientVersion, Register
from lethe.processors.shown import internal_fields
from lethe.subjects.bundle.formats.csv import unguarded

PUBLIC, INTERNAL = Audience.PUBLIC, Audience.INTERNAL
ORDER = ["rivage", "vallon", "lagerhof", "colombe", "pigeonhole", "guichet", "clairval", "tax-office", "vieux-phare"]


@pytest.fixture(scope="module")
def public() -> dict[str, bytes]:
    return files_of(listed(since=BEFORE), PUBLIC)


@pytest.fixture(scope="module")
def internal() -> dict[str, bytes]:
    return files_of(listed(since=BEFORE), INTERNAL)


def internal_values(of: Register) -> set[str]:
    """Every text in an internal field of any version of the register."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [t for v in value.values() for t in texts(v)]
        if isinstance(value, list):
            return [t for v in value for t in texts(v)]
        return [value] if isinstance(value, str) else []

    found: set[str] = set()
    for each in of.entries:
        for one in each.versions:
            model = ProcessorVersion if isinstance(one, ProcessorVersion) else RecipientVersion
            dumped = one.model_dump(mode="json")
            found |= {t for name in internal_fields(model) for t in texts(dumped[name])}
    return {t for t in found if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", t)}


def test_the_list_has_each_entry_in_force_once_with_those_behind_it_and_nobody_else(public, internal):
    assert [e.id for e in listed().entries] == ORDER
    names = [e.version.legal_name for e in listed().entries]
    for files in (public, internal):
        assert {*files} == {f"processors.{e}" for e in ("csv", "json", "fr.html", "en.html", "fr.pdf", "en.pdf")}
        for name, found in read_back(files).items():
            assert found == (names if name.endswith(".pdf") else ORDER), name


def test_no_internal_value_is_in_any_public_file_and_every_one_in_force_is_in_the_internal_ones(public, internal):
    values = internal_values(shipped()[0])
    assert len(values) > 20 and {"SPK-RIV-2025-01", "incident@colombe-mail.example", "our accountant"} <= values
    for name, body in public.items():
        text = text_of(name, body)
        assert [v for v in values if v in text or v.encode() in body] == [], name
    register, *_ = shipped()
    now = internal_values(
        Register.model_validate(
            {**register.model_dump(mode="json"), **{
                part: [{"id": e.id, "versions": [e.version.model_dump(mode="json")]} for e in listed().entries if e.type == kind]
                for part, kind in (("processors", "processor"), ("recipients", "recipient"))
            }}
        )
    )  # fmt: skip
    for name, body in internal.items():
        text = text_of(name, body).replace("- ", "-")
        assert [v for v in now if v not in text and v.replace("- ", "-") not in text] == [], name


def test_a_field_that_nobody_marked_is_internal_in_every_file():
    secret = "never to be read outside"
    of = register(entry("host", version(contact=secret, breach_contact=secret, audit_notes=[{"day": "2026-01-01", "note": secret}])))
    for name, body in files_of(listed(of), PUBLIC).items():
        assert secret not in text_of(name, body), name
    assert all(secret in text_of(name, body) for name, body in files_of(listed(of), INTERNAL).items())


def test_the_same_inputs_give_the_same_bytes_in_another_process_of_another_zone(public, internal, tmp_path):
    again = (
        "import sys, hashlib, json\n"
        "from helpers.lists import BEFORE, listed\n"
        "from lethe.accountability.processor_list.files import files_of\n"
        "from lethe.accountability.processor_list.content import Audience\n"
        "print(json.dumps({a: {n: hashlib.sha256(b).hexdigest() for n, b in files_of(listed(since=BEFORE), a).items()} for a in Audience}))"
    )
    environment = os.environ | {
        "TZ": "Pacific/Auckland",
        "PYTHONHASHSEED": "11",
        "LC_ALL": "C",
        "PYTHONPATH": os.pathsep.join(str(p) for p in (Path(__file__).parents[1], Path(__file__).parents[2] / "include")),
    }
    out = subprocess.run([sys.executable, "-c", again], capture_output=True, check=True, cwd=tmp_path, env=environment, text=True).stdout
    from hashlib import sha256

    assert json.loads(out) == {
        a.value: {n: sha256(b).hexdigest() for n, b in files.items()} for a, files in ((PUBLIC, public), (INTERNAL, internal))
    }


def test_another_day_another_since_and_another_file_give_another_list():
    ids = {listed().id, listed(as_of=date(2026, 11, 27)).id, listed(since=BEFORE).id, listed(company="Other LLC").id}
    assert len(ids) == 4 and listed().id == listed().id


@pytest.mark.parametrize(
    ("day", "there", "gone"),
    [(date(2021, 9, 30), "ancre", "rivage"), (date(2021, 12, 31), "ancre", "rivage"), (date(2022, 1, 1), "rivage", "ancre")],
)
def test_the_list_is_as_of_any_day(day, there, gone):
    ids = [e.id for e in listed(as_of=day).entries]
    assert there in ids and gone not in ids
    assert ("pigeonhole" in ids) == (day >= date(2021, 10, 1))


def test_a_day_before_the_register_has_no_list():
    with pytest.raises(BeforeRegister):
        listed(as_of=date(2013, 12, 31))
    with pytest.raises(BeforeRegister):
        listed(since=date(2013, 12, 31))


def test_a_list_of_nobody_says_so_in_every_file():
    files = files_of(listed(register(), since=None), PUBLIC)
    assert read_back(files) == {name: [] for name in files}
    assert "Aucun sous-traitant à cette date" in text_of("x.html", files["processors.fr.html"])
    assert "No processor on this day" in text_of("x.pdf", files["processors.en.pdf"])


def test_since_is_the_first_day_without_a_gap():
    of = register(entry("host", version("2020-01-01", "2020-05-31"), version("2020-07-01", "2020-12-31"), version("2021-01-01")))
    assert listed(of).begun == {"host": date(2020, 7, 1)}


def test_what_changed_is_told_and_what_changed_inside_alone_is_told_inside():
    of = register(
        entry("host", version("2020-01-01", "2020-12-31"), version("2021-01-01", contact="a new desk")),
        entry("mail", version("2020-03-01", kind="transactional-email", legal_name="Mail SAS")),
        entry("gone", version("2019-01-01", "2021-06-30", legal_name="Gone SAS")),
    )
    found = listed(of, since=date(2020, 2, 1))
    assert [(c["what"], c["id"]) for c in content(found, PUBLIC)["changes"]] == [("added", "mail"), ("ended", "gone")]
    assert [(c["what"], c["id"]) for c in content(found, INTERNAL)["changes"]] == [
        ("added", "mail"),
        ("changed", "host"),
        ("ended", "gone"),
    ]
    shown = text_of("x.html", files_of(found, PUBLIC)["processors.en.html"])
    assert "Since the list of 1 February 2020." in shown and "Ended Gone SAS" in shown and "Added Mail SAS" in shown
    assert "Nothing has changed since" in text_of("x.html", files_of(listed(of, since=date(2026, 1, 1)), PUBLIC)["processors.en.html"])
    assert "This is the first list" in text_of("x.html", files_of(listed(of), PUBLIC)["processors.en.html"])


def test_an_agreement_that_ends_soon_is_a_warning_inside_only():
    soon = {"reference": "A-77", "in_force_from": "2020-01-01", "in_force_to": "2027-01-20"}
    late = {**soon, "reference": "A-78", "in_force_to": "2027-03-01"}
    of = register(entry("host", version(agreement=soon)), entry("mail", version(kind="transactional-email", agreement=late)))
    found = listed(of)
    assert [(e.id, e.days_left) for e in found.ending] == [("host", 53)]
    inside = text_of("x.html", files_of(found, INTERNAL)["processors.en.html"])
    assert "20 January 2027, in 53 days" in inside and "A-77" in inside
    assert not any("A-77" in text_of(n, b) or "agreements_ending" in text_of(n, b) for n, b in files_of(found, PUBLIC).items())


def test_who_is_reached_by_two_ways_is_told_once_and_marked_in_the_picture():
    sub = {"role": "sub-processor"}
    of = register(
        entry("a", version(legal_name="A SAS", sub_processors=["c"])),
        entry("b", version(legal_name="B SAS", kind="payment", sub_processors=["c"])),
        entry("c", version(legal_name="C SAS", sub_processors=["d"], **sub)),
        entry("d", version(legal_name="D SAS", **sub)),
    )
    found = content(listed(of), PUBLIC)
    assert [p["id"] for p in found["processors"]] == ["a", "c", "d", "b"]
    assert {p["id"]: p["works_for"] for p in found["processors"]} == {"a": [], "c": ["a", "b"], "d": ["c"], "b": []}
    chain = chain_of(found, "en")
    assert [(n.name, n.again, [c.name for c in n.children]) for n in (chain.children[0].children[0], chain.children[1].children[0])] == [
        ("C SAS", False, ["D SAS"]),
        ("C SAS", True, []),
    ]
    page = files_of(listed(of), PUBLIC)["processors.en.html"].decode()
    assert "Dashed: shown above already." in page and page.count("stroke-dasharray") == 2, "once for each width"


def test_a_sub_processor_that_nobody_in_force_uses_and_a_loop_are_drawn_all_the_same():
    sub = {"role": "sub-processor"}
    of = register(
        entry("alone", version(**sub)), entry("x", version(sub_processors=["y"], **sub)), entry("y", version(sub_processors=["x"]))
    )
    assert {e.id for e in listed(of).entries} == {"alone", "x", "y"}
    assert {n.name for n in chain_of(content(listed(of), PUBLIC), "fr").children} == {"Host SAS"}


MARKUP = ['<script>alert(1)</script> & "Co"', "*Typst* #panic() $x$", "=HYPERLINK(\"http://x\")", "'quoted", "@cmd", "Ünï-Çödé & Fils (Œuvre) SA"]  # fmt: skip


@pytest.mark.parametrize("name", MARKUP)
def test_a_name_stays_a_name_in_every_file(name):
    of = register(entry("host", version(legal_name=name, address=f"{name}, Lyon")), recipients=(entry("bank", recipient(legal_name=name)),))
    files = files_of(listed(of), PUBLIC)
    assert read_back(files) == {n: [name, name] if n.endswith(".pdf") else ["host", "bank"] for n in files}
    page = files["processors.fr.html"].decode()
    assert "<script" not in page and name in text_of("x.html", page.encode())
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        drawn = "".join(t.text or "" for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
        assert name.replace(" ", "") in drawn.replace(" ", "")
    raw = files["processors.csv"].decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert [unguarded(r["legal_name"]) for r in rows] == [name, name]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for r in rows for cell in r.values())
    assert json.loads(files["processors.json"])["processors"][0]["legal_name"] == name


def test_the_csv_is_rfc_4180_with_a_mark_and_a_line_for_each_entry(public, internal):
    body = public["processors.csv"].decode()
    assert body.startswith("\ufeff") and body.count("\r\n") == len(ORDER) + 1 and "\n" not in body.replace("\r\n", "")
    (us,) = [r for r in csv.DictReader(io.StringIO(body[1:], newline="")) if r["id"] == "pigeonhole"]
    assert (us["locations"], us["works_for"], us["country"]) == ("US:scc", "colombe", "US")
    assert "clauses contractuelles types" in us["locations_fr"] and "standard contractual clauses" in us["locations_en"]
    inside = next(csv.DictReader(io.StringIO(internal["processors.csv"].decode("utf-8-sig"), newline="")))
    assert inside["agreement_reference"] == "SPK-RIV-2025-01" and inside["audit_notes"].startswith("2025-03-18: Visit")


def test_the_json_has_sorted_keys_and_says_what_it_was_made_from(public):
    found = json.loads(public["processors.json"])
    assert public["processors.json"] == (json.dumps(found, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
    assert (found["audience"], found["as_of"], found["since"]) == ("public", "2026-11-28", "2021-06-01")
    assert set(found["made_from"]) == {"catalog", "disclosure", "policy", "policy_version", "published_text", "register"}
    assert found["words"]["countries"]["US"] == {"fr": "États-Unis", "en": "United States"}


def test_a_page_is_whole_in_itself_and_runs_nothing(public, internal):
    for files in (public, internal):
        for name in ("processors.fr.html", "processors.en.html"):
            page = files[name].decode()
            assert "<script" not in page and "default-src 'none'" in page and not re.search(r"\son\w+=", page)
            loaded = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^"\s)>]+)', page)
            assert all(x.startswith("#") or x in {"processors.fr.html", "processors.en.html"} for x in loaded), loaded
            assert page.count('class="phone"') == page.count('class="wide"') == 1, "a picture for each width"


def test_french_has_its_own_punctuation_and_english_its_own_words(public):
    french, english = (text_of("x.html", public[f"processors.{language}.html"]) for language in ("fr", "en"))
    assert "hors EEE : clauses contractuelles types" in french.replace("\u00a0", " ") and "outside the EEA: standard" in english
    page = public["processors.fr.html"].decode()
    assert not re.search(
        r"[^\u00a0\s/\d\w;&\"#'-][;?!»]", re.sub(r"<style>.*?</style>|<[^>]*>|&\w+;|https?:\S+", "", page, flags=re.DOTALL)
    )
    assert "Sous-traitants" in french and "Sous-traitants" not in english and "Whose data" in english and "Whose data" not in french


def test_every_word_is_there_in_both_languages_with_the_same_values():
    for words in (*LABELS.values(), *FIELDS.values()):
        assert all(words) and re.findall(r"{\w+}", words[0]) == re.findall(r"{\w+}", words[1])
    fields = set(ProcessorVersion.model_fields) | set(RecipientVersion.model_fields)
    assert fields - {"active_from", "active_to"} <= set(FIELDS), "a field that nobody can read of"
    for language in ("fr", "en"):
        assert None not in view(content(listed(), INTERNAL), language)["facts"]
