"""The words of the list that are the same for every company, in French and in English. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from lethe.processors.countries import country_name
from lethe.processors.transfers import UnnamedTransfer
from lethe.subjects.bundle.periods import typeset

_Words = Mapping[str, tuple[str, str]]

LABELS: _Words = {
    "title": ("Sous-traitants et destinataires", "Processors and recipients"),
    "title_internal": ("Registre des sous-traitants", "Register of processors"),
    "eyebrow": ("Liste fournie sur demande", "List available on request"),
    "eyebrow_internal": ("Document interne", "Internal document"),
    "lead": (
        "Vos données ne sont pas vendues. Elles ne sont confiées qu’à des sous-traitants strictement nécessaires, liés par un contrat "
        "conforme au RGPD (article 28). Voici tous ceux qui l’étaient à cette date, et ceux auxquels ils font eux-mêmes appel.",
        "Your data is not sold. It is shared only with strictly necessary processors, bound by a data processing agreement that complies "
        "with the GDPR (Article 28). Here are all of them as of this day, and those that they rely on themselves.",
    ),
    "lead_internal": (
        "Avec contrats, contacts et notes d’audit : ne pas transmettre à une personne qui demande la liste. La version publique est un "
        "fichier à part.",
        "With agreements, contacts and audit notes: not to be sent to a person who asks for the list. The public version is a file of its own.",
    ),
    "as_of": ("Situation au", "As of"),
    "policy": ("Politique en vigueur", "Policy in force"),
    "version_of": ("version du {day}", "version of {day}"),
    "contact_us": ("Nous écrire", "Write to us"),
    "counted": ("Entreprises", "Companies"),
    "counted_text": (
        "{processors} sous-traitants, dont {subs} de second rang ou plus ; {recipients} autres destinataires",
        "{processors} processors, {subs} of them sub-processors; {recipients} other recipients",
    ),
    "glance": ("En un coup d’œil", "At a glance"),
    "chain": ("La chaîne de sous-traitance", "The chain of processors"),
    "chain_lead": (
        "Chaque trait relie une entreprise à celle à laquelle elle confie des données.",
        "Each line leads from a company to the one that it passes data on to.",
    ),
    "chain_again": ("En pointillé : déjà présenté plus haut.", "Dashed: shown above already."),
    "chain_label": ("Chaîne de sous-traitance de {company} au {day}", "Chain of processors of {company} as of {day}"),
    "again": ("voir plus haut", "see above"),
    "processors": ("Sous-traitants", "Processors"),
    "no_processors": ("Aucun sous-traitant à cette date.", "No processor on this day."),
    "recipients": ("Destinataires qui ne sont pas sous-traitants", "Recipients that are not processors"),
    "recipients_lead": (
        "Ils reçoivent des données en vertu d’une loi ou d’un contrat et répondent eux-mêmes de ce qu’ils en font.",
        "They receive data under a law or a contract and answer themselves for what they do with it.",
    ),
    "no_recipients": ("Aucun à cette date.", "None on this day."),
    "changes": ("Ce qui a changé", "What changed"),
    "changes_since": ("Depuis la liste du {day}.", "Since the list of {day}."),
    "no_changes": ("Rien n’a changé depuis la liste du {day}.", "Nothing has changed since the list of {day}."),
    "first_list": (
        "C’est la première liste : il n’y en a pas d’autre à laquelle la comparer.",
        "This is the first list: there is none to compare it with.",
    ),
    "added": ("Ajouté", "Added"),
    "ended": ("Terminé", "Ended"),
    "changed": ("Modifié", "Changed"),
    "was": ("Avant", "Before"),
    "now": ("Après", "After"),
    "nothing": ("—", "—"),
    "renewed": ("Reconduit sans changement.", "Renewed without a change."),
    "ending": ("Contrats qui se terminent bientôt", "Agreements that end soon"),
    "ending_none": ("Aucun contrat ne se termine prochainement sans suite.", "No agreement ends soon without another behind it."),
    "ending_days": ("{day}, dans {days} jours", "{day}, in {days} days"),
    "agreement_ref": ("Référence", "Reference"),
    "last_day": ("Dernier jour", "Last day"),
    "company": ("Entreprise", "Company"),
    "provenance": ("Comment cette liste a été établie", "How this list was made"),
    "provenance_text": (
        "Elle est calculée à partir du registre des sous-traitants, de la politique publiée et de la carte des données ; les mêmes sources "
        "donnent les mêmes fichiers, octet pour octet. Leurs empreintes (SHA-256) sont ci-dessous.",
        "It is computed from the register of processors, the published policy and the data map; the same sources give the same files, byte "
        "for byte. Their digests (SHA-256) are below.",
    ),
    "p_policy": ("Politique", "Policy"),
    "p_published_text": ("Texte publié", "Published text"),
    "p_catalog": ("Carte des données", "Data map"),
    "p_disclosure": ("Mots pour les personnes", "Words for people"),
    "p_register": ("Registre", "Register"),
    "where": ("Où", "Where"),
    "other_language": ("English", "Français"),
    "open_ended": ("depuis le {day}, sans terme", "from {day}, open-ended"),
    "outside": ("hors EEE", "outside the EEA"),
}

FIELDS: _Words = {
    "legal_name": ("Dénomination", "Legal name"),
    "address": ("Siège", "Seat"),
    "country": ("Pays du siège", "Country of its seat"),
    "role": ("Rôle", "Role"),
    "kind": ("Activité", "Kind"),
    "works_for": ("Travaille pour", "Works for"),
    "sub_processors": ("Fait appel à", "Passes data on to"),
    "purposes": ("Pour quoi", "What for"),
    "why": ("À quel titre", "On what ground"),
    "data_categories": ("Types de données", "Kinds of data"),
    "person_categories": ("De qui", "Whose data"),
    "datasets": ("Données reçues", "What it receives"),
    "locations": ("Où vont les données", "Where the data goes"),
    "guarantees": ("Garanties", "Guarantees"),
    "end_of_contract": ("À la fin du contrat", "When the contract ends"),
    "public_contact": ("Lui écrire", "Write to it"),
    "begun": ("Depuis le", "Since"),
    "agreement": ("Contrat (article 28)", "Agreement (Article 28)"),
    "contact": ("Notre contact", "Our contact"),
    "breach_contact": ("Alerte en cas de violation", "Breach contact"),
    "audit_notes": ("Notes d’audit", "Audit notes"),
}
"""Every field that is told, in the order in which it is."""

_ROLES: _Words = {
    "controller": ("responsable du traitement", "controller"),
    "processor": ("sous-traitant", "processor"),
    "sub-processor": ("sous-traitant ultérieur", "sub-processor"),
}
_KINDS: _Words = {
    "hosting": ("hébergement", "hosting"),
    "transactional-email": ("envoi d’e-mails", "transactional email"),
    "payment": ("paiement", "payment"),
    "authority": ("autorité publique", "public authority"),
    "bank": ("banque", "bank"),
    "payment-controller": ("paiement, pour son propre compte", "payment, on its own account"),
}
_TOOLS: _Words = {
    "none-needed": ("", ""),
    "adequacy": ("décision d’adéquation", "adequacy decision"),
    "scc": ("clauses contractuelles types", "standard contractual clauses"),
    "bcr": ("règles d’entreprise contraignantes", "binding corporate rules"),
    "derogation": ("dérogation (article 49)", "derogation (Article 49)"),
}
_ENDS: _Words = {
    "return": ("les données sont rendues", "the data is returned"),
    "delete": ("les données sont supprimées", "the data is deleted"),
}


def label(name: str, language: str, **values: object) -> str:
    """A label, with `{name}` filled in."""
    return _of(LABELS, name, language).format(**values)


def field_label(name: str, language: str) -> str:
    """What a field is called; its own name when it has no words."""
    return _of(FIELDS, name, language)


def role_words(role: str, language: str) -> str:
    """`sub-processor` in words."""
    return _of(_ROLES, role, language)


def kind_words(kind: str, language: str) -> str:
    """`transactional-email` in words."""
    return _of(_KINDS, kind, language)


def tool_words(tool: str, language: str) -> str:
    """A transfer tool in words; none for a place that needs none."""
    return _of(_TOOLS, tool, language)


def transfer_words(transfer: UnnamedTransfer) -> str:
    """A transfer that the policy does not name, in English, by its entry's id: `relay to United States (standard contractual clauses)`."""
    ground = tool_words(transfer.tool, "en") or "on no ground"
    return f"{transfer.entry} to {country_name(transfer.country, 'en')} ({ground})"


def end_words(action: str, language: str) -> str:
    """What is done with the data when the contract ends."""
    return _of(_ENDS, action, language)


def _of(words: _Words, name: str, language: str) -> str:
    found = words.get(name)
    return name if found is None else typeset(found[0], "fr") if language == "fr" else found[1]
