"""The published text, sentence by sentence, and which promises quote each. Pure.

Blocks are what blank lines set apart; a line that begins with a bullet is a block of its own. A block is cut after a full stop, question or
exclamation mark that a space and a capital letter or a digit follow. Every word of the text lands in exactly one sentence: nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from lethe.frozen import Frozen
from lethe.policy.model import PolicyVersion

BULLETS = "•‣◦-*"
_END = re.compile(r"[.!?][\"')»”]*\s+(?=[\"'(«“]?[A-ZÀ-ÝŒ0-9])")
_WORD = re.compile(r"\w")


class Piece(Frozen, str_strip_whitespace=False):
    """Words of a sentence that the same promises quote; none: no promise does. `why`: they are declared to promise nothing."""

    text: str
    promises: tuple[str, ...] = ()
    why: str = ""

    @property
    def bound(self) -> bool:
        """Is it quoted, declared to promise nothing, or no word at all?"""
        return bool(self.promises or self.why or not _WORD.search(self.text))


class Sentence(Frozen):
    """One sentence, in pieces. `block` counts from 1; `kind` is how it stands there: a bullet, or a paragraph (headings are one too)."""

    block: int
    kind: Literal["paragraph", "bullet"]
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(p.text for p in self.pieces)

    @property
    def promises(self) -> tuple[str, ...]:
        """The promises that quote any of it."""
        return tuple(dict.fromkeys(i for p in self.pieces for i in p.promises))

    @property
    def unbound(self) -> tuple[str, ...]:
        """The words of it that no promise quotes and nobody declared to promise nothing."""
        return tuple(p.text.strip() for p in self.pieces if not p.bound)


def words(text: str) -> str:
    """The text with every run of white space as one space: how quotes are compared."""
    return " ".join(text.split())


def sentences(version: PolicyVersion, text: str) -> tuple[Sentence, ...]:
    """Every sentence of the text, with who quotes what of it. A quote may span several sentences, and stand in several places."""
    blocks = list(_blocks(text))
    whole = " ".join(body for _, body in blocks)
    quoted = [(p.id, words(q)) for p in version.promises for q in p.quotes]
    exempt = [(n.why, words(n.text)) for n in version.no_promise]
    owners: list[tuple[str, ...]] = [()] * len(whole)
    reasons: list[str] = [""] * len(whole)
    for promise, quote in quoted:
        for start in _places(whole, quote):
            for at in range(start, start + len(quote)):
                if promise not in owners[at]:
                    owners[at] = (*owners[at], promise)
    for begin, body in _starts(blocks):
        for why, said in exempt:
            for start, end in _sentence_spans(body):
                if body[start:end] == said or body == said:
                    reasons[begin + start : begin + end] = [why] * (end - start)
    found = []
    for number, ((kind, body), (begin, _)) in enumerate(zip(blocks, _starts(blocks), strict=True), start=1):
        for start, end in _sentence_spans(body):
            pieces = tuple(_pieces(body[start:end], owners[begin + start : begin + end], reasons[begin + start : begin + end]))
            found.append(Sentence(block=number, kind=kind, pieces=pieces))
    return tuple(found)


def unbound(found: Sequence[Sentence]) -> tuple[str, ...]:
    """What no promise quotes, in the order of the text."""
    return tuple(text for sentence in found for text in sentence.unbound)


def _blocks(text: str) -> Iterator[tuple[Literal["paragraph", "bullet"], str]]:
    lines: list[str] = []
    bullet = False
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        begins = stripped[:1] in BULLETS and stripped[1:2].isspace()
        if lines and (not stripped or begins):
            yield ("bullet" if bullet else "paragraph"), words(" ".join(lines))
            lines, bullet = [], False
        if stripped:
            bullet = bullet or begins
            lines.append(stripped[1:] if begins else stripped)


def _starts(blocks: Sequence[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    at = 0
    for _, body in blocks:
        yield at, body
        at += len(body) + 1


def _sentence_spans(body: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _END.finditer(body):
        yield start, len(body[: match.end()].rstrip())
        start = match.end()
    yield start, len(body)


def _places(whole: str, quote: str) -> Iterator[int]:
    at = whole.find(quote) if quote else -1
    while at >= 0:
        yield at
        at = whole.find(quote, at + 1)


def _pieces(text: str, owners: Sequence[tuple[str, ...]], reasons: Sequence[str]) -> Iterator[Piece]:
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or (owners[at], reasons[at]) != (owners[start], reasons[start]):
            yield Piece(text=text[start:at], promises=owners[start], why=reasons[start])
            start = at
