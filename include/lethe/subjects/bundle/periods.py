"""For how long data is kept, as sentences: a policy's rules of a category in French and in English (GDPR Article 15(1)(d)). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lethe.catalog.disclosure import Disclosure
from lethe.policy.model import Archive, Bilingual, PolicyVersion, Rule
from lethe.policy.period import Period

_UNITS = {"fr": (("an", "ans"), ("mois", "mois"), ("jour", "jours")), "en": (("year", "years"), ("month", "months"), ("day", "days"))}
_NBSP = "\N{NO-BREAK SPACE}"
_BEFORE_HIGH_PUNCTUATION = re.compile(r" (?=[:;?»]|!(?!=))|(?<=«) ")
_GROUNDS = {
    "fr": {"obligation": "obligation légale", "claims": "preuve en cas de litige"},
    "en": {"obligation": "a legal duty", "claims": "proof in case of a dispute"},
}


def typeset(text: str, language: str) -> str:
    """Words of ours with the spaces that French keeps before `:`, `;`, `?`, `!`; never a value of somebody's data."""
    return _BEFORE_HIGH_PUNCTUATION.sub(_NBSP, text) if language == "fr" else text


def written_period(period: Period, language: str) -> str:
    """P12M as `12 mois`, `12 months`; P5Y as `5 ans`, `5 years`."""
    years, months = divmod(period.months, 12)
    if years and "Y" not in period.text:
        years, months = 0, period.months
    parts = [
        f"{n}{_NBSP}{one if n == 1 else more}" for n, (one, more) in zip((years, months, period.days), _UNITS[language], strict=True) if n
    ]
    return (" et " if language == "fr" else " and ").join(parts) or f"0{_NBSP}{_UNITS[language][2][1]}"


def retention(policy: PolicyVersion, category: str, disclosure: Disclosure, language: str) -> tuple[str, ...]:
    """A sentence for each rule of the category, and one that says the first counts where several do. Empty: the policy has no rule."""
    rules = [r for r in policy.rules if r.category == category]
    said = [_sentence(rule, disclosure, language) for rule in rules]
    if any(n > 1 for n in Counter(r.subset for r in rules).values()):
        said.append(
            "La première de ces échéances qui arrive s’applique." if language == "fr" else "Whichever of these comes first applies."
        )
    return tuple(said)


def _sentence(rule: Rule, disclosure: Disclosure, language: str) -> str:
    clock = _words(disclosure.clocks.get(rule.clock), rule.clock, language)
    subset = _words(disclosure.subsets.get(rule.subset), rule.subset, language) if rule.subset else ""
    said = _fr(rule, clock) if language == "fr" else _en(rule, clock)
    if subset:
        first = f"{subset[:1].upper()}{subset[1:]}{' : ' if language == 'fr' else ': '}"
        said = [f"{first}{said[0][:1].lower()}{said[0][1:]}", *said[1:]]
    return typeset(" ".join(said), language)


def _fr(rule: Rule, clock: str) -> Sequence[str]:
    when = f"{written_period(rule.period, 'fr')} après {clock}" if _lasts(rule.period) else f"dès {clock}"
    if rule.archive is None:
        said = [f"Supprimé {when}."]
    else:
        since = clock if _lasts(rule.period) else "cette date"
        said = [
            f"Archivé {when}, pour ce qu’il faut en garder ; le reste est supprimé.",
            f"L’archive est supprimée {written_period(rule.archive.period, 'fr')} après {since} ({_law(rule.archive, 'fr')}).",
        ]
    if rule.live_contract == "keeps":
        said.append("Jamais tant que votre contrat est en cours.")
    if rule.kept_for:
        said.append("Plus tard, si votre entreprise a encore des données à récupérer chez nous.")
    return said


def _en(rule: Rule, clock: str) -> Sequence[str]:
    when = f"{written_period(rule.period, 'en')} after {clock}" if _lasts(rule.period) else f"right after {clock}"
    if rule.archive is None:
        said = [f"Deleted {when}."]
    else:
        since = clock if _lasts(rule.period) else "that date"
        said = [
            f"Archived {when}, as far as it has to be kept; the rest is deleted.",
            f"The archive is deleted {written_period(rule.archive.period, 'en')} after {since} ({_law(rule.archive, 'en')}).",
        ]
    if rule.live_contract == "keeps":
        said.append("Never while your contract is in force.")
    if rule.kept_for:
        said.append("Later, if your company still has data to retrieve from us.")
    return said


def _law(archive: Archive, language: str) -> str:
    return f"{_GROUNDS[language][archive.ground]}, {archive.law}"


def _lasts(period: Period) -> bool:
    return bool(period.months or period.days)


def _words(told: Bilingual | None, name: str, language: str) -> str:
    return told.of(language) if told is not None else name.replace("_", " ").replace("-", " ")
