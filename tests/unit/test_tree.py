"""A tree drawn as SVG: nobody is left out, nothing runs out of its box or over its neighbour, at both widths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.reports.tree import NARROW, WIDE, Node, depth_of, draw, parts, pictures, wrapped

NAMES = st.text(alphabet="abcdefgh WMé&<", min_size=1, max_size=60).filter(str.strip)
TREES = st.recursive(
    st.builds(Node, name=NAMES, notes=st.lists(NAMES, max_size=2).map(tuple)),
    lambda inner: st.builds(Node, name=NAMES, children=st.lists(inner, max_size=4).map(tuple)),
    max_leaves=25,
)
CHAIN = Node(
    name="SPOTRAK LLC",
    tone="root",
    children=(
        Node(
            name="Rivage", notes=("hosting · France",), tone="hosting", children=(Node(name="Vallon", children=(Node(name="Lagerhof"),)),)
        ),
        Node(name="Colombe & <Mail>", children=(Node(name="Pigeonhole"), Node(name="Vallon", again=True))),
    ),
)


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


@pytest.mark.parametrize("width", ["wide", "narrow"])
@given(TREES)
def test_every_box_is_drawn_inside_the_picture_and_over_no_other(width, tree):
    drawing = draw(tree, width=width)
    assert drawing.width == (WIDE if width == "wide" else NARROW)
    assert len(drawing.boxes) == sum(1 for _ in nodes(tree)) == len(drawing.paths) + 1
    for box in drawing.boxes:
        assert box.x >= 0 and box.x + box.width <= drawing.width and box.y >= 0 and box.y + box.height <= drawing.height
        assert all(box.x < line.x and box.y < line.y < box.y + box.height for line in box.lines)
    for n, a in enumerate(drawing.boxes):
        for b in drawing.boxes[n + 1 :]:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart, (a, b)


@given(NAMES, st.integers(40, 300))
def test_a_name_wraps_without_losing_a_letter(name, width):
    lines = wrapped(name, width, 13.0)
    assert "".join(lines).replace(" ", "") == "".join(name.split())


@given(TREES)
def test_a_picture_that_would_be_too_high_goes_on_in_the_next_under_its_ancestors(tree):
    limit = 260
    found = parts(tree, width="narrow", limit=limit)
    leaves = [n.name for n in nodes(tree) if not n.children]
    assert Counter(n.name for part in found for n in nodes(part) if not n.children) == Counter(leaves), "each once"
    assert all(part.name == tree.name for part in found), "each begins at the root"
    if len(set(leaves)) == len(leaves):  # else two pieces may look alike
        assert all(a != b for a, b in pairwise(found))
    for part in found:
        spine = part
        while len(spine.children) == 1:
            spine = spine.children[0]
        assert draw(part, width="narrow").height <= limit or not spine.children, "only one way that is too long by itself"


def test_a_tree_too_deep_for_columns_is_drawn_indented_and_nothing_gets_too_small_to_read():
    deep = Node(name="end")
    for n in range(30):
        deep = Node(name=f"Company number {n} of a long chain", children=(deep,))
    assert depth_of(deep) == 31
    for width in ("wide", "narrow"):
        assert min(box.width for box in draw(deep, width=width).boxes) >= 150


def test_a_picture_is_xml_that_says_what_it_is_and_escapes_names():
    (picture,) = pictures(CHAIN, width="wide", label='The chain "of" sub-processors')
    root = ElementTree.fromstring(picture)
    assert root.get("aria-label") == 'The chain "of" sub-processors' and root.get("role") == "img"
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Colombe & <Mail>" in texts and "hosting · France" in texts
    assert picture.count("stroke-dasharray") == 1, "drawn whole elsewhere"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", picture) and "<script" not in picture
    assert pictures(CHAIN, width="wide", label="x") == pictures(CHAIN, width="wide", label="x")
