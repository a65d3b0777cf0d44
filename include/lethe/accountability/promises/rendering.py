"""The files of a promise report: a page for people, the same on paper, JSON for machines."""

from __future__ import annotations

import json

from lethe.accountability.promises.model import PromiseReport
from lethe.accountability.promises.page import as_html, as_pdf


def render(report: PromiseReport) -> dict[str, bytes]:
    """Every file by its ending. The same report gives the same bytes."""
    return {"html": as_html(report), "json": as_json(report), "pdf": as_pdf(report)}


def as_json(report: PromiseReport) -> bytes:
    """The whole report, with what is derived of it, keys sorted."""
    body = report.model_dump(mode="json")
    body |= {"unbound": list(report.unbound), "counts": report.counts, "kept": report.kept, "broken": [p.id for p in report.broken]}
    for given, promise in zip(body["promises"], report.promises, strict=True):
        given |= {"verdict": promise.verdict.value, "broken": promise.broken}
        for each, control in zip(given["controls"], promise.controls, strict=True):
            each |= {"id": control.id, "broken": control.broken}
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
