"""Guesses from names and types, for a first catalog: always marked as guesses, so that a person confirms each one. Pure."""

from __future__ import annotations

import re

_COLUMNS: tuple[tuple[str, str], ...] = (
    (r"e?_?mail|courriel|recipient", "user.contact.email"),
    (r"phone|mobile|telephone|\btel\b|fax", "user.contact.phone_number"),
    (r"first_?name|given_?name|prenom|forename", "user.name.first"),
    (r"last_?name|family_?name|surname|nom_de_famille", "user.name.last"),
    (r"password|passwd|mot_de_passe|\bpwd\b", "user.authorization.password"),
    (r"secret|token|api_?key|credential", "user.authorization.credentials"),
    (r"user_?name|login|pseudo|nick", "user.account.username"),
    (r"birth|naissance|\bdob\b", "user.demographic.date_of_birth"),
    (r"gender|\bsex\b|sexe|civilite", "user.demographic.gender"),
    (r"\b(locale|language|langue)\b", "user.demographic.language"),
    (r"nationality|citizenship", "user.demographic.citizenship_or_immigration_status"),
    (r"\bip\b|ip_?addr|remote_addr", "user.device.ip_address"),
    (r"user_?agent|\bdevice\b", "user.device"),
    (r"cookie|visitor_?id", "user.device.cookie_id"),
    (r"session_?id|request_?id", "user.unique_id.pseudonymous"),
    (r"iban|bank|rib\b|\bbic\b", "user.financial.bank_account"),
    (r"card_?number|credit_?card|\bpan\b", "user.financial.credit_card"),
    (r"passport", "user.government_id.passport_number"),
    (r"\bssn\b|social_security|national_id|\bnir\b", "user.government_id.national_identification_number"),
    (r"street|address|adresse", "user.contact.address.street"),
    (r"post_?code|postal|\bzip\b", "user.contact.address.postal_code"),
    (r"\bcity\b|ville|town", "user.contact.address.city"),
    (r"\bcountry\b|\bpays\b", "user.contact.address.country"),
    (r"latitude|longitude|\blat\b|\blng\b|\blon\b|\bgeo", "user.location"),
    (r"job_?title|profession|fonction", "user.professional_information.job_title"),
    (r"company|employer|societe|organi[sz]ation_name", "user.professional_information.workplace"),
    (r"diagnos|medical|health|allerg", "user.health"),
    (r"referr?er|\burl\b|page_?path|\bpath\b", "user.behavior.browsing_history"),
    (r"full_?name|contact_name|display_name|signatory|author_name|customer_name|client_name|billed_name", "user.name"),
    (r"note|comment|message|body|subject|description|content|remark|free_text", "user.content.private"),
    (r"amount|price|_cents|total|balance|salary|invoice_lines", "user.financial"),
    (r"avatar|photo|picture|portrait", "user.content.self_image"),
)
_PERSON_TABLE = re.compile(
    r"^(app_?)?(user|customer|client|person|people|member|account_holder|contact|lead|patient|employee|subscriber|visitor|utilisateur|personne)e?s?$"
)
_TENANT_TABLE = re.compile(r"^(tenant|organi[sz]ation|workspace|company|companie|team)s?$")
_CLOCKS = (
    "occurred_at",
    "event_at",
    "event_time",
    "logged_at",
    "timestamp",
    "ts",
    "sent_at",
    "last_activity_at",
    "last_seen_at",
    "last_login_at",
    "ordered_at",
    "placed_at",
    "created_at",
    "inserted_at",
    "created",
    "created_on",
    "date",
)
CLOCK_TYPES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp", "date": "date"}


def column_category(name: str, *, of_person: bool) -> str:
    """The Fideslang key that a column's name suggests; `system.operations` when it suggests nothing.

    In a table of persons (`of_person`) a plain `name` is a person's, and the free JSON or id of one too.
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = plain.replace("_", " ")
    for pattern, category in _COLUMNS:
        if re.search(pattern, plain) or re.search(pattern, words):
            return category
    if of_person and plain in {"name", "nom"}:
        return "user.name"
    if of_person and plain == "id":
        return "user.unique_id"
    if re.fullmatch(r"(user|customer|client|person|member|contact|lead|patient|employee|author|owner|created_by|updated_by)(_?id)?", plain):
        return "user.unique_id"
    return "system.operations"


def is_person_table(name: str) -> bool:
    """Does the name say that its rows are persons?"""
    return _PERSON_TABLE.match(name.lower()) is not None


def is_tenant_table(name: str) -> bool:
    """Does the name say that its rows are tenants?"""
    return _TENANT_TABLE.match(name.lower()) is not None


def clock_column(columns: dict[str, str]) -> str | None:
    """The column that seems to age a row, of `columns` (name -> type as PostgreSQL prints it); None when none can."""
    dated = [n for n, t in columns.items() if re.sub(r"\(\d\)", "", t) in CLOCK_TYPES]
    for wanted in _CLOCKS:
        for name in dated:
            if name.lower() == wanted:
                return name
    usable = [n for n in dated if not re.search(r"birth|naissance|dob|delet|remov|expir|end", n.lower())]
    return usable[0] if usable else None
