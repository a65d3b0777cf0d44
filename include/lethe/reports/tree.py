"""A tree drawn as SVG: who passes something on to whom. Own layout, no script, names wrap; for a wide page, or a phone's. Pure.

Wide: from left to right, a column for each depth. Narrow, or too deep for columns: one under the other, indented, so that it can be read
at the width of a phone. What is reached by two ways is drawn whole once, and dashed the other times. A picture is never higher than
`limit`: what is more goes on in the next one, under its own ancestors again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WIDE, NARROW = 760, 352
LIMIT = 980
"""Units of height of one picture: at `WIDE` units across, that is what a page of A4 takes."""

_MOST_COLUMNS, _GAP_X, _GAP_Y, _PAD = 4, 30, 9, 9
_NAME, _NOTE = 13.0, 11.0
_ANCHOR = 15.5  # where ways begin and end, from a box's top: half of the lowest box
_LINE = {_NAME: 17.0, _NOTE: 14.5}
_NARROW_LETTERS, _BROAD_LETTERS = frozenset("iljtfrI.,:;'’|!()[] -·"), frozenset("mwMW@%—&Œœ")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box: its name, words under it, its kind of colour (`tone`), and whom it leads to. `again`: it is drawn whole elsewhere."""

    name: str
    notes: tuple[str, ...] = ()
    tone: str = "calm"
    again: bool = False
    children: tuple[Node, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of text at its base line."""

    x: float
    y: float
    text: str
    strong: bool


@dataclass(frozen=True, kw_only=True)
class Box:
    """A node where it stands."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    again: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """All boxes, and the paths between them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]


def pictures(root: Node, *, width: Literal["wide", "narrow"], label: str, limit: float = LIMIT) -> tuple[str, ...]:
    """The tree as one or more texts of SVG. `label` is what is read aloud instead. The same tree gives the same texts."""
    template = _environment().get_template("tree.svg")
    return tuple(template.render(drawing=draw(part, width=width), label=label) for part in parts(root, width=width, limit=limit))


def parts(root: Node, *, width: Literal["wide", "narrow"], limit: float = LIMIT) -> tuple[Node, ...]:
    """The tree in pieces that are drawn no higher than `limit` each, where one box is not higher already; each begins at the root."""
    columns = _columns(root, width)
    return tuple(_split(root, 0, limit - 2, lambda node, depth: _place(node, depth, 0, columns, _Sink(), width)))


def draw(root: Node, *, width: Literal["wide", "narrow"]) -> Drawing:
    """The geometry of one picture."""
    sink = _Sink()
    height = _place(root, 0, 1, _columns(root, width), sink, width)
    return Drawing(width=WIDE if width == "wide" else NARROW, height=round(height + 1, 2), boxes=tuple(sink.boxes), paths=tuple(sink.paths))


def depth_of(node: Node) -> int:
    """How many boxes one behind the other."""
    return 1 + max((depth_of(c) for c in node.children), default=0)


@dataclass
class _Sink:
    boxes: list[Box] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where depths begin, and how broad a box is: `step` to the right for each; `side`: children stand beside their parent."""

    step: float
    side: bool
    total: float

    def width(self, depth: int) -> float:
        return self.step - _GAP_X if self.side else self.total - 2 - depth * self.step


def _columns(root: Node, width: str) -> _Columns:
    depth = depth_of(root)
    if width == "wide" and depth <= _MOST_COLUMNS:
        return _Columns(step=(WIDE - 2 + _GAP_X) / max(depth, 3), side=True, total=WIDE)
    total = WIDE if width == "wide" else NARROW
    return _Columns(step=min(22.0, (total - 170) / max(depth - 1, 1)), side=False, total=total)


def _place(node: Node, depth: int, top: float, columns: _Columns, sink: _Sink, width: str) -> float:
    """Draws a node and what is under it from `top` on; where it ends."""
    x, broad = 1 + depth * columns.step, columns.width(depth)
    box = _box(node, x, top, broad)
    sink.boxes.append(box)
    below = top if columns.side else top + box.height + _GAP_Y
    for child in node.children:
        at = len(sink.boxes)
        end = _place(child, depth + 1, below, columns, sink, width)
        sink.paths.append(_path(box, sink.boxes[at], columns))
        below = end + _GAP_Y
    return max(top + box.height, below - _GAP_Y if node.children else 0)


def _path(parent: Box, child: Box, columns: _Columns) -> str:
    """From a parent to a child: out of its side and round a corner, or down along its left edge."""
    y, r = round(child.y + _ANCHOR, 2), 6.0
    if columns.side:
        from_y, x, bend = round(parent.y + _ANCHOR, 2), round(parent.x + parent.width, 2), round(child.x - _GAP_X / 2, 2)
        if abs(y - from_y) < 1:
            return f"M{x} {from_y}H{round(child.x, 2)}"
        return f"M{x} {from_y}H{round(bend - r, 2)}q{r} 0 {r} {r}V{round(y - r, 2)}q0 {r} {r} {r}H{round(child.x, 2)}"
    down = round(parent.x + columns.step / 2, 2)
    r = min(r, columns.step / 2)
    return f"M{down} {round(parent.y + parent.height, 2)}V{round(y - r, 2)}q0 {r} {r} {r}H{round(child.x, 2)}"


def _box(node: Node, x: float, y: float, width: float) -> Box:
    at, lines = y + _PAD - 5, []
    for text, size in ((node.name, _NAME), *((n, _NOTE) for n in node.notes)):
        for piece in wrapped(text, width - 2 * _PAD, size):
            at += _LINE[size]
            lines.append(Line(x=round(x + _PAD, 2), y=round(at, 2), text=piece, strong=size == _NAME))
    return Box(
        x=round(x, 2),
        y=round(y, 2),
        width=round(width, 2),
        height=round(at + _PAD + 1 - y, 2),
        tone=node.tone,
        again=node.again,
        lines=tuple(lines),
    )


def _split(node: Node, depth: int, limit: float, height: Callable[[Node, int], float]) -> Iterator[Node]:
    if not node.children or height(node, depth) <= limit:
        yield node
        return
    own = height(replace(node, children=()), depth)
    taken: list[Node] = []
    for child in node.children:
        for piece in _split(child, depth + 1, max(limit - own - _GAP_Y, 1), height):
            if taken and height(replace(node, children=(*taken, piece)), depth) > limit:
                yield replace(node, children=tuple(taken))
                taken = []
            taken.append(piece)
    yield replace(node, children=tuple(taken))


@lru_cache(maxsize=8192)
def wrapped(text: str, width: float, size: float) -> tuple[str, ...]:
    """The lines of `text` in that width: broken between words, and inside of one that is broader than a line."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if _broad(f"{line} {word}".strip(), size) <= width:
            line = f"{line} {word}".strip()
            continue
        if line:
            lines.append(line)
        while _broad(word, size) > width and len(word) > 1:
            fits = next((n for n in range(len(word) - 1, 0, -1) if _broad(word[:n], size) <= width), 1)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return (*lines, line) if line else tuple(lines)


def _broad(text: str, size: float) -> float:
    """How broad a text is at most, in the broadest of the fonts that a reader may have."""
    return sum(map(_letter, text)) * size * (1.16 if size == _NAME else 1)


def _letter(letter: str) -> float:
    """In parts of the size of the text."""
    if letter in _NARROW_LETTERS:
        return 0.34
    if letter in _BROAD_LETTERS:
        return 0.92
    if ord(letter) > 0x2E7F:
        return 1.0
    return 0.7 if letter.isupper() else 0.58


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
