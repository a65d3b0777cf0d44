"""Safe names for files that people named: readable where they can be, harmless on every system. The original is kept beside them. Pure."""

from __future__ import annotations

import unicodedata

LONGEST = 100
"""Bytes of UTF-8."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
_KEPT = {"L", "M", "N"}  # letters, marks, numbers


def safe_name(name: str) -> str:
    """Letters and digits of any script, `.`, `-` and `_` stay, everything else is `_`; never a path, a hidden file, or a name that Windows keeps
    for itself. At most LONGEST bytes, its ending kept."""
    text = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    kept = "".join(c if unicodedata.category(c)[0] in _KEPT or c in ".-_" else "_" for c in text)
    kept = kept.strip("._ ") or "file"
    stem, dot, ending = kept.rpartition(".")
    if not dot or len(ending.encode()) > 16:
        stem, dot, ending = kept, "", ""
    room = LONGEST - len(dot) - len(ending.encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip("._ ") or "file"
    if stem.split(".")[0].casefold() in _RESERVED:
        stem = f"_{stem}"[:room]
    return f"{stem}{dot}{ending}"
