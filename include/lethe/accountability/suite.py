"""Great Expectations over the register and the list: who is in force is in every file, once, and nobody else; every agreement is in force.

The register's side is read anew (`reading.py`), the list's side is what came back out of the bucket. Results keep whether a rule holds,
never a value. Great Expectations takes seconds to import, so it happens inside.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lethe.verify.result import Check

if TYPE_CHECKING:
    import pandas as pd

ONCE = "every entry of the register is there once"
NAMED = "every entry has a name and data that it receives"
COVERED = "every processor in force has its agreement in force"
COUNTED = "as many entries as the register has in force"
COMPLETE = "every file has each entry in force"
NOBODY_ELSE = "no file has anybody else, or somebody twice"
READ_BACK = "every file is what was written"


def check_list(register: Sequence[Mapping[str, Any]], files: Mapping[str, Sequence[str]], whole: Mapping[str, bool]) -> tuple[Check, ...]:
    """The checks. `register` as `reading.register_on` gives it; `files`: ids (names, of a PDF) by file; `whole`: does a file read back have the
    digest of what was written. A check that could not be made is `unknown`."""
    try:
        return tuple(_checks(register, files, whole))
    except Exception as error:  # Whatever stops the judge, nothing may be claimed: the kind of error is kept, its text is not.
        names = (ONCE, NAMED, COVERED, COUNTED, COMPLETE, NOBODY_ELSE, READ_BACK)
        return tuple(Check(name=name, status="unknown", detail=type(error).__name__) for name in names)


def _checks(register: Sequence[Mapping[str, Any]], files: Mapping[str, Sequence[str]], whole: Mapping[str, bool]) -> list[Check]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    import pandas as pd

    gxe: Any = gx.expectations
    entries = pd.DataFrame(
        [[e["type"], e["id"], e["name"], bool(e["covered"]) if e["type"] == "processor" else None, e["datasets"]] for e in register],
        columns=["type", "id", "name", "covered", "datasets"],
    )
    told = pd.DataFrame(
        [[name, *_differences(register, name, found), whole.get(name, False)] for name, found in files.items()],
        columns=["file", "missing", "others", "whole"],
    )
    processors = entries[entries["type"] == "processor"]
    ids = {found for name, each in files.items() if name.endswith(".json") for found in each}
    asked: list[tuple[str, pd.DataFrame, Any]] = [
        (ONCE, entries, gxe.ExpectColumnValuesToBeUnique(column="id")),
        (NAMED, entries, gxe.ExpectColumnValuesToNotBeNull(column="name")),
        (NAMED, entries, gxe.ExpectColumnValuesToBeBetween(column="datasets", min_value=1)),
        (COVERED, processors, gxe.ExpectColumnValuesToBeInSet(column="covered", value_set=[True])),
        (COUNTED, entries, gxe.ExpectTableRowCountToEqual(value=len(ids))),
        (COMPLETE, told, gxe.ExpectColumnValuesToBeInSet(column="missing", value_set=[0])),
        (NOBODY_ELSE, told, gxe.ExpectColumnValuesToBeInSet(column="others", value_set=[0])),
        (READ_BACK, told, gxe.ExpectColumnValuesToBeInSet(column="whole", value_set=[True])),
    ]
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    context.variables.analytics_enabled = False
    source = context.data_sources.add_pandas("lists")
    found: dict[str, list[bool]] = {}
    for number, (name, frame, expectation) in enumerate(asked):
        batch = source.add_dataframe_asset(f"asked-{number}").add_batch_definition_whole_dataframe("whole")
        result = batch.get_batch(batch_parameters={"dataframe": frame}).validate(expectation, result_format="BOOLEAN_ONLY")
        found.setdefault(name, []).append(bool(result.success))
    measured = {"entries": len(entries), "files": len(told)}
    return [Check(name=name, status="passed" if all(ok) else "failed", measured=measured) for name, ok in found.items()]


def _differences(register: Sequence[Mapping[str, Any]], name: str, found: Sequence[str]) -> tuple[int, int]:
    """How many entries a file lacks, and how many it has that are not in force, or twice."""
    wanted = Counter(e["name" if name.endswith(".pdf") else "id"] for e in register)
    there = Counter(found)
    return (wanted - there).total(), (there - wanted).total()
