"""By what a person is known: an e-mail address, or the key of an account. Pure.

Two addresses are one when they differ by Unicode normalisation (NFC), by spaces around them, or by case: of the domain always, of the local
part where the setting says so. Accents, dots and what follows a plus make another address. A domain is compared in its ASCII form (IDNA
2008, `xn--`), because two Unicode texts may be one registered name and the ASCII form is the name itself.

Every refusal is an IdentifierRefused whose text has nothing of what was typed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import idna

from lethe.errors import IdentifierRefused

LONGEST, LONGEST_LOCAL, MOST = 254, 64, 20
"""Characters of an address and of its local part (RFC 5321), and identifiers of one request."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
_LOOKALIKES = "\ufe6b\uff20"
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class IdentifierKind(StrEnum):
    """An e-mail address, or an account as DATASET:KEY."""

    EMAIL = "email"
    ACCOUNT = "account"


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """One identifier: `value` as it was given, to answer to, and `normal`, to compare by. Neither is printed by repr()."""

    kind: IdentifierKind
    value: str = field(repr=False)
    normal: str = field(repr=False)


def identifier(kind: str, text: str, *, datasets: Collection[str] = (), fold_local: bool = True) -> Identifier:
    """The identifier of that kind. `datasets` are those whose keys name persons; `fold_local`: case of a local part does not matter."""
    if kind == IdentifierKind.EMAIL:
        value = _shown(text, "An e-mail address")
        return Identifier(kind=IdentifierKind.EMAIL, value=value, normal=_address(value, fold_local))
    if kind == IdentifierKind.ACCOUNT:
        value = _shown(text, "An account")
        dataset, _, key = value.partition(":")
        if dataset not in datasets or not _KEY.fullmatch(key):
            known = f"Datasets that can be named so: {', '.join(sorted(datasets)) or 'none'}."
            raise IdentifierRefused("An account is DATASET:KEY, of a dataset of persons.", fix=known)
        return Identifier(kind=IdentifierKind.ACCOUNT, value=value, normal=value)
    raise IdentifierRefused("That is no kind of identifier.", fix=f"Choose one of: {', '.join(IdentifierKind)}.")


def normal_address(text: str | None, *, fold_local: bool = True) -> str | None:
    """The normal form of an address as some store has it; None for what is none."""
    if text is None:
        return None
    try:
        return identifier(IdentifierKind.EMAIL, text, fold_local=fold_local).normal
    except IdentifierRefused:
        return None


def is_address_of(normals: Collection[str], text: object, *, fold_local: bool = True) -> bool:
    """Is this text one of these addresses (normal forms), however it is written? `fold_local`: see `identifier`."""
    return isinstance(text, str) and normal_address(text, fold_local=fold_local) in normals


def stored_forms(normal: str) -> tuple[str, ...]:
    """What an address may look like in a store once it is trimmed and in lower case: its domain in ASCII, or as people write it."""
    return tuple(dict.fromkeys(f"{local.lower()}@{domain}" for local, domain in _written(normal)))


def exact_forms(normal: str) -> tuple[str, ...]:
    """The same where the case of its local part matters: once it is trimmed and its domain is in lower case."""
    return tuple(dict.fromkeys(f"{local}@{domain}" for local, domain in _written(normal)))


def _written(normal: str) -> Iterable[tuple[str, str]]:
    local, _, domain = normal.rpartition("@")
    try:
        written = idna.decode(domain)
    except idna.IDNAError:
        written = domain
    return ((local, domain), (local, written))


def read_identifiers(body: bytes, *, datasets: Collection[str] = (), fold_local: bool = True) -> tuple[Identifier, ...]:
    """The identifiers of a file: JSON, `{"email": "..." or a list, "account": ...}`, or lines `kind=value`. One given twice counts once."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IdentifierRefused("The identifiers are not UTF-8.", fix="Save the file as UTF-8.") from None
    pairs = _from_json(text) if text.lstrip().startswith("{") else _from_lines(text)
    found = {(i.kind, i.normal): i for i in (identifier(kind, value, datasets=datasets, fold_local=fold_local) for kind, value in pairs)}
    if len(found) > MOST:
        raise IdentifierRefused(f"More than {MOST} identifiers are not one person.", fix="Open a request for each person.")
    return tuple(found.values())


def _shown(text: str, what: str) -> str:
    if any(unicodedata.category(c) in _UNSEEN for c in text):
        raise IdentifierRefused(f"{what} holds a line break, or a character that is not seen.", fix="Type it again, on one line.")
    value = unicodedata.normalize("NFC", text).strip()
    if not value:
        raise IdentifierRefused(f"{what} is empty.", fix="Give it, or leave its line out.")
    if len(value) > LONGEST:
        raise IdentifierRefused(f"{what} is longer than {LONGEST} characters.", fix="Give it alone, without a name or a text around it.")
    return value


def _address(value: str, fold_local: bool) -> str:
    fix = "Write it as name@example.org, alone."
    if value.count("@") != 1 or any(c in value for c in _LOOKALIKES):
        raise IdentifierRefused("An e-mail address has exactly one @.", fix=fix)
    local, domain = value.split("@")
    if not local or any(c.isspace() for c in value):
        raise IdentifierRefused("An e-mail address has a part before the @, and no spaces.", fix=fix)
    if len(local) > LONGEST_LOCAL:
        raise IdentifierRefused(f"The part before the @ is longer than {LONGEST_LOCAL} characters.", fix=fix)
    # lower() and not casefold(), which would make one address of two: ß is not ss.
    local = unicodedata.normalize("NFC", local.lower()) if fold_local else local
    return f"{local}@{_domain(domain)}"


def _domain(text: str) -> str:
    try:
        domain = idna.encode(text, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        domain = ""
    if "." not in domain.strip(".") or domain.endswith("."):
        raise IdentifierRefused("What follows the @ is no domain.", fix="Write it as example.org.")
    return domain


def _from_json(text: str) -> list[tuple[str, str]]:
    fix = 'Write it as {"email": "name@example.org", "account": ["users:123"]}.'
    try:
        given = json.loads(text, object_pairs_hook=list)  # pairs, so that a key given twice is not dropped
    except (ValueError, RecursionError):
        raise IdentifierRefused("The identifiers are not JSON.", fix=fix) from None
    pairs = [(kind, value) for kind, one in given for value in (one if isinstance(one, list) else [one])]
    if not all(isinstance(value, str) for _, value in pairs):
        raise IdentifierRefused("An identifier is a text.", fix=fix)
    return pairs


def _from_lines(text: str) -> Iterable[tuple[str, str]]:
    for line in text.split("\n"):
        if not (line := line.removesuffix("\r")).strip():
            continue
        kind, sign, value = line.partition("=")
        if not sign:
            raise IdentifierRefused("A line is not kind=value.", fix="Write each on a line of its own: email=name@example.org.")
        yield kind.strip(), value
