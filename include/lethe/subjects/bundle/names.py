"""Names of files that are safe on every system, whatever the file was called; the name it had stands in the bundle beside it. Pure."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 100
"""Bytes of UTF-8 of a safe name."""

_LONGEST_ENDING = 20
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
# Letters and marks that are not seen (Unicode: Default_Ignorable_Code_Point).
_NOT_SEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def safe_name(name: str) -> str:
    """The last part of `name` with letters and digits of any script, `.`, `-` and `_`; all else is `_`.

    At most LONGEST bytes of UTF-8, the ending kept; no leading or doubled dot, no device of Windows; `file` when nothing is left.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name).rstrip("/\\"))[-1]
    kept = "".join(c if _keeps(c) else "_" for c in _NOT_SEEN.sub("", last))
    kept = re.sub(r"_{2,}", "_", re.sub(r"\.{2,}", ".", kept)).lstrip(".-").rstrip(".")
    kept = _cut(kept)
    if _DEVICES.match(kept):
        kept = f"_{kept}"
    return kept if any(c.isalnum() for c in kept) else "file"


def _keeps(char: str) -> bool:
    return char in ".-_" or unicodedata.category(char) in {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Mn", "Mc"}


def _cut(name: str) -> str:
    """`name` in at most LONGEST - 1 bytes: there is room for the `_` before a device."""
    if len(name.encode()) < LONGEST:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > _LONGEST_ENDING:
        stem, dot, ending = name, "", ""
    room = LONGEST - 1 - len(f"{dot}{ending}".encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(".") + dot + ending
