"""What a check found wrong: a value that people read in a table and machines read as JSON."""

from __future__ import annotations

from typing import Literal

from lethe.frozen import Frozen

Kind = Literal[
    "agreement missing",
    "agreement over",
    "bucket not mapped",
    "category without dataset",
    "category without rule",
    "clock not defined",
    "clock without index",
    "column not in database",
    "column not mapped",
    "control not known",
    "dangling relation",
    "digest of text",
    "entry without flow",
    "exemption expired",
    "exemption of nothing",
    "flow not declared",
    "flow to nobody",
    "guessed category",
    "key is not unique",
    "kind of clock",
    "loop of sub-processors",
    "name not known",
    "no register",
    "not disclosed",
    "objects outside prefixes",
    "path leads nowhere",
    "path without index",
    "personal column not covered",
    "promise without control",
    "proof of a decided request",
    "purpose not known",
    "quote not in text",
    "register begins later",
    "relation not mapped",
    "role differs",
    "rows not found",
    "sentence not bound",
    "store unknown",
    "sub-processor unknown",
    "table not in database",
    "table not mapped",
    "tool without transfer",
    "transfer without tool",
]


class CheckFinding(Frozen):
    """One thing that a person has to put right. Holds names only, never a value of a row.

    `stops` says that a run over the dataset named in `where` would rest on something untrue, so it must not start.
    """

    kind: Kind
    where: str
    problem: str
    fix: str
    stops: bool = False
