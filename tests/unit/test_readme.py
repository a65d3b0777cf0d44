"""What README, CONTRIBUTING and docs tell people to type exists, and what they link to is there."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from demo import walkthrough
from demo.home import PROJECT
from lethe import errors
from lethe.cli import app

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "docs" / "operations.md"]
OTHERS = {".", "airflow", "docker", "cp", ".venv/bin/python"}
"""Programs that are not ours: looked at by hand, but for `airflow dags test` of a DAG, which `make demo` runs."""


def commands(page: Path) -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if text := line.split("  #")[0].strip():
                yield text


def every_command() -> list[str]:
    return sorted({command for page in PAGES for command in commands(page)})


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command of `lethe` that the words name, and its arguments."""
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands"):
        known = found.commands
        if not words or words[0] not in known:
            break
        found, words = known[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize("command", every_command())
def test_a_command_of_the_documentation_exists(command: str) -> None:
    for part in command.split(" && "):
        words = [w for w in shlex.split(part) if not re.fullmatch(r"[A-Z_]+=\S*", w)]
        if words[0] == "make":
            assert set(words[1:]) <= targets()
        elif words[0] == "lethe":
            found, rest = leaf(words[1:])
            assert found.name != "lethe", f"no command {part!r}"
            known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
            assert {w for w in rest if w.startswith("-") and not w.lstrip("-").isdigit()} <= known
        else:
            assert words[0] in OTHERS or part.startswith("chmod")


def test_make_demo_runs_every_dag_that_people_are_told_to_test() -> None:
    told = {m[1] for command in every_command() if (m := re.match(r"airflow dags test (\w+)", command))}
    assert told == set(re.findall(r'_dag_run\(home, "(\w+)"', inspect.getsource(walkthrough)))
    assert {path.stem for path in (PROJECT / "dags").glob("*.py")} == set(
        re.findall(r"DAG `(\w+)`", (PROJECT / "docs/operations.md").read_text())
    )


def test_every_error_of_the_operator_s_table_exists() -> None:
    named = re.findall(r"^\| `(\w+)`", (PROJECT / "docs" / "operations.md").read_text(), flags=re.MULTILINE)
    from_errors = [n for n in named if n[0].isupper() and not n.isupper()]
    assert {"StoreFull", "NotArchivable", "ArchiveDiffers", "WrongCount"} <= set(from_errors)
    assert [n for n in from_errors if not issubclass(getattr(errors, n, int), errors.LetheError)] == []


def test_bare_make_lists_every_target() -> None:
    alone = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}  # as typed, though `make test` calls us
    listed = subprocess.run(["make"], cwd=PROJECT, env=alone, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == targets()


def test_the_readme_names_every_target() -> None:
    named = set(re.findall(r"make ([a-z-]+)", (PROJECT / "README.md").read_text()))
    assert targets() - named - {"help", "env", "packages"} == set()


@pytest.mark.parametrize("page", [*PAGES, *sorted((PROJECT / "docs" / "adr").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (PROJECT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
