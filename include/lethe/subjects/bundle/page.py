"""The page that a person opens first: what is held, why, for how long, from where, who received it, what is left out (GDPR Article 15(1)).

One page a language, each whole in itself: no script, nothing loaded from anywhere, links only into the bag. Its sentences are the macros of
`templates/words.<fr|en>.html`, the company's own words come from `disclosure.yaml`, and every value is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from lethe.catalog.disclosure import Disclosure
from lethe.control.requests import Language
from lethe.instants import local_day
from lethe.processors.countries import country_name
from lethe.processors.receivers import Receiver, receivers
from lethe.reports.words import short
from lethe.subjects.answers.dates import written_day, written_instant, written_size
from lethe.subjects.bundle.categories import OPERATIONS, category_words, secret
from lethe.subjects.bundle.cells import Cell, cells, shown
from lethe.subjects.bundle.model import FIRST, About, Beside, FileTold, SectionTold
from lethe.subjects.bundle.periods import retention, typeset
from lethe.subjects.bundle.years import YearBar, year_bars
from lethe.subjects.found import Field, Origin

PAGES: Mapping[Language, str] = {Language.FR: "index.html", Language.EN: "index.en.html"}
ALONE = Beside()
"""No file of cards, and no list of parts."""

AS_CARDS = 3
"""As many rows are shown as cards, one field a line; more are a table."""

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A column: its name, its kind of data in words (empty for none about a person), whether it is in the copy of Article 20."""

    name: str
    words: str
    provided: bool
    number: bool


@dataclass(frozen=True, kw_only=True)
class Masked:
    """A column that was masked, in words, and in how many rows."""

    words: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Company:
    """A company that received it, by the country of its seat, by way of whom, and the countries outside the EEA that it went to, each with the
    tool of the transfer."""

    name: str
    country: str
    through: str | None
    transfers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class RecipientShown:
    """A category of recipients in words, and the companies behind it."""

    words: str
    companies: tuple[Company, ...]


@dataclass(frozen=True, kw_only=True)
class SectionShown:
    """A section with its words in one language. `rows` are the first ones, `kinds` the kinds of data of its columns, each once."""

    told: SectionTold
    title: str
    source: str
    purposes: tuple[str, ...]
    periods: tuple[str, ...]
    recipients: tuple[RecipientShown, ...]
    kinds: tuple[str, ...]
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...] = field(repr=False)
    others: tuple[Masked, ...]
    secrets: tuple[str, ...]

    @property
    def id(self) -> str:
        """The section's id."""
        return self.told.section.id

    @property
    def archived(self) -> bool:
        """Is it of the archive?"""
        return self.told.section.origin is Origin.ARCHIVE

    @property
    def provided(self) -> bool:
        """Is something of it in the copy of Article 20?"""
        return any(h.provided for h in self.heads)

    @property
    def cards(self) -> bool:
        """Are its rows shown as cards?"""
        return len(self.rows) <= AS_CARDS

    @property
    def files(self) -> Sequence[FileTold]:
        """The files to link, the first ones."""
        return self.told.files[:FIRST]


def pages(about: About, told: Sequence[SectionTold], beside: Beside = ALONE) -> Mapping[str, str]:
    """The index page in French and in English, by its name in the bag's `data/`. The same input gives the same text."""
    return {name: _page(about, told, beside, language) for language, name in PAGES.items()}


def _page(about: About, told: Sequence[SectionTold], beside: Beside, language: Language) -> str:
    sections = [_shown(about, each, language.value) for each in told]
    years: dict[int | None, int] = {}
    for each in told:
        for year, rows in each.years.items():
            years[year] = years.get(year, 0) + rows
    bars: tuple[YearBar, ...] = year_bars(years)
    return (
        _environment()
        .get_template("index.html")
        .render(
            about=about,
            policy=about.policy,
            sections=sections,
            beside=beside,
            events=any(t.ics for t in told),
            rows=sum(t.rows for t in told),
            most=max((t.rows for t in told), default=0),
            files=sum(len(t.files) for t in told),
            years=bars,
            undated=years.get(None, 0),
            lang=language.value,
            other=PAGES[Language.EN if language is Language.FR else Language.FR],
            css=Markup((_TEMPLATES / "index.css").read_text(encoding="utf-8")),  # our own file
            received_on=local_day(about.received_at, about.policy.time_zone),
            day=partial(written_day, language=language.value),
            instant=partial(_instant, language=language.value, zone=about.policy.time_zone),
            size=partial(written_size, language=language.value),
            number=partial(_number, language=language.value),
            brief=partial(_brief, language=language.value),
        )
    )


def _shown(about: About, told: SectionTold, language: str) -> SectionShown:
    section, disclosure = told.section, about.disclosure
    words = disclosure.datasets.get(section.dataset)
    hidden = {f.name: "secret" if secret(f.category) else "others" for f in section.fields}
    masked = {f: told.masked[f.name] for f in section.fields if told.masked.get(f.name)}
    rows = tuple(cells(row, section.fields, language, about.policy.time_zone, hidden) for row in told.first[:FIRST])
    return SectionShown(
        told=told,
        title=typeset(words.title.of(language), language) if words else section.dataset,
        source=typeset(words.source.of(language), language) if words and words.source else "",
        purposes=tuple(_purpose(about, p, language) for p in section.purposes),
        periods=() if section.origin is Origin.ARCHIVE else retention(about.policy, section.category, disclosure, language),
        recipients=_recipients(about, section.dataset, language),
        kinds=_kinds(section.fields, language),
        heads=tuple(_head(f, n, rows, language) for n, f in enumerate(section.fields)),
        rows=rows,
        others=tuple(Masked(words=_column(f, language), rows=n) for f, n in masked.items() if hidden[f.name] == "others"),
        secrets=tuple(dict.fromkeys(_column(f, language) for f in masked if hidden[f.name] == "secret")),
    )


def _purpose(about: About, purpose: str, language: str) -> str:
    """A purpose in words: the French ones are the disclosure's, the English ones the catalog's."""
    found: str = (about.disclosure.purposes if language == "fr" else about.purposes).get(purpose) or about.purposes.get(purpose, purpose)
    return typeset(found, language)


def _recipients(about: About, dataset: str, language: str) -> tuple[RecipientShown, ...]:
    disclosure: Disclosure = about.disclosure
    told = disclosure.datasets.get(dataset)
    return tuple(
        RecipientShown(
            words=typeset(disclosure.recipients[kind].of(language), language),
            companies=tuple(_company(r, language) for r in receivers(about.receivers, dataset, kind)),
        )
        for kind in (told.recipients if told else ())
        if kind in disclosure.recipients
    )


def _company(receiver: Receiver, language: str) -> Company:
    return Company(
        name=receiver.name,
        country=country_name(receiver.country, language),
        through=receiver.through,
        transfers=tuple((country_name(x.country, language), x.tool.value) for x in receiver.transfers),
    )


def _kinds(fields: Sequence[Field], language: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(category_words(f.category, language) for f in fields if f.category != OPERATIONS))


def _head(each: Field, at: int, rows: Sequence[Sequence[Cell]], language: str) -> Head:
    return Head(
        name=each.name,
        words="" if each.category == OPERATIONS else category_words(each.category, language),
        provided=each.provided,
        number=any(r[at].kind == "number" for r in rows) and all(r[at].kind in {"number", "nothing", "others", "secret"} for r in rows),
    )


def _column(each: Field, language: str) -> str:
    return each.name if each.category == OPERATIONS else category_words(each.category, language)


def _number(value: int, language: str) -> str:
    """`20 000`, `20,000`."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if language == "fr" else f"{value:,}"


def _brief(value: int, language: str) -> str:
    """A bar's number, in two digits from a thousand on: `950`, `2.5k`, `18k`; `2,5k`."""
    text = short(value if value < 1000 else round(value, 2 - len(str(value))))
    return text.replace(".", ",") if language == "fr" else text


def _instant(at: datetime, language: str, zone: str) -> str:
    """An instant that breaks over lines between the day and the hour, and nowhere else."""
    text = written_instant(at, language, zone=zone)
    return text.replace(" ", "\N{NO-BREAK SPACE}", 2).replace(" h ", "\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}")


def _href(path: str) -> str:
    """A path of the bag as a link that stays in the bag, whatever characters it has."""
    return "./" + quote(path.encode("utf-8", "replace"), safe="/")


def _source(name: str) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return typeset(text, "fr") if name.endswith(".fr.html") else text


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(loader=FunctionLoader(_source), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters["href"] = _href
    made.filters["shown"] = shown
    return made
