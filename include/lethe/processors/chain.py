"""The chain of sub-processors: who passes data on to whom, to any depth, on every day of the register. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lethe.findings import CheckFinding
from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.load import FILE
from lethe.processors.model import InForce, Processor, ProcessorRole, ProcessorVersion, Register

if TYPE_CHECKING:
    import networkx as nx


class Link(Frozen):
    """One processor passes data on to another."""

    above: Id
    below: Id


def links(entries: Iterable[InForce]) -> tuple[Link, ...]:
    """Every link of the chain among entries in force (`as_of`), in their order. A sub-processor that is not among them has no link."""
    there = {e.id: e.version for e in entries}
    return tuple(
        Link(above=id_, below=below)
        for id_, version in there.items()
        if isinstance(version, ProcessorVersion)
        for below in version.sub_processors
        if below in there
    )


def check_chain(register: Register) -> Iterator[CheckFinding]:
    """Sub-processors that are no entries or not there on some day, links to what is no sub-processor, and loops on any day."""
    known = {p.id: p for p in register.processors}
    for entry in register.processors:
        for below in dict.fromkeys(b for v in entry.versions for b in v.sub_processors):
            if below not in known:
                yield CheckFinding(
                    kind="sub-processor unknown",
                    where=f"{FILE} {entry.id}",
                    problem=f"`{below}` is no processor of the register.",
                    fix="Add it under `processors:`, or correct its id.",
                )
            elif (day := _first_day_without(entry, known[below])) is not None:
                yield CheckFinding(
                    kind="sub-processor unknown",
                    where=f"{FILE} {entry.id}",
                    problem=f"On {day} it passes data on to `{below}`, which is not active then.",
                    fix="Make both begin and end on the same days: a new version says from when it passes data on.",
                )
    yield from _loops(register)


def check_links(entries: tuple[InForce, ...]) -> Iterator[CheckFinding]:
    """Of the entries in force on one day: sub-processors to whom nobody passes data on, and data that nobody above them has."""
    above: dict[str, list[ProcessorVersion]] = {}
    versions = {e.id: e.version for e in entries if isinstance(e.version, ProcessorVersion)}
    for link in links(entries):
        above.setdefault(link.below, []).append(versions[link.above])
    for id_, version in versions.items():
        if version.role is not ProcessorRole.SUB_PROCESSOR:
            continue
        if id_ not in above:
            yield CheckFinding(
                kind="entry without flow",
                where=f"{FILE} {id_}",
                problem="It is a sub-processor, and no processor passes data on to it.",
                fix="Name it in `sub_processors:` of a processor, or end it with `active_to:`.",
            )
            continue
        received = {d for v in above[id_] for d in v.datasets}
        for dataset in version.datasets:
            if dataset not in received:
                yield CheckFinding(
                    kind="flow not declared",
                    where=f"{FILE} {id_} {dataset}",
                    problem="No processor that passes data on to it receives this dataset.",
                    fix="Remove it here, or add it where it comes from.",
                )


def _first_day_without(entry: Processor, below: Processor) -> date | None:
    """The first day on which `entry` names `below` and `below` is not active; None when there is none."""
    for version in entry.versions:
        if below.id not in version.sub_processors:
            continue
        day: date | None = version.active_from
        for other in below.versions:
            if day is not None and other.active_on(day):
                day = None if other.active_to in (None, date.max) else other.active_to + timedelta(days=1)
        if day is not None and version.active_on(day):
            return day
    return None


def _loops(register: Register) -> Iterator[CheckFinding]:
    """One finding for each set of processors that pass data on in a circle, with the first day of it."""
    import networkx as nx  # only a check needs it

    if nx.is_directed_acyclic_graph(_graph(register, None)):
        return  # no two of them are ever in a circle: the days need not be looked at
    seen: set[frozenset[str]] = set()
    for day in sorted({v.active_from for p in register.processors for v in p.versions}):
        graph = _graph(register, day)
        for found in nx.strongly_connected_components(graph):
            members = frozenset(found)
            if members in seen or (len(members) == 1 and not any(graph.has_edge(m, m) for m in members)):
                continue
            seen.add(members)
            yield CheckFinding(
                kind="loop of sub-processors",
                where=f"{FILE} {', '.join(sorted(members))}",
                problem=f"From {day} they pass data on in a circle: nobody could say where it ends.",
                fix="Remove the link that is not there.",
            )


def _graph(register: Register, day: date | None) -> nx.DiGraph[str]:
    """The links on a day; of all days together when None."""
    import networkx as nx

    return nx.DiGraph(
        [(p.id, below) for p in register.processors for v in p.versions if day is None or v.active_on(day) for below in v.sub_processors]
    )
