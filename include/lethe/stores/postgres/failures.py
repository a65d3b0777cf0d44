"""What a database's refusal means for a count: an error that names the step and the table, and never a value of a row."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from lethe.errors import LetheError, PartialView, Uncountable, Unreachable

_FIXES = {
    "42P01": "Correct the catalog, or the search for the table that is gone: `lethe check` lists what differs.",
    "42703": "Correct the catalog: `lethe check` lists the columns that are not there.",
    "42501": "Give the check connection's role SELECT on the table and on every table that its rows lead to.",
    "42883": "The columns of a relation have types that do not compare: correct the catalog.",
    "57014": "Add the index that `lethe check` names, or allow the count more time.",
    "55P03": "Somebody locks the table: try again when that is over.",
}
_NAMES_ONLY = {"42P01", "42703", "42501", "42883"}
"""SQLSTATEs whose messages hold identifiers and types, never values."""
_GONE = ("08", "57P", "53")


def meaning(error: DBAPIError, what: str) -> LetheError:
    """The error to raise for one of the driver's: PartialView when row security would hide rows, Unreachable when the database went
    away, Uncountable otherwise. `what` names the step and its table. Raise it `from None`: the driver's own text can hold values.
    """
    state = getattr(error.orig, "sqlstate", None)
    diagnosis = getattr(error.orig, "diag", None)
    if state is None or state.startswith(_GONE):
        return Unreachable(
            f"{what}: the database does not answer ({state or 'connection lost'}).", fix="See that it runs and accepts the connection."
        )
    if getattr(diagnosis, "source_function", None) == "check_enable_rls":
        return PartialView(
            f"{what}: row security would hide rows from the count.",
            fix="Give the check connection's role BYPASSRLS.",
        )
    said = f": {diagnosis.message_primary}" if diagnosis is not None and state in _NAMES_ONLY else ""
    return Uncountable(
        f"{what} cannot be counted ({state}{said}).", fix=_FIXES.get(state, "Look the SQLSTATE up in PostgreSQL's server log.")
    )
