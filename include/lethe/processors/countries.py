"""Countries: their codes (ISO 3166-1 alpha-2, as in tzdata), their names in French and English (CLDR, by babel), and which are in the EEA. Pure."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Any

from babel import Locale
from pydantic import AfterValidator, BeforeValidator, StringConstraints

# The European Union and Iceland, Liechtenstein, Norway: personal data may go there as it may stay (GDPR Chapter V, EEA Agreement Annex XI).
# fmt: off
EEA = frozenset((
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
    "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
))
# fmt: on


@cache
def codes() -> frozenset[str]:
    """Every code that ISO has given to a country."""
    lines = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8").splitlines()
    return frozenset(line.split("\t")[0] for line in lines if line and not line.startswith("#"))


def country_name(code: str, language: str) -> str:
    """The country's name in `fr` or `en`; KeyError for a code that is none."""
    return str(_names(language)[code])


def in_eea(code: str) -> bool:
    """Does data that goes there stay in the European Economic Area?"""
    return code in EEA


@cache
def _names(language: str) -> dict[str, str]:
    return dict(Locale(language).territories)


def _no_truth(value: Any) -> Any:
    if value is False:
        raise ValueError('YAML reads an unquoted NO as false: write "NO", in quotes, for Norway')
    return value


def _known(code: str) -> str:
    if code not in codes():
        raise ValueError("it is no country: write its code of two capital letters (ISO 3166-1), such as FR")
    return code


Country = Annotated[str, BeforeValidator(_no_truth), StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_known)]
"""A country's code, checked against the list of ISO 3166-1."""
