"""The form of the DAG `legal_hold`. A person is a keyed digest or the id of a request there, a tenant a number, a UUID or a keyed digest, never a name or an
address: what a run was given stays in Airflow as long as the run."""

from __future__ import annotations

from airflow.sdk import Param

ANY = "(any)"
"""The choice of no dataset, which is no dataset's id."""

CHOOSE = "(choose)"
"""The choice of no reason."""

ACTIONS = ("add", "lift")
REASONS = ("litigation", "investigation", "audit", "tax_inspection", "authority_request", "restriction")
"""Those of lethe.control.holds.HoldReason, which a DAG file does not import."""

DIGEST = r"[0-9a-f]{64}"
TENANT = rf"^(0|[1-9][0-9]{{0,17}}|[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{DIGEST})$"
"""Nothing that a name, an address or a telephone number as people write it (with 0 or + before it) can look like."""

LOGIN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
REQUEST = r"R-[0-9]{4}-[0-9A-HJKMNP-TV-Z]{8}"
PERSON = rf"^({DIGEST}|{REQUEST})$"


def datasets() -> list[str]:
    """The datasets of the catalog, in its order. Raises InvalidFile, so that a broken catalog is an import error."""
    from lethe.catalog.load import load_catalog
    from lethe.settings import catalog_dir, policy_dir

    return list(load_catalog(catalog_dir(policy_dir())).datasets())


def fields() -> dict[str, Param]:
    """The fields, in the order of the form. What is typed there is checked again by the task, which is the only check that counts."""
    return {
        "action": Param(
            default="add",
            type="string",
            enum=list(ACTIONS),
            title="Action",
            description="add: rows of this scope are kept, due or not, here and in the archive. lift: they may go again.",
        ),
        "reason": Param(
            default=CHOOSE,
            type="string",
            enum=[CHOOSE, *REASONS],
            title="Reason",
            description="To add: why the rows must stay. A choice; there is no field for free text.",
        ),
        "review_on": Param(
            default=None,
            type=["null", "string"],
            format="date",
            title="To be reviewed on",
            description="To add, required: the day on which somebody looks at the hold again. Past it, the hold is a red finding and still keeps.",
        ),
        "dataset": Param(
            default=ANY,
            type="string",
            enum=[ANY, *datasets()],
            title="Dataset",
            description="Only rows of this dataset. Everything that is given must match; at least one of the next fields, or this, is needed.",
        ),
        "tenant": Param(
            default=None,
            type=["null", "string"],
            pattern=TENANT,
            title="Tenant",
            description="Only rows of the tenant with this key: a number such as 7, a UUID in lower case, or the keyed digest that "
            "`lethe hold digest tenants:7` prints. Never a name, an address or a telephone number.",
        ),
        "person": Param(
            default=None,
            type=["null", "string"],
            pattern=PERSON,
            title="Person",
            description="Only rows of the account with this keyed digest: 64 hex digits, as `lethe hold digest users:123` prints. Never a name or "
            "an address. Or the id of a request, such as R-2026-7K3M9QWX, that gives one account and is not refused or closed. Somebody with "
            "accounts at two tenants is two keys: add a hold for each.",
        ),
        "since": Param(
            default=None,
            type=["null", "string"],
            format="date-time",
            title="Since",
            description="Only rows whose clock is at or after this instant, with its zone: 2026-01-01T00:00:00+01:00.",
        ),
        "until": Param(
            default=None,
            type=["null", "string"],
            format="date-time",
            title="Until",
            description="Only rows whose clock is before this instant, with its zone: 2026-07-01T00:00:00+02:00.",
        ),
        "owner": Param(
            default=None,
            type=["null", "string"],
            pattern=LOGIN,
            title="Owner",
            description="Who answers for the hold, or for lifting it: a login, never an address. Empty: whoever starts this run, whom the ledger "
            "names in either case.",
        ),
        "hold": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            title="Hold",
            description="To lift: the number of the hold, as `lethe hold list` and the report show it.",
        ),
    }
