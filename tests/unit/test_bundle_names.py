"""File names that no system trips over, and that a person still knows."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.bundling import file, one, paths, row, section
from lethe.subjects.bundle.names import LONGEST, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Été à la mer.JPG", "Été_à_la_mer.JPG"),
        ("e\u0301te\u0301.pdf", "été.pdf"),
        ("履歴書.docx", "履歴書.docx"),
        ("हिन्दी.txt", "हिन्दी.txt"),
        ("../../x", "x"),
        ("..\\..\\x", "x"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\a.txt", "a.txt"),
        ("folder/", "folder"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("/", "file"),
        ("...", "file"),
        ("-__-", "file"),
        ("a..b", "a.b"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("name. ", "name._"),
        ("name..", "name"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Com1.tar.gz", "_Com1.tar.gz"),
        ("console.txt", "console.txt"),
        ("COM\u00b9", "COM_"),
        ("a\x00b\nc\r\td.txt", "a_b_c_d.txt"),
        ("=cmd|' /C calc'!A0.csv", "C_calc_A0.csv"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("a\u200b\u2066b", "a_b"),
        ("\u3164", "file"),
        ("a\ufe0fb", "ab"),
        ("🎉", "file"),
        ("a%0Ab.txt", "a_0Ab.txt"),
        ("\ud800a", "_a"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_long_name_keeps_its_ending_and_no_character_is_cut() -> None:
    assert safe_name("a" * 300 + ".pdf") == "a" * 95 + ".pdf"
    assert safe_name("é" * 300 + ".pdf") == "é" * 47 + ".pdf"
    assert safe_name("a." + "b" * 300) == "a." + "b" * 97
    assert safe_name("con." + "b" * 300) == "_con." + "b" * 95


@given(st.text(max_size=200))
def test_no_name_is_unsafe(name: str) -> None:
    made = safe_name(name)
    assert 0 < len(made.encode()) <= LONGEST and ".." not in made and made[0] not in ".-" and made[-1] != "."
    assert not set(made) & set('/\\:*?"<>|% ') and not any(unicodedata.category(c).startswith(("C", "Z")) for c in made)
    assert safe_name(made) == made or made.startswith("_")


def test_two_files_of_one_name_lie_side_by_side() -> None:
    archive = one((section(), [row(id=n, file=file(name, key=str(n))) for n, name in enumerate(["a.txt", "A.txt", "a.txt"])]))
    assert {"data/files/notes/1-a.txt", "data/files/notes/2-A.txt", "data/files/notes/3-a.txt"} <= paths(archive)
