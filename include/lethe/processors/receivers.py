"""Which companies received a dataset, by name, as a person may be told (GDPR Article 15(1)(c) and (2)). Pure; only fields that may be shown."""

from __future__ import annotations

from collections.abc import Iterable

from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.model import InForce, Location, ProcessorVersion


class Receiver(Frozen):
    """A company that received a dataset: the country of its seat, by way of which company (None: from us), and its transfers out of the EEA."""

    name: str
    country: str
    through: str | None
    transfers: tuple[Location, ...]


def receivers(entries: Iterable[InForce], dataset: Id, kind: str) -> tuple[Receiver, ...]:
    """The entries of a kind that receive a dataset, each followed by the sub-processors that it comes to, to any depth; each company once.

    `entries` are those in force on the day asked (`as_of`), `kind` is one of `disclosure.yaml`'s recipients.
    """
    there = {e.id: e for e in entries}
    found: dict[str, Receiver] = {}
    # Pairs of an entry and the company above it, the next one last: a stack, because a chain may be deeper than calls may be.
    stack: list[tuple[str, str | None]] = [(e.id, None) for e in reversed(tuple(there.values())) if e.version.kind == kind and e.direct]
    while stack:
        id_, through = stack.pop()
        version = there[id_].version
        if id_ in found or dataset not in version.datasets:
            continue
        away = tuple(x for x in version.locations if not x.in_eea)
        found[id_] = Receiver(name=version.legal_name, country=version.country, through=through, transfers=away)
        if isinstance(version, ProcessorVersion):
            stack += [(below, version.legal_name) for below in reversed(version.sub_processors) if below in there]
    return tuple(found.values())
