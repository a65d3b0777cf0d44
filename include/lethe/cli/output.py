"""How every command speaks: tables for people, one JSON object for machines, and errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError
from typer.core import TyperGroup

from lethe.errors import LetheError

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


class Commands(TyperGroup):
    """Turns an error that an operator is meant to read into its text and exit code 2, without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remembers whether JSON was asked for, so that an error is one JSON object too."""
        ctx.meta["lethe.json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except LetheError as error:
            problem, fix = error.problem, error.fix
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            problem = f"A database refused or did not answer ({type(error.orig).__name__}{f', SQLSTATE {state}' if state else ''})."
            fix = "Look at the connection's host, port and login, and at what its role may do."
        if ctx.meta.get("lethe.json"):
            print_json({"error": problem, "fix": fix})
        else:
            console = Console(stderr=True, soft_wrap=True)
            console.print(problem, style="red", markup=False, highlight=False)
            if fix:
                console.print(fix, markup=False, highlight=False)
        raise typer.Exit(2)


def instant(text: str | None, option: str, refused: type[LetheError]) -> datetime | None:
    """What an option gives as an instant; None when it is left out. Raises `refused`, without the text."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise refused(f"{option} is no instant.", fix="Write it as 2026-01-01T00:00:00+01:00.") from None


def print_json(value: Any) -> None:
    """Prints `value` as the one JSON object of stdout."""
    plain = value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False, default=str))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str | None = None) -> None:
    """Prints a table; a column whose values are all numbers is set to the right."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(r[i] is None or isinstance(r[i], int | float) for r in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(v) for v in row))
    Console().print(table)


def say(text: str) -> None:
    """Prints a line for people."""
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("[", r"\[")
