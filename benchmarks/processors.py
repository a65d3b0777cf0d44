"""The list of processors of a register of 1,000 entries, three hundred of them behind others: every file of it, and the record beside it."""

from __future__ import annotations

from datetime import date
from typing import Any

from benchmarks.ground import seconds
from benchmarks.score import Row, at_most
from benchmarks.world import Ground
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import files_of
from lethe.accountability.processor_list.model import list_of
from lethe.accountability.reading import read_back
from lethe.catalog.disclosure import load_disclosure
from lethe.catalog.load import load_catalog
from lethe.policy.load import load_policies
from lethe.processors.load import load_register
from lethe.processors.model import Register
from lethe.settings import SHIPPED, catalog_dir

ENTRIES, DAY, BEFORE = 1_000, date(2026, 11, 28), date(2026, 10, 31)


def measure(ground: Ground) -> list[Row]:
    """Seconds from the register to every public file, and to every internal one."""
    register = register_of(ENTRIES)
    policy, catalog, disclosure = load_policies(SHIPPED).in_force(DAY), load_catalog(catalog_dir(SHIPPED)), load_disclosure(SHIPPED)
    made: dict[str, bytes] = {}

    def make() -> None:
        listed = list_of(register, policy, catalog, disclosure, DAY, BEFORE)
        made.update({f"{a}/{name}": body for a in Audience for name, body in files_of(listed, a).items()})

    took = [seconds(make) for _ in range(ground.repeat)]
    if any(len(found) != ENTRIES for found in read_back(made).values()):
        raise RuntimeError("a file lacks somebody")
    size = sum(map(len, made.values())) / 1e6
    return [at_most(f"list of {ENTRIES:,} entries, all twelve files", took, 60, "s", detail=f"{size:.1f} MB")]


def register_of(entries: int) -> Register:
    """The shipped processors again and again under other names; every third has one behind it, and every tenth ended a month ago and began anew."""
    versions = [p.versions[-1].model_dump(mode="json") for p in load_register(SHIPPED).processors if p.versions[-1].active_to is None]
    found: list[dict[str, Any]] = []
    for n in range(entries):
        behind = n % 3 == 1  # behind the one before it
        of = versions[(n - 1 if behind else n) % len(versions)]
        version = {
            **of,
            "legal_name": f"{of['legal_name']} no. {n}",
            "sub_processors": [],
            "role": "sub-processor" if behind else "processor",
        }
        if n % 3 == 0 and n + 1 < entries:
            version["sub_processors"] = [f"entry-{n + 1}"]
        new = {**version, "active_from": "2026-11-10", "guarantees": [{"fr": "une de plus", "en": "one more"}]}
        found.append({"id": f"entry-{n}", "versions": [{**version, "active_to": "2026-11-09"}, new] if n % 10 == 0 else [version]})
    shipped = load_register(SHIPPED).model_dump(mode="json")
    return Register.model_validate({**shipped, "processors": found, "recipients": []})
