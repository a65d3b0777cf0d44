"""Great Expectations Core as the judge: one suite a store, generated from the plan, each expectation a query that must give no row.

Nothing of a row is kept: the query's answer is one aggregate row, the result keeps only whether there was one, and an SQL error keeps
only its kind. Importing Great Expectations takes seconds, so it happens inside the functions, never when a DAG is parsed.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lethe.connections import Connection
from lethe.plan.model import HoldScope
from lethe.verify.result import Check, Status
from lethe.verify.session import ENGINE, options, see_as, tell, tell_holds
from lethe.verify.text import for_great_expectations

if TYPE_CHECKING:
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A rule about a step: `query` gives no row when it is kept."""

    step: str
    check: str
    query: str
    measured: tuple[tuple[str, int], ...] = ()


@cache
def _expectation() -> type[UnexpectedRowsExpectation]:
    """Our expectation: asked once (Great Expectations' own asks twice), and without a word about the rows."""
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation

    class ExpectNoViolation(UnexpectedRowsExpectation):
        """No row comes back, and whatever came back is not kept."""

        metric_dependencies = ("unexpected_rows_query.table",)

        def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:
            return {"success": len(metrics["unexpected_rows_query.table"]) == 0}

    return ExpectNoViolation


def judge(
    connection: Connection,
    expected: Sequence[Expected],
    *,
    holds: Iterable[HoldScope] = (),
    settings: dict[str, str] | None = None,
    snapshot: str | None = None,
    told: Mapping[str, str] | None = None,
) -> dict[str, list[Check]]:
    """The checks of each step, by step id. An expectation that could not be asked is `unknown`, whatever the cause.

    `snapshot`: one that the caller exported and keeps open; the expectations then see what it saw, whatever others write meanwhile. `told`:
    further settings of the session, which the queries read.
    """
    found: dict[str, list[Check]] = {e.step: [] for e in expected}
    if not expected:
        return found
    try:
        results = _run(connection, expected, tuple(holds), settings, snapshot, told or {})
    except Exception as error:  # Whatever stops the judge, nothing may be claimed: the kind of error is kept, its text is not.
        results = [("unknown", type(error).__name__)] * len(expected)
    for each, (status, detail) in zip(expected, results, strict=True):
        found[each.step].append(Check(name=each.check, status=status, detail=detail, measured=dict(each.measured)))
    return found


def _run(
    connection: Connection,
    expected: Sequence[Expected],
    holds: tuple[HoldScope, ...],
    settings: dict[str, str] | None,
    snapshot: str | None,
    told: Mapping[str, str],
) -> list[tuple[Status, str]]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.datasource.fluent.sql_datasource import SQLDatasource

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # It logs failing queries with their text.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    context.variables.analytics_enabled = False
    url = connection.sqlalchemy_url().render_as_string(hide_password=False).replace("$", "%24")  # `$` would be substituted.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It advises add_postgres, which refuses a socket.
        described = SQLDatasource(
            name="store",
            connection_string=url,
            kwargs={
                "isolation_level": "REPEATABLE READ" if snapshot else "AUTOCOMMIT",
                "connect_args": {"options": options(settings)},
                **ENGINE,
            },
            assets=[{"name": "one", "type": "query", "query": "SELECT 1 AS one", "batch_definitions": [{"name": "one"}]}],
        )
        source = context.data_sources.add_sql(described)
        source.get_engine().dispose()  # It was opened to try the connection; the expectations are asked by another.
        engine = source.get_execution_engine().engine
    try:
        if snapshot:
            see_as(engine, snapshot)
        if holds or told:  # A connection made before does not know them.
            tell_holds(engine, holds)
            tell(engine, told)
            engine.dispose()
        batch = source.get_asset("one").get_batch_definition("one").get_batch()
        suite = gx.ExpectationSuite(name="plan")
        for number, each in enumerate(expected):
            query = f"{for_great_expectations(each.query)} /* {number} */"  # One that repeats another would be dropped in silence.
            suite.add_expectation(_expectation()(unexpected_rows_query=query, meta={"n": number}))
        answers = batch.validate(suite, result_format="BOOLEAN_ONLY").results
    finally:
        engine.dispose()
    by_number = {a.expectation_config.meta["n"]: _status(a) for a in answers if a.expectation_config is not None}
    return [by_number.get(n, ("unknown", "not answered")) for n in range(len(expected))]


def _status(answer: Any) -> tuple[Status, str]:
    """An SQL error shows as success = False with exception_info: that is unknown, never survivors."""
    info = answer.exception_info or {}
    parts = [info] if "raised_exception" in info else list(info.values())
    if any(isinstance(p, dict) and p.get("raised_exception") for p in parts):
        kinds = sorted({k for p in parts for k in re.findall(r"psycopg\.errors\.(\w+)", str(p.get("exception_traceback", "")))})
        return "unknown", ", ".join(kinds) or "could not be asked"
    return ("passed", "") if answer.success is True else ("failed", "")
