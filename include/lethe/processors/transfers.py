"""Transfers out of the EEA that the register has and the policy does not name (GDPR Articles 13(1)(f) and 14(1)(f)). Pure.

They are no fault of the register, which says where data goes, and none of its grounds: the policy's `transfers` is what is behind. So they are
a warning of `lethe check`, and listed in the promise report as periods are that the text does not name.
"""

from __future__ import annotations

from collections.abc import Iterable

from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.countries import Country, country_name
from lethe.processors.model import InForce, TransferTool


class UnnamedTransfer(Frozen):
    """Data of the entry with that id goes to a country that is neither in the EEA nor covered by an adequacy decision, and the policy names none there."""

    entry: Id
    country: Country
    tool: TransferTool


def unnamed_transfers(entries: Iterable[InForce], named: Iterable[str]) -> tuple[UnnamedTransfer, ...]:
    """The transfers of the entries in force on a day (`as_of`) that no text of `named`, the policy's `transfers`, begins with the country of."""
    said = {text.partition(":")[0].strip().casefold() for text in named}
    return tuple(
        UnnamedTransfer(entry=e.id, country=x.country, tool=x.tool)
        for e in entries
        for x in e.version.locations
        if not x.in_eea and x.tool is not TransferTool.ADEQUACY and said.isdisjoint(_names(x.country))
    )


def _names(country: str) -> set[str]:
    """How a policy may write a country: its code, or its name in French or in English."""
    return {country.casefold(), country_name(country, "fr").casefold(), country_name(country, "en").casefold()}
