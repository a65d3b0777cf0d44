"""Does every refusal and every partial answer name the authority and the court? They are rendered to see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.control.answers import AnswerKind
from lethe.control.requests import IdentityLevel, Language, Request, RequestChannel, RequestKind, RequestState
from lethe.instants import local_day
from lethe.subjects.answers.render import render
from lethe.subjects.answers.words import LeftOut, words_of
from lethe.subjects.requests import REASONS

_COURT = {Language.FR: ("article 77", "article 79", "tribunal"), Language.EN: ("Article 77", "Article 79", "court")}
_CONTACT = "contact@example.invalid"


def name_the_authority(look: Look) -> Seen:
    """Every reason of a refusal, an answer that leaves something out, and the answer that nothing is held, in each language."""
    lacking = []
    request = _request(look.at, look.policy.time_zone)
    for kind, given in _answers(look.at):
        for language in Language:
            text = render(kind, request, words_of(kind, given, at=look.at), policy=look.policy, contact=_CONTACT, language=language).text
            wanted = [look.policy.authority, look.policy.authority_address, look.policy.authority_page, *_COURT[language]]
            if any(w not in text for w in wanted if w):
                lacking.append(f"{kind.value} ({language.value})")
    return look.now(*(f"The answer {name} does not name the authority and the court." for name in dict.fromkeys(lacking)))


def _answers(at: datetime) -> Iterator[tuple[AnswerKind, dict[str, Any]]]:
    for reason in sorted(REASONS["refuse"][1]):
        yield AnswerKind.REFUSED, {"reason": reason}
    part = {"link": "https://example.invalid/part", "size": 1, "sha256": "0" * 64}
    yield AnswerKind.BUNDLE_READY, {"parts": [part], "works_until": at + timedelta(days=1), "left_out": list(LeftOut)}
    yield AnswerKind.NOTHING_HELD, {}


def _request(at: datetime, zone: str) -> Request:
    """A request of nobody."""
    day = local_day(at, zone)
    return Request(
        id="R-0000-00000000",
        kind=RequestKind.ACCESS,
        channel=RequestChannel.EMAIL,
        language=Language.FR,
        received_at=at,
        identity=IdentityLevel.VERIFIED,
        state=RequestState.LOCATED,
        reply_due_on=day,
        legal_due_on=day,
        extended_to=None,
        tenant=None,
        closed_at=None,
        keys_destroyed_at=None,
    )
