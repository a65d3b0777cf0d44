"""The words of the record of processing activities, in French and in English. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from lethe.subjects.bundle.periods import typeset

WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Registre des activités de traitement", "Record of processing activities"),
    "eyebrow": ("Article 30 du RGPD", "GDPR Article 30"),
    "lead": (
        "Établi à partir des fichiers qui gouvernent les traitements eux-mêmes : la politique publiée, la carte des données, le registre des "
        "sous-traitants. Ce qu’ils ne disent pas est indiqué comme non déclaré.",
        "Drawn up from the very files that govern the processing: the published policy, the data map, the register of processors. What they do "
        "not say is shown as not declared.",
    ),
    "as_of": ("Situation au", "As of"),
    "not_declared": ("non déclaré", "not declared"),
    "organisation": ("L’organisme", "The organisation"),
    "company": ("Responsable du traitement", "Controller"),
    "address": ("Adresse", "Address"),
    "representative": ("Représentant dans l’Union (article 27)", "Representative in the Union (Article 27)"),
    "dpo": ("Délégué à la protection des données", "Data protection officer"),
    "contact": ("Contact", "Contact"),
    "joint": ("Responsables conjoints", "Joint controllers"),
    "authority": ("Autorité de contrôle", "Supervisory authority"),
    "in_force": ("Politique en vigueur", "Policy in force"),
    "version_of": ("version du {day}", "version of {day}"),
    "summary": ("Les activités", "The activities"),
    "number": ("N°", "No."),
    "activity": ("Activité (finalité)", "Activity (purpose)"),
    "role": ("En tant que", "As"),
    "controller": ("responsable", "controller"),
    "processor": ("sous-traitant", "processor"),
    "as_controller": ("En tant que responsable du traitement", "As controller"),
    "as_processor": ("En tant que sous-traitant", "As processor"),
    "as_controller_lead": (
        "Une fiche par finalité (article 30, paragraphe 1). Une donnée qui sert plusieurs finalités figure dans chacune.",
        "A sheet for each purpose (Article 30(1)). Data that serves several purposes is in each of them.",
    ),
    "as_processor_lead": (
        "Ce que les clients enregistrent sur la plateforme, traité sur leur seule instruction (article 30, paragraphe 2).",
        "What customers store on the platform, processed on their instruction alone (Article 30(2)).",
    ),
    "sheet": ("Fiche {number}", "Sheet {number}"),
    "none_controller": ("Aucune activité dans la carte des données.", "No activity in the data map."),
    "none_processor": ("Aucune activité dans la carte des données.", "No activity in the data map."),
    "purpose": ("Finalité", "Purpose"),
    "behalf": ("Pour le compte de", "On behalf of"),
    "categories": ("Catégories de traitements", "Categories of processing"),
    "persons": ("Personnes concernées", "Categories of persons"),
    "sensitive": ("Données sensibles (articles 9 et 10)", "Special categories (Articles 9 and 10)"),
    "no_sensitive": ("aucune dans la carte des données", "none in the data map"),
    "data": ("Données et durées de conservation", "Data and retention periods"),
    "data_set": ("Données", "Data"),
    "kinds": ("Types de données", "Kinds of data"),
    "kept": ("Conservation", "Kept for"),
    "where": ("Système", "System"),
    "recipients": ("Destinataires", "Recipients"),
    "recipient_kinds": ("Catégories de destinataires", "Categories of recipients"),
    "recipient": ("Destinataire", "Recipient"),
    "recipient_role": ("Qualité", "Capacity"),
    "internal": ("En interne : les personnes habilitées", "Inside: authorised staff"),
    "nobody": ("aucun", "none"),
    "transfers": ("Transferts hors de l’Espace économique européen", "Transfers outside the European Economic Area"),
    "no_transfers": ("Aucun.", "None."),
    "country": ("Pays", "Country"),
    "tool": ("Garantie", "Safeguard"),
    "document": ("Document", "Document"),
    "measures": ("Mesures de sécurité", "Security measures"),
    "measures_lead": ("Elles valent pour toutes les fiches (article 32).", "They hold for every sheet (Article 32)."),
    "provenance": ("Sources", "Sources"),
    "p_register": ("Registre", "Register"),
    "p_policy": ("Politique", "Policy"),
    "p_published_text": ("Texte publié", "Published text"),
    "p_catalog": ("Carte des données", "Data map"),
    "p_disclosure": ("Mots pour les personnes", "Words for people"),
    "other_language": ("English", "Français"),
}

SENSITIVE = (
    "user.health_and_medical",
    "user.biometric",
    "user.genetic",
    "user.criminal_history",
    "user.authorization.biometric",
    "user.demographic.political_opinion",
    "user.demographic.race_ethnicity",
    "user.demographic.religious_belief",
    "user.demographic.sexual_orientation",
)
"""Fideslang keys of what GDPR Articles 9 and 10 set apart, with everything below them."""


def word(name: str, language: str, **values: object) -> str:
    """The words of that name, `{name}` filled in."""
    found = WORDS[name]
    return (typeset(found[0], "fr") if language == "fr" else found[1]).format(**values)
