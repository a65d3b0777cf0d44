"""What the commands of `lethe request` take from a file or a pipe, and that they take no more than they say."""

from __future__ import annotations

import sys

import typer

LARGEST = 64 * 1024
"""Bytes of a file of identifiers, or of words of an answer."""

QUIET = {"allow_extra_args": True, "ignore_unknown_options": True}
"""What stands where no argument belongs is refused by `refuse_extra`, and not by the parser, which would repeat it."""


def read_small(file: str) -> bytes:
    """The bytes of a file, or of what is piped in. Raises RequestRefused when it cannot be read, or is large."""
    from lethe.errors import RequestRefused

    try:
        if file == "-":
            body = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(file, "rb") as opened:
                body = opened.read(LARGEST + 1)
    except (OSError, ValueError):
        raise RequestRefused("The file cannot be read.", fix="Give a file, or - and pipe it in.") from None
    if len(body) > LARGEST:
        raise RequestRefused(f"The file has more than {LARGEST} bytes.", fix="Give addresses and accounts, or words of an answer, only.")
    return body


def refuse_extra(context: typer.Context) -> None:
    """Raises RequestRefused, without the text, when there is more on the line than a command takes."""
    from lethe.errors import RequestRefused

    if context.args:
        raise RequestRefused("There is more on the line than this command takes.", fix="Identifiers go into a file; --help lists the rest.")
