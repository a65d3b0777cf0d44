"""The list of processors as of a day, whole: entries, chain, what changed since, agreements that end soon, and the words of all ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from lethe.catalog.disclosure import Disclosure
from lethe.catalog.model import Catalog
from lethe.frozen import Frozen, digest
from lethe.policy.model import Bilingual, PolicyVersion
from lethe.processors.agreements import EndingAgreement, agreements_ending
from lethe.processors.chain import links
from lethe.processors.countries import country_name
from lethe.processors.history import Change, changes
from lethe.processors.history import as_of as in_force_on
from lethe.processors.model import InForce, Processor, ProcessorKind, ProcessorRole, ProcessorVersion, Recipient, RecipientVersion, Register
from lethe.subjects.bundle.categories import category_words


class Words(Frozen):
    """What a reader is told for each id that stands in the list. `names`: the legal names of entries, those that are named and over too."""

    names: dict[str, str]
    kinds: dict[str, Bilingual]
    purposes: dict[str, Bilingual]
    data_categories: dict[str, Bilingual]
    person_categories: dict[str, Bilingual]
    datasets: dict[str, Bilingual]
    countries: dict[str, Bilingual]


class Inputs(Frozen):
    """What the list was made from: the same digests, the same bytes."""

    policy_version: str
    text_sha256: str
    policy: str
    catalog: str
    disclosure: str
    register_: str


class ProcessorList(Frozen):
    """The list. `entries` in the order in which they are told: each processor with those behind it, then recipients that are none.

    `since`: the day of the list before; None when there was none. `changed` is empty then. `begun`: by entry, its first day without a gap.
    """

    company: str
    contact: str | None
    as_of: date
    since: date | None
    entries: tuple[InForce, ...]
    begun: dict[str, date]
    changed: tuple[Change, ...]
    ending: tuple[EndingAgreement, ...]
    words: Words
    inputs: Inputs

    @property
    def id(self) -> str:
        """sha256 over the inputs and the two days: another list has another one."""
        return digest({"inputs": self.inputs.model_dump(), "as_of": self.as_of.isoformat(), "since": self.since and self.since.isoformat()})

    @property
    def processors(self) -> tuple[InForce, ...]:
        """Those that process for the company, and for each other."""
        return tuple(e for e in self.entries if e.type == "processor")

    @property
    def recipients(self) -> tuple[InForce, ...]:
        """Those that are no processors."""
        return tuple(e for e in self.entries if e.type == "recipient")

    def entry(self, entry_id: str) -> InForce | None:
        """The entry of that id; None when it is not in force."""
        return next((e for e in self.entries if e.id == entry_id), None)


def list_of(
    register: Register, policy: PolicyVersion, catalog: Catalog, disclosure: Disclosure, as_of: date, since: date | None = None
) -> ProcessorList:
    """The list as of a day. `policy` is the version in force then; `since` the day of the list before.

    Raises BeforeRegister for a day, or a `since`, before the register begins, ValueError when `since` is later than `as_of`.
    """
    entries = _in_order(in_force_on(register, as_of))
    changed = changes(register, since, as_of) if since is not None else ()
    return ProcessorList(
        company=policy.company,
        contact=policy.contact,
        as_of=as_of,
        since=since,
        entries=entries,
        begun={e.id: _begun(e, as_of) for e in register.entries if any(v.active_on(as_of) for v in e.versions)},
        changed=changed,
        ending=agreements_ending(register, as_of),
        words=_words(register, catalog, disclosure, as_of, entries, changed),
        inputs=Inputs(
            policy_version=policy.version,
            text_sha256=policy.text_sha256,
            policy=policy.digest,
            catalog=catalog.digest,
            disclosure=digest(disclosure),
            register_=digest(register),
        ),
    )


def chain(entries: Sequence[InForce]) -> dict[str, tuple[str, ...]]:
    """By processor in force, those in force that it passes data on to, in the order of the file."""
    behind: dict[str, list[str]] = {e.id: [] for e in entries if e.type == "processor"}
    for link in links(entries):
        behind[link.above].append(link.below)
    return {above: tuple(below) for above, below in behind.items()}


def first_in_chain(entries: Iterable[InForce]) -> tuple[str, ...]:
    """The company's own processors, and sub-processors in force that nobody in force passes data to: nobody is left out of the picture."""
    processors = [(e.id, e.version) for e in entries if isinstance(e.version, ProcessorVersion)]
    reached = {i for _, version in processors for i in version.sub_processors}
    return tuple(i for i, version in processors if version.role is ProcessorRole.PROCESSOR or i not in reached)


def _in_order(entries: tuple[InForce, ...]) -> tuple[InForce, ...]:
    """Each processor followed by those behind it, each once; then what no chain reaches; then recipients."""
    known, behind = {e.id: e for e in entries}, chain(entries)
    found: dict[str, InForce] = {}
    kinds = {kind: n for n, kind in enumerate(ProcessorKind)}
    first = sorted(first_in_chain(entries), key=lambda i: (kinds.get(ProcessorKind(known[i].version.kind), len(kinds)), i))
    waiting = [*reversed([*first, *behind])]  # a stack, not a recursion: a chain may be of any depth
    while waiting:
        entry = waiting.pop()
        if entry not in found:
            found[entry] = known[entry]
            waiting += reversed(behind[entry])
    return (*found.values(), *(e for e in entries if e.type == "recipient"))


def _versions(changed: Iterable[Change]) -> list[ProcessorVersion | RecipientVersion]:
    found: list[ProcessorVersion | RecipientVersion] = []
    for change in changed:
        found += [change.before, change.after] if change.what == "changed" else [change.version]
    return found


def _words(
    register: Register, catalog: Catalog, disclosure: Disclosure, day: date, entries: tuple[InForce, ...], changed: tuple[Change, ...]
) -> Words:
    """The words of every id of the list; an id without words stands for itself, and `lethe check` says so."""
    used = [e.version for e in entries] + _versions(changed)

    def of(name: str) -> list[str]:
        return sorted({i for v in used for i in getattr(v, name)})

    def told(ids: Iterable[str], words: Mapping[str, Bilingual]) -> dict[str, Bilingual]:
        return {i: words.get(i) or _as_is(i) for i in ids}

    purposes = {p: Bilingual(fr=disclosure.purposes.get(p, english), en=english) for p, english in catalog.purposes.items()}
    countries = sorted({v.country for v in used} | {place.country for v in used for place in v.locations})
    names = {e.id: _name_on(e, day) for e in register.entries}
    passed = {s for v in used if isinstance(v, ProcessorVersion) for s in v.sub_processors}
    return Words(
        names={i: names.get(i, i) for i in sorted(passed | {e.id for e in entries})},
        kinds=told(sorted({str(v.kind) for v in used}), disclosure.recipients),
        purposes=told(of("purposes"), purposes),
        data_categories={c: Bilingual(fr=category_words(c, "fr"), en=category_words(c, "en")) for c in of("data_categories")},
        person_categories=told(of("person_categories"), register.person_categories),
        datasets=told(of("datasets"), {d: t.title for d, t in disclosure.datasets.items()}),
        countries={c: Bilingual(fr=country_name(c, "fr"), en=country_name(c, "en")) for c in countries},
    )


def _begun(entry: Processor | Recipient, day: date) -> date:
    """The first day of the history that leads to that day without a gap."""
    versions = [v for v in entry.versions if v.active_from <= day]
    first = versions[-1].active_from
    for version in reversed(versions[:-1]):
        if version.active_to is None or version.active_to + timedelta(days=1) != first:
            break
        first = version.active_from
    return first


def _name_on(entry: Processor | Recipient, day: date) -> str:
    """Its name on that day; the last one before when it is over."""
    begun = [v for v in entry.versions if v.active_from <= day] or list(entry.versions[:1])
    return begun[-1].legal_name


def _as_is(name: str) -> Bilingual:
    return Bilingual(fr=name, en=name)
