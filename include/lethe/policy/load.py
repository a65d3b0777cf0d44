"""A folder of policy versions: `<effective_on>/{policy.txt, policy.yaml, rules.yaml, promises.yaml}`.

The published text is part of the version: its sha256 is declared in policy.yaml and compared with the file, so that no run
can name a text that is not the one people were promised (promise `policy-in-force`).
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, create_model

from lethe.errors import InvalidFile, NotInForce
from lethe.frozen import Frozen
from lethe.policy.controls import Control, ControlKind, FreshFor
from lethe.policy.model import PolicyVersion, Promise, Rule
from lethe.yamlfile import Document, read, validate

_IN_OTHER_FILES = {"rules", "promises", "fresh_for"}
_head: dict[str, Any] = {name: (f.annotation, f) for name, f in PolicyVersion.model_fields.items() if name not in _IN_OTHER_FILES}

PolicyFile: type[BaseModel] = create_model(
    "PolicyFile", __base__=Frozen, __doc__="policy.yaml: a version, its dates and its text.", **_head
)
"""`policy.yaml`: everything of a PolicyVersion but its rules and promises."""


class RulesFile(Frozen):
    """`rules.yaml`: what happens to each category of data."""

    rules: tuple[Rule, ...]


class PromisesFile(Frozen):
    """`promises.yaml`: each sentence of the policy, what keeping it means, and what keeps it."""

    fresh_for: FreshFor = Field(default=FreshFor(), description="How old evidence may be, by kind of control.")
    promises: tuple[Promise, ...]


class PolicyBook(Frozen):
    """Every version of one company's policy, oldest first."""

    versions: tuple[PolicyVersion, ...] = Field(min_length=1)

    def in_force(self, on: date | datetime) -> PolicyVersion:
        """The version in force on a day, or at an instant (its day in the version's own time zone).

        Raises NotInForce when the first version takes effect later, ValueError for an instant without zone.
        """
        if isinstance(on, datetime) and on.tzinfo is None:
            raise ValueError("the instant has no time zone")
        taken = [v for v in self.versions if v.effective_on <= _day(on, v.time_zone)]
        if not taken:
            first = self.versions[0].version
            raise NotInForce(
                f"No policy version is in force on {_day(on, self.versions[0].time_zone)}.", fix=f"The first takes effect on {first}."
            )
        return taken[-1]

    def version(self, name: str) -> PolicyVersion:
        """The version of that name (its first day, `2026-05-01`); NotInForce when there is none."""
        for version in self.versions:
            if version.version == name:
                return version
        raise NotInForce(f"There is no policy version {name[:20]!r}.", fix=f"Known: {', '.join(v.version for v in self.versions)}.")


def load_policies(folder: Path, *, check_text: bool = True) -> PolicyBook:
    """Every version in `folder`. Raises InvalidFile with file, line and fix, also when a text is not the declared one (`load_version`)."""
    versions = [load_version(f, check_text=check_text) for f in _folders(folder)]
    if not versions:
        raise InvalidFile(
            f"{folder}: holds no policy version.", fix="Add a folder named by its first day, such as 2026-05-01, with policy.yaml in it."
        )
    return PolicyBook(versions=tuple(sorted(versions, key=lambda v: v.effective_on)))


def load_version(folder: Path, *, check_text: bool = True) -> PolicyVersion:
    """One version's folder. With `check_text` false its text is compared by the caller: `lethe check`, the promise report. Raises InvalidFile."""
    head = read(folder / "policy.yaml")
    rules = read(folder / "rules.yaml")
    promises = read(folder / "promises.yaml")
    parts = validate(PolicyFile, head).__dict__, validate(RulesFile, rules).__dict__, validate(PromisesFile, promises).__dict__
    values = {k: v for part in parts for k, v in part.items()}
    _refuse_what_crosses(head, rules, promises, folder, values["effective_on"])
    version = PolicyVersion.model_validate(values)
    if check_text and (found := text_sha256(folder, version)) != version.text_sha256:
        raise head.error(
            f"{version.text_file} is not the text that was declared (its sha256 is {found}).",
            "text_sha256",
            fix="Restore the published text. A new text is a new version in a folder of its own.",
        )
    return version


def read_text(folder: Path, version: PolicyVersion) -> bytes:
    """The published text of a version, byte for byte. Raises InvalidFile when it is not there."""
    path = folder / version.text_file
    if path.resolve().parent != folder.resolve():
        raise InvalidFile(f"{folder / 'policy.yaml'}: text_file leaves its folder.", fix="Keep the text beside policy.yaml.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read ({type(error).__name__}).", fix="Put the published text there.") from None


def text_sha256(folder: Path, version: PolicyVersion) -> str:
    """sha256, in hex, of the text as it lies there."""
    return hashlib.sha256(read_text(folder, version)).hexdigest()


def folder_of(policies: Path, version: PolicyVersion) -> Path:
    """Where a version lies."""
    return policies / version.version


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InvalidFile(f"{folder}: there is no such folder.", fix="Set LETHE_POLICY_DIR to a company's folder of policies.")
    return sorted(f for f in folder.iterdir() if f.is_dir() and f.name[:1].isdigit())


def _refuse_what_crosses(head: Document, rules: Document, promises: Document, folder: Path, effective_on: date) -> None:
    """What only the files together can get wrong, with the line that has to change."""
    try:
        ZoneInfo(str(head.value["time_zone"]))
    except (ZoneInfoNotFoundError, ValueError):
        raise head.error("`time_zone` is no time zone.", "time_zone", fix="Write one of the IANA names, such as Europe/Paris.") from None
    if folder.name != effective_on.isoformat():
        raise head.error(f"the folder {folder.name} is not named by `effective_on`.", "effective_on", fix="Rename the folder.")
    _unique(rules, "rules")
    _unique(promises, "promises")
    known = {p["id"] for p in promises.value["promises"]}
    for i, rule in enumerate(rules.value["rules"]):
        if rule["promise"] not in known:
            raise rules.error("the rule names a promise that does not exist.", "rules", i, "promise", fix="Take an id of promises.yaml.")
    if head.value.get("transfers_promise") not in {None, *known}:
        raise head.error(
            "`transfers_promise` names a promise that does not exist.",
            "transfers_promise",
            fix="Take an id of promises.yaml, or leave it out.",
        )
    _refuse_ageless(promises)


def _refuse_ageless(promises: Document) -> None:
    fresh_for = FreshFor.model_validate(promises.value.get("fresh_for") or {})
    for i, promise in enumerate(promises.value["promises"]):
        for j, given in enumerate(promise["controls"]):
            control = Control.model_validate(given)
            if control.kind is not ControlKind.UNBUILT and fresh_for.of(control) is None:
                raise promises.error(
                    "nothing says how old the control's evidence may be.",
                    *("promises", i, "controls", j),
                    fix="Give it `fresh_for`, such as PT26H or P8D; but for a dag, the file may have one for all of a kind.",
                )


def _unique(document: Document, key: str) -> None:
    items: list[dict[str, Any]] = document.value[key]
    seen: dict[str, int] = {}
    for i, item in enumerate(items):
        line = document.line(key, i, "id")
        if item["id"] in seen:
            raise document.error(f"the id is used twice (first in line {seen[item['id']]}).", key, i, "id", fix="Ids are unique.")
        seen[item["id"]] = line


def _day(on: date | datetime, zone: str) -> date:
    return on.astimezone(ZoneInfo(zone)).date() if isinstance(on, datetime) else on
