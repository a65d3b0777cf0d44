"""`lethe processors`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from lethe.processors.model import InForce


def processors(
    as_of: Annotated[str | None, typer.Option("--as-of", help="A day, such as 2026-05-01; today when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """The companies that receive data on a day, and which agreements end soon. For the eyes of the company: internal fields are in the JSON."""
    from lethe import settings
    from lethe.instants import local_day, now
    from lethe.policy.load import load_policies
    from lethe.processors.agreements import agreements_ending
    from lethe.processors.history import as_of as in_force
    from lethe.processors.load import load_register
    from lethe.reports.words import period

    folder = settings.policy_dir()
    register = load_register(folder)
    day = _day(as_of) if as_of else local_day(now(), load_policies(folder).in_force(now()).time_zone)
    entries = in_force(register, day)
    ending = agreements_ending(register, day)
    if as_json:
        print_json(
            {
                "as_of": day,
                "entries": [e.model_dump(mode="json") for e in entries],
                "ends_soon": [e.model_dump(mode="json") for e in ending],
            }
        )
        return
    rows = [_row(e) for e in entries]
    print_table(f"In force on {day}", ("entry", "is", "kind", "name", "data is in", "passes on to", "agreement ends"), rows)
    for each in ending:
        say(f"The agreement {each.reference} with {each.legal_name} ends on {each.last_day}, in {each.days_left} days.")
    if not ending:
        soon = period(register.warn_before_end).replace("\N{NO-BREAK SPACE}", " ")  # a terminal's text is searched, and not set
        say(f"No agreement ends within {soon}.")


def _row(entry: InForce) -> tuple[str | None, ...]:
    from lethe.processors.model import ProcessorVersion

    version = entry.version
    places = ", ".join(x.country if x.in_eea else f"{x.country} ({x.tool})" for x in version.locations)
    if not isinstance(version, ProcessorVersion):
        return (entry.id, entry.type, version.kind.value, version.legal_name, places, None, None)
    agreement = version.agreement
    ends = "no agreement" if agreement is None else str(agreement.in_force_to or "open")
    return (entry.id, version.role.value, version.kind.value, version.legal_name, places, ", ".join(version.sub_processors) or None, ends)


def _day(text: str) -> date:
    """Raises BadAsOf, without the text, when it is no day."""
    from lethe.errors import BadAsOf

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadAsOf("--as-of is no day.", fix="Write it as 2026-05-01.") from None
