"""A promise report in the words that its page and its pages on paper show. Pure; the same report gives the same words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from lethe.accountability.processor_list.words import transfer_words
from lethe.accountability.promises.checks import CHECKS
from lethe.accountability.promises.model import ControlVerdict, PromiseReport, PromiseVerdict, Transfers, Verdict, worst
from lethe.policy.controls import ControlKind
from lethe.policy.period import Period
from lethe.policy.sentences import Sentence
from lethe.reports import words

TONES = {
    Verdict.FRESH: "fresh",
    Verdict.ATTESTED: "attested",
    Verdict.STALE: "stale",
    Verdict.FAILING: "failing",
    Verdict.MISSING: "missing",
}
MARKS = {"fresh": "✓", "attested": "✎", "stale": "◷", "failing": "✕", "missing": "○", "unbound": "?"}
MEANINGS = {
    "fresh": "every control is there, and its evidence is young and clean",
    "attested": "a person vouches for what no program can see, until a day",
    "stale": "the evidence is older than it may be",
    "failing": "the evidence says that it is not kept, or nothing could be told",
    "missing": "a control is not there, or has left no evidence",
}
_KINDS = {ControlKind.RULE: "Rule", ControlKind.DAG: "DAG", ControlKind.CHECK: "Check", ControlKind.ATTESTATION: "Attestation"}


def view(report: PromiseReport) -> dict[str, Any]:
    """Everything that is shown, in texts, in order. JSON knows all of it."""
    promises = [_promise(p, report) for p in _in_order(report)]
    by_id = {p["id"]: p for p in promises}
    needs = [(p, c) for p in promises for c in p["controls"] if c["broken"]]
    return {
        "title": "What was promised, and what keeps it",
        "eyebrow": "Promise report",
        "company": report.company,
        "authority": report.authority,
        "as_of": _short(report.at, report.time_zone),
        "zone": report.time_zone,
        "summary": _summary(report),
        "tone": "bad" if report.broken or report.published or report.ledger.problem else "good" if report.kept else "calm",
        "counts": [{"tone": tone, "mark": MARKS[tone], "n": n, "means": MEANINGS[tone]} for tone, n in report.counts.items()],
        "alarms": [a for a in (report.published, report.ledger.problem) if a],
        "facts": _facts(report),
        "needs": [{"promise": p["id"], **c} for p, c in needs],
        "blocks": list(_blocks(report, by_id)),
        "promises": promises,
        "unbuilt": [{"promise": p["id"], **c} for p in promises for c in p["controls"] if c["declared"]],
        "unbound": list(report.unbound),
        "refers_to": list(report.refers_to),
        "exempt": [{"text": piece.text.strip(), "why": piece.why} for s in report.sentences for piece in s.pieces if piece.why],
        "unpublished": [
            {
                "rule": u.rule,
                "period": words.period(Period(u.period)),
                "category": u.category.replace("-", " "),
                "promise": u.promise,
                "why": u.why,
                "waits": "; ".join(words.NEEDS.get(n, n.replace("_", " ")) for n in u.waits_for),
            }
            for u in report.unpublished
        ],
        "transfers": transfer_notes(report.transfers),
        "ledger": _ledger(report),
        "contradictions": list(report.ledger.contradictions),
    }


def _in_order(report: PromiseReport) -> Iterator[PromiseVerdict]:
    """The promises as the text makes them; then those whose quotes are not in it."""
    by_id = {p.id: p for p in report.promises}
    order = dict.fromkeys(i for s in report.sentences for i in s.promises)
    yield from (by_id[i] for i in order)
    yield from (p for p in report.promises if p.id not in order)


def _promise(promise: PromiseVerdict, report: PromiseReport) -> dict[str, Any]:
    own = dict.fromkeys(c.verdict for c in promise.controls)
    declared = promise.verdict is Verdict.MISSING and bool(promise.controls) and not any(c.broken for c in promise.controls)
    return {
        "id": promise.id,
        "tone": TONES[promise.verdict],
        "mark": MARKS[TONES[promise.verdict]],
        "note": ("in part " if len(own) > 1 else "") + "still to be built" if declared else "",
        "broken": promise.broken,
        "quotes": [{"text": q, "found": _is_found(q, report)} for q in promise.quotes],
        "means": promise.means.replace("`", ""),
        "proof": promise.proof.replace("`", ""),
        "controls": [_control(c, report.time_zone) for c in promise.controls],
        "notes": transfer_notes(report.transfers) if promise.id == report.transfers.promise else [],
    }


def transfer_notes(transfers: Transfers) -> list[str]:
    """Transfers that the policy does not name, each in a sentence; or why that could not be told."""
    if transfers.unknown:
        return [f"Whether data leaves the European Economic Area could not be told: {transfers.unknown}"]
    return [f"The register has a transfer that the text does not name: {transfer_words(t)}." for t in transfers.unnamed]


def _is_found(quote: str, report: PromiseReport) -> bool:
    return " ".join(quote.split()) in " ".join(s.text for s in report.sentences)


def _control(control: ControlVerdict, zone: str) -> dict[str, Any]:
    unbuilt = control.kind is ControlKind.UNBUILT
    evidence = control.evidence
    says = CHECKS[control.name].says if control.kind is ControlKind.CHECK and control.name in CHECKS else control.says
    return {
        "id": control.id,
        "kind": _KINDS.get(control.kind, ""),
        "name": control.name,
        "tone": TONES[control.verdict],
        "mark": MARKS[TONES[control.verdict]],
        "broken": control.broken,
        "declared": control.declared,
        "unbuilt": unbuilt,
        "says": says,
        "reason": "" if unbuilt else control.reason,
        "itself": TONES[control.by_itself] if control.by_itself is not control.verdict else "",
        "evidence": _evidence(control, zone),
        "digest": evidence.digest if evidence and evidence.digest else "",
        "due": _due(control, zone),
    }


def _evidence(control: ControlVerdict, zone: str) -> str:
    evidence = control.evidence
    if evidence is None:
        return ""
    if control.attested is not None:
        reference = f", reference {control.attested.reference}" if control.attested.reference else ""
        return f"record {evidence.seq}: {control.attested.by} vouches until {words.day(control.attested.until)}{reference}"
    if evidence.seq is None:
        return f"looked at on {_short(evidence.at, zone)}"
    written, about = _short(evidence.recorded_at, zone), _short(evidence.at, zone)
    return f"record {evidence.seq}, {evidence.kind}, {written}{f', about {about}' if about != written else ''}"


def _short(at: datetime, zone: str) -> str:
    return words.instant(at.replace(second=0, microsecond=0), zone)


def _due(control: ControlVerdict, zone: str) -> str:
    if control.attested is not None:
        return words.day(control.attested.until)
    if control.stale_at is not None:
        return _short(control.stale_at, zone)
    return "the next report" if control.evidence is not None else ""


def _summary(report: PromiseReport) -> str:
    total, broken = len(report.promises), len(report.broken)
    kept = report.counts["fresh"] + report.counts["attested"]
    built = sum(p.verdict is Verdict.MISSING and not p.broken for p in report.promises)
    parts = [f"{kept} of {total} promises are shown to be kept."]
    if broken:
        parts.append(f"{broken} {'has' if broken == 1 else 'have'} a control that does not hold now.")
    if built:
        parts.append(f"{built} {'waits' if built == 1 else 'wait'} for a control that is still to be built.")
    if report.unbound:
        parts.append(
            f"{len(report.unbound)} {'sentence of the text is' if len(report.unbound) == 1 else 'sentences of the text are'} bound to no promise."
        )
    return " ".join(parts)


def _facts(report: PromiseReport) -> list[tuple[str, str]]:
    return [
        ("As of", f"{_short(report.at, report.time_zone)} ({report.time_zone})"),
        ("Policy in force", f"version of {report.policy_version}"),
        ("Supervisory authority", report.authority),
        ("Evidence", _ledger(report)),
    ]


def _ledger(report: PromiseReport) -> str:
    ledger = report.ledger
    if ledger.problem:
        return ledger.problem
    return f"{words.number(ledger.records)} records, walked and sound; {words.number(ledger.witnessed_to)} confirmed by heads kept outside"


def _blocks(report: PromiseReport, by_id: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The text as it was published: headings, paragraphs and bullets, in sentences, in pieces, each with the tone of its promises."""
    for _, each in groupby(report.sentences, key=lambda s: s.block):
        mine = list(each)
        kind = "bullet" if mine[0].kind == "bullet" else "heading" if all(map(_is_heading, mine)) else "paragraph"
        yield {"kind": kind, "sentences": [list(_pieces(s, report, by_id)) for s in mine]}


def _is_heading(sentence: Sentence) -> bool:
    """Declared to promise nothing, and short: how it is set, and no more than that."""
    return all(p.why for p in sentence.pieces) and len(sentence.text) < 40


def _pieces(sentence: Sentence, report: PromiseReport, by_id: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each piece with the tone of its promises, and with the tags of those that quote nothing further on in the sentence."""
    for n, piece in enumerate(sentence.pieces):
        mine = [p for p in report.promises if p.id in piece.promises]
        later = {i for after in sentence.pieces[n + 1 :] for i in after.promises}
        tone = TONES[worst(p.verdict for p in mine)] if mine else "none" if piece.bound else "unbound"
        tags = [{name: by_id[p.id][name] for name in ("id", "tone", "mark", "broken")} for p in mine if p.id not in later]
        yield {"text": piece.text, "tone": tone, "mark": MARKS.get(tone, ""), "tags": tags}
