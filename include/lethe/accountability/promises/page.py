"""The promise report as a page, and on paper."""

from __future__ import annotations

import json

from lethe.accountability.pages import page
from lethe.accountability.promises.model import PromiseReport
from lethe.accountability.promises.view import view
from lethe.instants import local_day
from lethe.reports.pdf import compile_pdf


def as_html(report: PromiseReport) -> bytes:
    """One page, whole in itself."""
    return page("promises.html", v=view(report), report=report)


def as_pdf(report: PromiseReport) -> bytes:
    """A4 pages."""
    shown = view(report) | {"policy_digest": report.policy_digest, "text_sha256": report.text_sha256, "head": report.ledger.digest or ""}
    return compile_pdf("promises.typ", json.loads(json.dumps(shown)), on=local_day(report.at, report.time_zone))
