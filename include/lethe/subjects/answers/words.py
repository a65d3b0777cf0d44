"""What a person has to say in an answer, checked before anything is written: one model for each kind. Pure.

Reasons are choices. A link is a secret (whoever has it can read what lies behind it), so the text of no error repeats one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from lethe.connections import is_local
from lethe.control.answers import AnswerKind
from lethe.control.requests import IdentityLevel, Request, RequestKind, RequestState
from lethe.errors import RequestRefused
from lethe.frozen import Frozen


class LeftOut(StrEnum):
    """What a bundle does not hold, beside what others store about the person."""

    OTHER_PERSONS = "other_persons"
    SECRETS = "secrets"


def _link(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = text.isascii() and text.isprintable() and " " not in text and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or not (parts.scheme == "https" or (parts.scheme == "http" and is_local(parts.hostname or ""))):
        raise ValueError("not https")
    return text


class Part(Frozen):
    """A file of a bundle: where it is fetched, how many bytes it has, and its sha256 in hex."""

    link: Annotated[str, AfterValidator(_link)] = Field(repr=False, max_length=4000)
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Nothing(Frozen):
    """An answer that says what the request itself says."""


class ProofWanted(Frozen):
    """Why more is asked, and until when we wait."""

    reason: Literal["proof_missing", "proof_unreadable", "several_persons"]
    answer_by: date | None = None


class Refused(Frozen):
    """Why a request is refused."""

    reason: Literal["not_proven", "proof_differs", "no_answer", "no_mandate"]


class BundleReady(Frozen):
    """The files, and the instant from which their links no longer work."""

    parts: tuple[Part, ...] = Field(min_length=1, max_length=1000)
    works_until: AwareDatetime
    left_out: tuple[LeftOut, ...] = ()


class AttachedFile(Frozen):
    """A file beside an answer: its name, its bytes, and their sha256 in hex, so that the answer's own digest covers them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ListReady(Frozen):
    """As of which day the list of processors is, how many stand in it, and its files."""

    as_of: date
    processors: int = Field(ge=0)
    recipients: int = Field(ge=0)
    files: tuple[AttachedFile, ...] = Field(min_length=1, max_length=20)


Words = Nothing | ProofWanted | Refused | BundleReady | ListReady

_MODELS: Mapping[AnswerKind, type[Words]] = {
    AnswerKind.RECEIVED: Nothing,
    AnswerKind.PROOF_WANTED: ProofWanted,
    AnswerKind.REFUSED: Refused,
    AnswerKind.BUNDLE_READY: BundleReady,
    AnswerKind.NOTHING_HELD: Nothing,
    AnswerKind.FORWARDED: Nothing,
    AnswerKind.INSTRUCTION_READY: BundleReady,
    AnswerKind.PROCESSOR_LIST: ListReady,
}

_S = RequestState
_DECIDED = frozenset({_S.ACCEPTED, _S.LOCATED, _S.ANSWERED})
_TURNS: Mapping[AnswerKind, frozenset[RequestState]] = {
    AnswerKind.RECEIVED: frozenset(_S) - {_S.CLOSED},
    AnswerKind.PROOF_WANTED: frozenset({_S.MORE_ASKED}),
    AnswerKind.REFUSED: frozenset({_S.REFUSED}),
    AnswerKind.BUNDLE_READY: _DECIDED,
    AnswerKind.NOTHING_HELD: _DECIDED,
    AnswerKind.FORWARDED: _DECIDED,
    AnswerKind.INSTRUCTION_READY: _DECIDED,
    AnswerKind.PROCESSOR_LIST: _DECIDED,
}
"""In which states of a request each answer is true."""

_TELLING = frozenset({AnswerKind.BUNDLE_READY, AnswerKind.NOTHING_HELD, AnswerKind.FORWARDED, AnswerKind.INSTRUCTION_READY})
"""Those that tell somebody that data is there, or is not."""


def answer_kind(text: str) -> AnswerKind:
    """The kind of that name. Raises RequestRefused."""
    if text not in set(AnswerKind):
        raise RequestRefused("That is no kind of answer.", fix=f"Choose one of: {', '.join(AnswerKind)}.")
    return AnswerKind(text)


def check_turn(request: Request, kind: AnswerKind, *, at: datetime) -> None:
    """Raises RequestRefused when that answer would say what is not so: about whoever has proved nothing, or a decision nobody took."""
    if request.state not in _TURNS[kind]:
        where = ", ".join(sorted(_TURNS[kind]))
        raise RequestRefused(
            f"Request {request.id} is {request.state}: the answer {kind} belongs to one that is {where}.",
            fix=f"`lethe request show {request.id}` shows what was decided. Nothing was sent.",
        )
    if kind in _TELLING and request.identity is not IdentityLevel.VERIFIED:
        raise RequestRefused(
            f"Nobody has found who asks in request {request.id}: nothing is said about what is held.",
            fix="`lethe request decide` records who asks.",
        )
    instructed = request.kind is RequestKind.TENANT_INSTRUCTION
    if kind in _TELLING and (kind is AnswerKind.INSTRUCTION_READY) is not instructed:
        raise RequestRefused(f"A request of kind {request.kind} is not answered by {kind}.", fix="Choose the answer of its kind.")
    if kind is AnswerKind.PROCESSOR_LIST and request.kind is not RequestKind.PROCESSOR_LIST:
        raise RequestRefused(f"A request of kind {request.kind} is not answered by {kind}.", fix="Choose the answer of its kind.")
    if request.received_at > at:
        raise RequestRefused("A request cannot be answered before it came in.", fix="Pass the instant of the answer.")


def words_of(kind: AnswerKind, given: Mapping[str, Any], *, at: datetime) -> Words:
    """The words of an answer of that kind. Raises RequestRefused, which names what is wrong by its field alone."""
    try:
        words = _MODELS[kind].model_validate(dict(given))
    except ValidationError as error:
        known = [str(p) for e in error.errors() for p in e["loc"][:1] if p in _MODELS[kind].model_fields]
        wrong = ", ".join(sorted(set(known))) or "a word that this answer does not have"
        takes = ", ".join(_MODELS[kind].model_fields) or "none"
        raise RequestRefused(f"The words of the answer {kind} cannot be taken: {wrong}.", fix=f"It takes: {takes}.") from None
    if isinstance(words, BundleReady) and words.works_until <= at:
        raise RequestRefused("The links of this answer work no longer.", fix="Make new ones, then answer.")
    return words
