"""The page of a bundle: everything that Article 15 wants told, in both languages; every value escaped; nothing loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from lethe.catalog.disclosure import Disclosure
from lethe.control.requests import RequestKind
from lethe.policy.model import PolicyVersion
from lethe.policy.period import Period
from lethe.processors.model import Location, ProcessorVersion, TransferTool
from lethe.subjects import bundle
from lethe.subjects.bundle.categories import category_words, secret
from lethe.subjects.bundle.cells import LONGEST, cell, shown
from lethe.subjects.bundle.model import Beside, FileTold, SectionTold
from lethe.subjects.bundle.page import ALONE, pages
from lethe.subjects.bundle.periods import retention, written_period
from lethe.subjects.bundle.years import MOST, year_bars
from sample_bundle import HOSTILE, ODD_NAMES, about, account, contract, everything, fifteen, files, logs, thread, told

NBSP = "\u00a0"
CARDS, LISTED = Beside(cards=("contact.vcf",)), Beside(cards=tuple(f"contact.{n:04}.vcf" for n in range(1, 8)), parts=True)
INSTRUCTED = about(kind=RequestKind.TENANT_INSTRUCTION)
EVERY = {
    "much": (about(), everything(), CARDS),
    "fifteen": (about(), fifteen(), LISTED),
    "nothing": (about(), [], ALONE),
    "instructed": (
        INSTRUCTED,
        [
            told("clients", {"id": 1, "last_name": "Martin"}),
            told("attachments", {"id": 1}, files=files().files),
            told("appointments", {"id": 1}, ics=["ics/appointments.0001.ics", "ics/appointments.0002.ics"]),
        ],
        CARDS,
    ),
}


class Reader(HTMLParser):
    """What a browser would make of a page: its tags, links and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data

    @property
    def links(self) -> list[str]:
        return [str(a["href"]) for t, a in self.tags if t == "a"]


def read(page: str) -> str:
    """The text of a page, white space made one."""
    return re.sub(r"[ \n]+", " ", Reader(page).text)


def both(*sections: SectionTold, **changes: Any) -> tuple[str, str]:
    made = pages(about(**changes), sections)
    return read(made["index.html"]), read(made["index.en.html"])


@pytest.mark.parametrize("case", EVERY)
def test_a_page_is_whole_in_itself(case: str) -> None:
    made = pages(*EVERY[case])
    assert set(made) == {"index.html", "index.en.html"} and made == pages(*EVERY[case])
    for name, page in made.items():
        found = Reader(page)
        assert page.startswith("<!doctype html>") and f'<html lang="{"fr" if name == "index.html" else "en"}">' in page
        assert not {"script", "img", "iframe", "link", "object", "form", "base"} & {t for t, _ in found.tags}
        assert not any(a.startswith("on") or a in {"src", "srcset", "action", "data"} for _, attrs in found.tags for a in attrs)
        assert all(link.startswith(("./", "#")) for link in found.links) and "url(" not in page and "@import" not in page
        assert ("./index.en.html" if name == "index.html" else "./index.html") in found.links
        ids = [a["id"] for _, a in found.tags if "id" in a]
        assert len(ids) == len(set(ids)) and {link[1:] for link in found.links if link.startswith("#")} <= set(ids)
        assert "None" not in found.text and "{{" not in page and "object at 0x" not in page


@pytest.mark.parametrize("case", EVERY)
def test_each_page_is_in_one_language(case: str) -> None:
    said, sections, beside = EVERY[case]
    made = pages(said, [replace(s, first=[], files=[]) for s in sections], beside)
    fr, en = (re.sub(r"English|Français|Commission nationale [^)]*\)|tribunal judiciaire", "", read(page)) for page in made.values())
    assert not re.search(r"\b(the|your|rows|deleted|what|with)\b", fr, re.IGNORECASE)
    assert not re.search(r"\b(vous|données|lignes|supprimé|notre|avec)\b", en, re.IGNORECASE)
    assert not re.search(r"[^\u00a0\s/][:;?!»](\s|$)| [:;?!»]", fr), "French punctuation"


def test_what_an_address_book_and_a_calendar_read_is_linked_and_said_in_both_languages() -> None:
    fr, en = (Reader(p) for p in pages(*EVERY["much"]).values())
    assert "./contact.vcf" in fr.links and "./contact.vcf" in en.links and not {x for x in fr.links if x.endswith(".ics")}
    assert "Vos coordonnées, pour un carnet d’adresses" in fr.text and "Your contact details, for an address book:" in en.text
    assert "iCalendar" not in fr.text + en.text and "./parts.json" not in fr.links and "./files.json" in fr.links
    fr, en = (Reader(p) for p in pages(*EVERY["instructed"]).values())
    assert [x for x in fr.links if x.endswith(".ics")] == ["./ics/appointments.0001.ics", "./ics/appointments.0002.ics"]
    assert "Les contacts, pour un carnet d’adresses" in fr.text and "Contacts, for an address book:" in en.text
    assert "Pour un agenda" in fr.text and "For a calendar:" in en.text
    fr, en = (Reader(p) for p in pages(*EVERY["fifteen"]).values())
    assert [x for x in en.links if x.endswith(".vcf")] == [f"./contact.{n:04}.vcf" for n in range(1, 6)] and "and 2 more" in en.text
    assert "./parts.json" in fr.links and "./files.json" not in fr.links and "./README.txt" in fr.links
    fr, en = (Reader(p) for p in pages(*EVERY["nothing"]).values())
    assert fr.links == ["./index.en.html", "./README.txt"] and "vCard" not in fr.text + en.text


def test_a_page_tells_what_article_15_wants_told() -> None:
    fr, en = both(*everything())
    for said in (
        "SPOTRAK LLC", "R-2026-7K3M9XQ2", "1er novembre 2026", f"9{NBSP}novembre{NBSP}2026 à 14{NBSP}h{NBSP}05", "20\u202f011", "Journaux techniques",
        "adresse IP", "Assurer la sécurité du service.", f"Supprimé 12{NBSP}mois après l’enregistrement", "Enregistré par nos serveurs",
        "Notre hébergeur", "privacy@spotrak.com", "3 Place de Fontenoy, TSA 80715, 75334 Paris Cedex 07", "www.cnil.fr/fr/plaintes",
        "tribunal judiciaire", "Rectifier", "Effacer", "Limiter", "Vous opposer", "Retirer",
    ):  # fmt: skip
        assert said in fr, said
    for said in (
        "SPOTRAK LLC", "R-2026-7K3M9XQ2", "1 November 2026", f"9{NBSP}November{NBSP}2026 at 14:05", "20,011", "Technical logs", "IP address",
        "Keep the service secure.", f"Deleted 12{NBSP}months after the row was recorded.", "Recorded by our servers", "Our hosting provider",
        "privacy@spotrak.com", "3 Place de Fontenoy, TSA 80715, 75334 Paris Cedex 07", "www.cnil.fr/fr/plaintes", "go to court", "Rectify",
        "Erase", "Restrict", "Object", "Withdraw",
    ):  # fmt: skip
        assert said in en, said


def test_the_companies_that_received_a_dataset_are_named_with_their_countries() -> None:
    fr, en = both(account())
    assert "Rivage Hébergement SAS (France)" in fr and "Vallon Datacentres SA (France) par l’intermédiaire de Rivage" in fr
    assert "Lagerhof Archivdienste GmbH (Germany) through Vallon Datacentres SA" in en
    assert (
        "Pigeonhole Relay Inc. (États-Unis) par l’intermédiaire de Colombe Mail Ltd" in fr
        and "États-Unis, sur la base des clauses contractuelles types" in fr
    )
    assert "United States, under the standard contractual clauses" in en and "Guichet" not in en, "payment does not receive accounts"
    fr, en = both(logs())
    assert "Rivage" in fr and "Colombe" not in fr and "Outside of the European Economic Area" not in en
    assert "Direction générale des Finances publiques (France)" in both(told("billing_invoices", {"id": 1}))[0]


def test_nothing_internal_of_a_company_is_on_the_page() -> None:
    said = about()
    inside = [str(getattr(e.version, f)) for e in said.receivers for f in ("contact", "breach_contact") if hasattr(e.version, f)]
    inside += [e.version.agreement.reference for e in said.receivers if isinstance(e.version, ProcessorVersion) and e.version.agreement]
    inside += [n.note for e in said.receivers for n in e.version.audit_notes]
    assert len(inside) > 15
    for page in pages(said, fifteen()).values():
        assert not [text for text in inside if text in Reader(page).text]


def test_without_a_register_the_categories_are_told_alone() -> None:
    fr, en = both(account(), receivers=())
    assert "Notre hébergeur" in fr and "Our hosting provider" in en and "Rivage" not in fr + en


@pytest.mark.parametrize(
    ("tool", "fr_said", "en_said"),
    [
        ("adequacy", "une décision d’adéquation", "an adequacy decision"), ("scc", "des clauses contractuelles types", "the standard contractual"),
        ("bcr", "de règles d’entreprise", "binding corporate rules"), ("derogation", "une dérogation", "a derogation"),
        ("none-needed", "une base que vous pouvez", "a ground that you can ask"),
    ],
)  # fmt: skip
def test_the_tool_of_a_transfer_is_said_in_words(tool: str, fr_said: str, en_said: str) -> None:
    at = (Location(country="US", tool=TransferTool(tool)),)
    given = tuple(e.model_copy(update={"version": e.version.model_copy(update={"locations": at})}) for e in about().receivers)
    fr, en = both(logs(), receivers=given)
    assert f"États-Unis, sur la base d’{fr_said}" in fr or f"États-Unis, sur la base {fr_said}" in fr or f"États-Unis, sur {fr_said}" in fr
    assert f"United States, under {en_said}" in en or f"United States, on {en_said}" in en


def test_names_that_are_html_are_text() -> None:
    for page in pages(about(), [files(), thread()]).values():
        assert HOSTILE not in page and HOSTILE in Reader(page).text
    named = about(policy=about().policy.model_copy(update={"company": HOSTILE, "authority": HOSTILE}))
    for page in pages(named, [account(email=HOSTILE)]).values():
        assert HOSTILE not in page
    firms = tuple(e.model_copy(update={"version": e.version.model_copy(update={"legal_name": HOSTILE})}) for e in about().receivers)
    for page in pages(about(receivers=firms), [account()]).values():
        assert HOSTILE not in page and HOSTILE in Reader(page).text


def test_links_to_files_stay_in_the_bag_and_names_are_shown_as_they_are() -> None:
    kept = files().files
    for page in pages(about(), [files()]).values():
        found = Reader(page)
        links = [unquote(link) for link in found.links if link.startswith("./files/")]
        assert links == [f"./{f.path}" for f in kept]
        assert all(shown(name) in found.text for name in ODD_NAMES)
        assert "\u202e" not in page and "photo\ufffdgnp.exe" in page and "javascript:" not in str(found.links)
        assert ("1,0 Mo" in found.text) != ("1.0 MB" in found.text)


def test_a_path_that_would_leave_the_bag_by_its_characters_is_quoted() -> None:
    odd = FileTold(path='files/x/1-a"b#c?d%2e<é>.pdf', name="x", size=1, sha256="0" * 64)
    (link,) = [k for k in Reader(pages(about(), [told("leads", files=[odd])])["index.html"]).links if k.startswith("./files/")]
    assert link == "./files/x/1-a%22b%23c%3Fd%252e%3C%C3%A9%3E.pdf"


def test_what_is_masked_is_named_with_its_reason_and_a_secret_is_never_shown() -> None:
    fr, en = both(thread(), account())
    assert "3\u00a0lignes sur" not in fr and "3 lignes sur 4 concernent aussi" in fr and "3 of 4 rows are about somebody else too" in en
    assert f"Masqué, parce que cela concerne une autre personne{NBSP}: identifiant (3{NBSP}lignes), nom" in fr
    assert f"Masked, because it is about another person: identifier (3{NBSP}rows), name" in en
    assert f"un secret qui protège un compte{NBSP}: mot de passe." in fr and "a secret that protects an account: password." in en
    page = pages(about(), [thread()])["index.en.html"]
    assert page.count('<span class="mask">masked</span>') == 9 and '<span class="mask">secret</span>' not in page
    assert pages(about(), [account()])["index.en.html"].count('<span class="mask">secret</span>') == 1
    nothing = pages(about(), [contract()])["index.en.html"]
    assert "Masked, because" not in nothing and 'class="note"' not in nothing


def test_the_same_is_said_of_customers_data_whether_there_is_any_or_not() -> None:
    for made in (both(), both(*everything())):
        assert "Nous ne disons ni si c’est le cas ni de qui il s’agit." in made[0]
        assert "We do not say whether that is so, nor who it is." in made[1]


def test_what_is_archived_has_its_law_and_its_last_day() -> None:
    fr, en = both(contract())
    assert f"Archivé au titre du texte suivant{NBSP}: Code civil 2224. Gardé jusqu’au 1er mars 2029, puis supprimé." in fr
    assert "Archived under Code civil 2224. Kept until 1 March 2029, then deleted." in en
    assert "Supprimé dès" not in fr and "right after" not in en, "the periods of the living rows are not those of the archive"


def test_a_long_section_shows_its_first_rows_and_a_small_one_all() -> None:
    made = pages(about(), [logs(), account()])["index.en.html"]
    assert made.count("<tr>") == 51 and "The first 50 of 20,000 rows" in made and made.count('<dl class="card">') == 1
    assert made.count(" open>") == 1, "fifty rows are folded"
    assert "The first of 7 rows" in read(pages(about(), [told("leads", {"id": 1}, count=7)])["index.en.html"])


def test_only_what_the_person_gave_is_marked_for_article_20() -> None:
    made = pages(about(), [account()])["index.en.html"]
    assert made.count('<div class="given">') == 5 and "portable (Article 20)" in made
    assert "Article 20" not in read(pages(about(), [logs()])["index.en.html"])


def test_the_whole_data_is_linked_and_many_files_are_not_all() -> None:
    many = [FileTold(path=f"files/leads/{n}-a.pdf", name=f"a{n}.pdf", size=n, sha256="0" * 64) for n in range(120)]
    parts = [f"json/leads.{n:04}.json" for n in range(1, 13)]
    found = Reader(pages(about(), [told("leads", files=many, json=parts)])["index.en.html"])
    assert sum(link.startswith("./files/") for link in found.links) == 50 and "And 70 more" in found.text
    assert [k for k in found.links if k.startswith("./json/")] == [f"./{p}" for p in parts[:5]] and "and 7 more" in found.text
    assert "./csv/leads.csv" in found.links and "./schema/leads.schema.json" in found.links


def test_an_instructed_export_does_not_speak_as_a_controller() -> None:
    fr, en = (read(p) for p in pages(*EVERY["instructed"]).values())
    for word in ("CNIL", "Pourquoi", "Combien de temps", "Article 20", "article 77", "Vos droits"):
        assert word not in fr
    for word in ("CNIL", "Why", "How long", "Article 20", "Article 77", "Your rights"):
        assert word not in en
    assert "sous-traitant" in fr and "as your processor" in en and "Clients" in en and "privacy@spotrak.com" in en


def test_nothing_held_is_said_and_not_shown_as_an_empty_page() -> None:
    fr, en = both()
    assert "Nous n’avons trouvé aucune donnée vous concernant." in fr and "We found no data about you." in en and "CNIL" in en


def test_a_policy_without_contact_representative_or_address_has_no_holes() -> None:
    bare = about().policy.model_copy(update={"contact": None, "authority_address": None, "authority_page": None})
    assert "answer the message that came with these files" in both(policy=bare)[1]
    full = about().policy.model_copy(update={"representative": "Lex SARL", "transfers": ("United States: standard clauses",)})
    assert "Lex SARL" in both(policy=full)[0] and "United States: standard clauses" in both(policy=full)[1]


def test_a_dataset_without_words_is_still_told() -> None:
    silent = Disclosure(datasets={})
    fr, en = both(account(), disclosure=silent)
    assert "users" in fr and f"2{NBSP}ans après last activity" in fr and "Communicate with you" in en


@pytest.mark.parametrize(
    ("text", "fr", "en"),
    [
        ("P12M", "12 mois", "12 months"), ("P1Y", "1 an", "1 year"), ("P5Y", "5 ans", "5 years"), ("P30D", "30 jours", "30 days"),
        ("P1M", "1 mois", "1 month"), ("P1Y6M", "1 an et 6 mois", "1 year and 6 months"), ("P0D", "0 jours", "0 days"),
        ("P2W", "14 jours", "14 days"),
    ],
)  # fmt: skip
def test_a_period_is_written_out(text: str, fr: str, en: str) -> None:
    said = [written_period(Period(text), lang) for lang in ("fr", "en")]
    assert [s.replace(NBSP, " ") for s in said] == [fr, en] and all(re.search(r"\d\u00a0", s) for s in said)


RETENTION: Mapping[str, tuple[str, ...]] = {
    "technical-logs": ("Deleted 12 months after the row was recorded.",),
    "usage-events": (
        "Deleted 12 months after the row was recorded.",
        "Deleted right after the contract ends.",
        "Whichever of these comes first applies.",
    ),
    "consents": ("Consent refused: deleted 6 months after your choice.", "Consent given: deleted 5 years after your consent ends."),
    "billing-invoices": (
        "Archived right after the financial year closes, as far as it has to be kept; the rest is deleted. The archive is deleted 10 years "
        "after that date (a legal duty, Code de commerce L123-22). Never while your contract is in force.",
    ),
    "support": ("Deleted 3 years after the last message of the exchange. Never while your contract is in force.",),
    "nowhere": (),
}


@pytest.mark.parametrize("category", RETENTION)
def test_the_policys_rules_are_sentences(category: str) -> None:
    policy: PolicyVersion = about().policy
    said = retention(policy, category, about().disclosure, "en")
    assert tuple(s.replace(NBSP, " ") for s in said) == RETENTION[category]
    assert len(retention(policy, category, about().disclosure, "fr")) == len(said)


@pytest.mark.parametrize(
    ("value", "kind", "text", "shape"),
    [
        (None, "text", "", "nothing"), ("", "text", "", "text"), (True, "boolean", "oui", "text"), (12, "bigint", "12", "number"),
        (Decimal("12.50"), "numeric", "12.50", "number"), ("2026-07-01T22:30:00+00:00", "timestamp with time zone", "2 juil. 2026, 00:30", "instant"),
        ("2026-07-01T22:30:00", "timestamp without time zone", "1er juil. 2026, 22:30", "instant"), ("2026-02-03", "date", "3 févr. 2026", "instant"),
        ("infinity", "timestamp with time zone", "infinity", "text"), ("0044-03-15 BC", "date", "0044-03-15 BC", "text"),
        ("9999-12-31T23:59:59+00:00", "timestamp with time zone", "9999-12-31T23:59:59+00:00", "text"),
        ({"é": [1, None]}, "jsonb", '{"é": [1, null]}', "text"), ("a\x00b\x1bc\ud800", "text", "a\ufffdb\ufffdc\ufffd", "text"),
        ("2026-02-03", "text", "2026-02-03", "text"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_people_write_it(value: Any, kind: str, text: str, shape: str) -> None:
    made = cell(value, kind, "fr", "Europe/Paris")
    assert (made.text.replace(NBSP, " "), made.kind) == (text, shape)
    assert text == "" or text not in repr(made)


def test_a_long_value_is_cut_and_says_so() -> None:
    made = cell("x" * (LONGEST + 1), "text", "en", "UTC")
    assert made.cut and made.text == "x" * LONGEST + "…" and not cell("x" * LONGEST, "text", "en", "UTC").cut


def test_every_kind_of_data_has_words_of_its_own_or_of_the_one_above() -> None:
    assert (
        category_words("user.contact.email", "fr") == "adresse e-mail"
        and category_words("user.contact.new_thing", "en") == "contact details"
    )
    assert category_words("user.unheard_of.deep", "en") == "personal data" and category_words("data", "en") == "personal data"
    assert secret("user.authorization.password") and secret("user.authorization") and not secret("user.authorizations")


def test_years_are_bars_with_gaps_and_the_oldest_together() -> None:
    assert year_bars({2026: 4}) == () and year_bars({None: 3, 2026: 1}) == ()
    bars = year_bars({2020: 1, 2023: 4, None: 9})
    assert [(b.year, b.rows, b.height) for b in bars] == [(2020, 1, 25.0), (2021, 0, 0.0), (2022, 0, 0.0), (2023, 4, 100.0)]
    many = year_bars({y: 1 for y in range(1990, 2027)})
    assert len(many) == MOST and many[0].older and many[0].year == 2015 and sum(b.rows for b in many) == 37 and not many[1].older
    strange = year_bars({1: 1, 2025: 1000, 9999: 2})
    assert [b.year for b in strange] == [1, 2025, 9999] and strange[0].height == 1.5


def test_the_words_are_the_same_ones_in_both_languages() -> None:
    templates = Path(bundle.__file__).parent / "templates"
    names = [re.findall(r"macro (\w+\([^)]*\))", (templates / f"words.{lang}.html").read_text(encoding="utf-8")) for lang in ("fr", "en")]
    assert names[0] == names[1]
