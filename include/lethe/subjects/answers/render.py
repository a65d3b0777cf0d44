"""An answer as text, from its template in the language of the request. Pure: the same words give the same text, byte for byte.

A template is `templates/<kind>.<fr|en>.txt`: its first line is the subject, the rest, after an empty line, the text. Neither ever has a
name, an address or anything else of the person; the subject has the id of the request.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lethe.control.answers import AnswerKind
from lethe.control.requests import Language, Request
from lethe.instants import local_day
from lethe.policy.model import PolicyVersion
from lethe.subjects.answers.dates import written_day, written_instant, written_size
from lethe.subjects.answers.words import Words

_TEMPLATES = Path(__file__).parent / "templates"
_BEFORE_HIGH_PUNCTUATION = re.compile(r" (?=[:;?!»])|(?<=«) ")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A rendered answer. `text` may have links that are secrets, so repr() leaves it out."""

    subject: str
    text: str = field(repr=False)
    language: Language

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def render(kind: AnswerKind, request: Request, words: Words, *, policy: PolicyVersion, contact: str, language: Language) -> Letter:
    """The answer of that kind to that request. `contact` is where people write; `policy` names the company and the authority."""
    text = (
        _environment()
        .get_template(f"{kind.value}.{language.value}.txt")
        .render(
            request=request,
            words=words,
            company=policy.company,
            contact=contact,
            authority=policy.authority,
            authority_address=policy.authority_address,
            authority_page=policy.authority_page,
            received_on=local_day(request.received_at, policy.time_zone),
            legal_due_on=request.extended_to or request.legal_due_on,
            day=partial(written_day, language=language.value),
            instant=partial(written_instant, language=language.value, zone=policy.time_zone),
            size=partial(written_size, language=language.value),
        )
    )
    if language is Language.FR:
        text = _BEFORE_HIGH_PUNCTUATION.sub("\u00a0", text)
    subject, _, body = text.partition("\n")
    return Letter(subject=subject.strip(), text=body.strip() + "\n", language=language)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=lambda name: not (name or "").endswith(".txt"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
