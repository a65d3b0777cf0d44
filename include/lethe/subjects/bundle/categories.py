"""What kind of data a column holds, in words: Fideslang's keys in French and in English. Pure.

A key that is not here has the words of the nearest one above it, so that a new key of Fideslang is told less exactly, and never left out.
"""

from __future__ import annotations

from collections.abc import Mapping

OPERATIONS = "system.operations"
SECRET = "user.authorization"

_WORDS: Mapping[str, tuple[str, str]] = {
    "system": ("fonctionnement", "operation"),
    "system.operations": ("fonctionnement", "operation"),
    "user": ("donnée personnelle", "personal data"),
    "user.account": ("compte", "account"),
    "user.account.settings": ("réglages", "settings"),
    "user.account.username": ("nom d’utilisateur", "username"),
    "user.authorization": ("secret d’accès", "access secret"),
    "user.authorization.biometric": ("empreinte d’accès", "biometric access"),
    "user.authorization.credentials": ("identifiants d’accès", "credentials"),
    "user.authorization.password": ("mot de passe", "password"),
    "user.behavior": ("utilisation", "usage"),
    "user.behavior.browsing_history": ("navigation", "browsing"),
    "user.behavior.media_consumption": ("médias consultés", "media use"),
    "user.behavior.purchase_history": ("achats", "purchases"),
    "user.behavior.search_history": ("recherches", "searches"),
    "user.biometric": ("donnée biométrique", "biometric data"),
    "user.childrens": ("données d’enfants", "children’s data"),
    "user.contact": ("coordonnées", "contact details"),
    "user.contact.address": ("adresse postale", "postal address"),
    "user.contact.address.city": ("ville", "city"),
    "user.contact.address.country": ("pays", "country"),
    "user.contact.address.postal_code": ("code postal", "postcode"),
    "user.contact.address.state": ("région", "region"),
    "user.contact.address.street": ("rue", "street"),
    "user.contact.email": ("adresse e-mail", "email address"),
    "user.contact.fax_number": ("télécopie", "fax"),
    "user.contact.organization": ("organisation", "organisation"),
    "user.contact.phone_number": ("téléphone", "phone"),
    "user.contact.url": ("site web", "website"),
    "user.content": ("contenu", "content"),
    "user.content.private": ("contenu écrit", "written content"),
    "user.content.public": ("contenu public", "public content"),
    "user.content.self_image": ("photo", "photo"),
    "user.correspondence": ("correspondance", "correspondence"),
    "user.criminal_history": ("infractions", "criminal history"),
    "user.demographic": ("profil", "demographics"),
    "user.demographic.age_range": ("tranche d’âge", "age range"),
    "user.demographic.date_of_birth": ("date de naissance", "date of birth"),
    "user.demographic.gender": ("genre", "gender"),
    "user.demographic.language": ("langue", "language"),
    "user.demographic.marital_status": ("situation familiale", "marital status"),
    "user.demographic.political_opinion": ("opinions politiques", "political opinions"),
    "user.demographic.race_ethnicity": ("origine", "ethnic origin"),
    "user.demographic.religious_belief": ("convictions religieuses", "religious beliefs"),
    "user.demographic.sexual_orientation": ("orientation sexuelle", "sexual orientation"),
    "user.device": ("appareil", "device"),
    "user.device.cookie_id": ("identifiant de cookie", "cookie id"),
    "user.device.device_id": ("identifiant d’appareil", "device id"),
    "user.device.ip_address": ("adresse IP", "IP address"),
    "user.financial": ("montants", "amounts"),
    "user.financial.bank_account": ("compte bancaire", "bank account"),
    "user.financial.credit_card": ("carte bancaire", "payment card"),
    "user.government_id": ("pièce d’identité", "identity document"),
    "user.health_and_medical": ("santé", "health"),
    "user.location": ("lieu", "place"),
    "user.location.imprecise": ("lieu approximatif", "approximate place"),
    "user.location.precise": ("lieu exact", "exact place"),
    "user.name": ("nom", "name"),
    "user.name.first": ("prénom", "first name"),
    "user.name.last": ("nom de famille", "last name"),
    "user.payment": ("paiement", "payment"),
    "user.privacy_preferences": ("choix de confidentialité", "privacy choices"),
    "user.professional_information": ("vie professionnelle", "professional details"),
    "user.professional_information.job_title": ("fonction", "job title"),
    "user.professional_information.workplace": ("entreprise", "company"),
    "user.sensor": ("capteur", "sensor"),
    "user.social": ("réseaux sociaux", "social networks"),
    "user.telemetry": ("mesures techniques", "telemetry"),
    "user.unique_id": ("identifiant", "identifier"),
    "user.unique_id.pseudonymous": ("identifiant technique", "technical identifier"),
}


def category_words(category: str, language: str) -> str:
    """The words of a Fideslang key in `fr` or `en`, or of the nearest key above it."""
    while category not in _WORDS:
        category, dot, _ = category.rpartition(".")
        if not dot:
            category = "user"
    return _WORDS[category][0 if language == "fr" else 1]


def secret(category: str) -> bool:
    """Is it a secret that protects an account, such as a password's hash? It is never given out."""
    return category == SECRET or category.startswith(f"{SECRET}.")
