"""Lethe's own database: what is planned, running, held, approved and proven. Migrations create it (`control/migrations`).

Who may do what: `lethe_owner` migrates; `lethe_runtime` works, and may only insert into and select from `ledger`;
`lethe_approver` reads plans and inserts approvals and their evidence.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lethe.evidence.table import SCHEMA as SCHEMA
from lethe.evidence.table import ledger as ledger
from lethe.evidence.table import metadata as metadata

Instant = DateTime(timezone=True)
_now = text("now()")

plans = Table(
    "plans",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("as_of", Instant, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("made_at", Instant, nullable=False, server_default=_now),
)

plan_counts = Table(
    "plan_counts",
    metadata,
    Column("plan", Text, ForeignKey(plans.c.digest), primary_key=True),
    Column("attempt", Integer, primary_key=True, comment="counts are taken anew for each run of the same plan"),
    Column("step", Text, primary_key=True),
    Column("counts", JSONB, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'"), comment="histogram, snapshot, fingerprint of the due keys"),
    Column("keys", LargeBinary, comment="the due rows' keys at plan time, compressed; needed to count changed rows one by one"),
    Column("counted_at", Instant, nullable=False, server_default=_now),
)

runs = Table(
    "runs",
    metadata,
    Column("plan", Text, ForeignKey(plans.c.digest), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column(
        "state",
        Text,
        CheckConstraint("state in ('planned','waiting','passed','purging','verifying','finished','failed','refused')"),
        nullable=False,
    ),
    Column("pace", Text, nullable=False, server_default="full"),
    Column("started_at", Instant, nullable=False, server_default=_now),
    Column("finished_at", Instant),
    Column("outcome", Text, CheckConstraint("outcome in ('clean','survivors','unknown')")),
    Column("interruptions", Integer, nullable=False, server_default="0"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("plan", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, CheckConstraint("state in ('intent','committed','rolled_back','unknown')"), nullable=False),
    Column("technique", Text, nullable=False),
    Column("range", JSONB, nullable=False, comment="the window's bounds: clock instants, blocks, keys; never personal data"),
    Column("xid", BigInteger, comment="pg_current_xact_id() of the source's transaction"),
    Column("backend", Integer, comment="pid of the source's backend, so that recovery can end or await it"),
    Column("backend_start", Instant),
    Column("rows", BigInteger),
    Column(
        "details", JSONB, nullable=False, server_default=text("'{}'"), comment="fingerprint of the deleted keys, arrived, per-key errors"
    ),
    Column("began_at", Instant, nullable=False, server_default=_now),
    Column("ended_at", Instant),
    UniqueConstraint("plan", "attempt", "step", "number"),
)

step_results = Table(
    "step_results",
    metadata,
    Column("plan", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("outcome", Text, CheckConstraint("outcome in ('clean','survivors','unknown')"), nullable=False),
    Column("level", Text, CheckConstraint("level in ('L0','L1','L2','L3','L4')")),
    Column(
        "terms",
        JSONB,
        nullable=False,
        comment="planned, arrived, deleted, held, changed, blocked, failed, survivors, quarantined: each counted on its own",
    ),
    Column("details", JSONB, nullable=False, server_default=text("'{}'")),
    Column("verified_at", Instant, nullable=False, server_default=_now),
)

leases = Table(
    "leases",
    metadata,
    Column("store", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("taken_at", Instant, nullable=False, server_default=_now),
    Column("expires_at", Instant, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("dataset", Text),
    Column("tenant", Text),
    Column("person_dataset", Text),
    Column("person_key", Text),
    Column("since", Instant),
    Column("until", Instant),
    Column(
        "reason",
        Text,
        CheckConstraint("reason in ('litigation','investigation','audit','tax_inspection','authority_request','restriction')"),
        nullable=False,
    ),
    Column("owner", Text, nullable=False),
    Column("starts_on", Date, nullable=False),
    Column("review_on", Date),
    Column("added_at", Instant, nullable=False, server_default=_now),
    Column("lifted_at", Instant),
    Column("lifted_by", Text),
    CheckConstraint("num_nonnulls(dataset, tenant, person_key, since, until) > 0", name="a_hold_has_a_scope"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("plan", Text, ForeignKey(plans.c.digest), nullable=False),
    Column("approver", Text, nullable=False, comment="a login or a user id, never an address"),
    Column(
        "channel",
        Text,
        CheckConstraint("channel in ('credentials','airflow')"),
        nullable=False,
        comment="credentials: the approver's own database login; airflow: answered in Airflow's UI and recorded by the run",
    ),
    Column("recorded_by", Text, nullable=False, server_default=text("session_user"), comment="the database login; set by a trigger"),
    Column("responded_at", Instant, comment="airflow only: the instant of the answer"),
    Column(
        "reason",
        Text,
        CheckConstraint(
            "reason in ('first_run','backlog','policy_change','expected','reviewed',"
            "'not_expected','wrong_policy','wrong_data','no_answer','own_run','nobody_named')",
        ),
        nullable=False,
    ),
    Column("approved", Boolean, nullable=False, server_default=text("true"), comment="false: refused"),
    Column("ceilings", JSONB, nullable=False, comment="step -> rows seen when it was approved; a run above them waits again"),
    Column("given_at", Instant, nullable=False, server_default=_now),
    CheckConstraint("(channel = 'airflow') = (responded_at is not null)", name="an_answer_in_airflow_has_its_instant"),
)

maintenance = Table(
    "maintenance",
    metadata,
    Column("task", Text, primary_key=True, comment="airflow-clean"),
    Column("succeeded_at", Instant, nullable=False),
)

archive_objects = Table(
    "archive_objects",
    metadata,
    Column("id", Text, primary_key=True, comment="32 hex digits, drawn at random"),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False, unique=True, comment="dataset, law, schema, month of expiry, id; never personal data"),
    Column("version", Text, comment="the store's version id; NULL in a bucket without versions"),
    Column(
        "state",
        Text,
        CheckConstraint("state in ('announced','stored','confirmed','sealed','dropped','expired','replaced')"),
        nullable=False,
    ),
    Column("store", Text, nullable=False, comment="the store of the catalog that its rows came from"),
    Column("dataset", Text, nullable=False),
    Column("law", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("batch", Integer, comment="number of the batch whose rows it holds; NULL until its intent is written"),
    Column("expires_on", Date, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("manifest", JSONB, comment="lethe.archive.model.Manifest without persons and tenants; NULL until it is stored"),
    Column("lock_until", Instant, comment="as read back from the store; NULL where it has no lock"),
    Column("announced_at", Instant, nullable=False, server_default=_now),
    Column("sealed_at", Instant),
    Column("recorded_at", Instant, comment="when the ledger got its record of it"),
    Column("ended_at", Instant, comment="when it was dropped, expired or replaced"),
    Column("ended_by", Text, comment="the plan that expired or replaced it"),
)

archive_subjects = Table(
    "archive_subjects",
    metadata,
    Column("object", Text, ForeignKey(archive_objects.c.id), primary_key=True),
    Column("kind", Text, CheckConstraint("kind in ('person','tenant')"), primary_key=True),
    Column("digests", ARRAY(LargeBinary), nullable=False, comment="keyed digests of the persons or tenants in it, 16 bytes each"),
)

requests = Table(
    "requests",
    metadata,
    Column(
        "id",
        Text,
        CheckConstraint("id ~ '^R-[0-9]{4}-[0-9A-HJKMNP-TV-Z]{8}$'"),
        primary_key=True,
        comment="the year of receipt and 40 random bits in Crockford's base32",
    ),
    Column(
        "kind",
        Text,
        CheckConstraint(
            "kind in ('access','portability','rectification','erasure','restriction','objection','consent_withdrawal',"
            "'post_mortem','processor_list','tenant_instruction','question')",
        ),
        nullable=False,
    ),
    Column("channel", Text, CheckConstraint("channel in ('email','form','letter','ticket','tenant')"), nullable=False),
    Column("language", Text, CheckConstraint("language in ('fr','en')"), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("identity", Text, CheckConstraint("identity in ('none','claimed','verified')"), nullable=False),
    Column(
        "state",
        Text,
        CheckConstraint("state in ('received','waiting_identity','more_asked','accepted','refused','located','answered','closed')"),
        nullable=False,
    ),
    Column("reply_due_on", Date, nullable=False, comment="5 business days after receipt"),
    Column(
        "legal_due_on", Date, nullable=False, comment="one month after receipt, clamped to the month's end and not rolled: the earlier day"
    ),
    Column("extended_to", Date, comment="three months after receipt, where the person was told so"),
    Column("tenant", Text, comment="the tenant's key, of a tenant's instruction only"),
    Column("wrapped_key", LargeBinary, comment="the request's data key, wrapped; NULL once it is destroyed"),
    Column("closed_at", Instant),
    Column("keys_destroyed_at", Instant),
    CheckConstraint("(kind = 'tenant_instruction') = (tenant is not null)", name="a_tenant_instructs"),
    CheckConstraint("(state = 'closed') = (closed_at is not null)", name="a_closed_request_has_its_instant"),
    CheckConstraint("(wrapped_key is null) = (keys_destroyed_at is not null)", name="a_key_is_there_or_destroyed"),
)

request_identifiers = Table(
    "request_identifiers",
    metadata,
    Column("request", Text, ForeignKey(requests.c.id), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text, CheckConstraint("kind in ('email','account')"), nullable=False),
    Column("ciphertext", LargeBinary, nullable=False, comment="lethe.subjects.vault"),
    Column("digest", LargeBinary, nullable=False, comment="keyed digest of kind and normalised identifier; the row goes with the key"),
)

request_decisions = Table(
    "request_decisions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("request", Text, ForeignKey(requests.c.id), nullable=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, nullable=False, comment="a login, never an address"),
    Column("decision", Text, CheckConstraint("decision in ('accept','refuse','ask_more')"), nullable=False),
    Column(
        "reason",
        Text,
        CheckConstraint(
            "reason in ('known_address','document_seen','signed_in','mandate_seen','no_identity_needed',"
            "'not_proven','proof_differs','no_answer','no_mandate','proof_missing','proof_unreadable','several_persons')",
        ),
        nullable=False,
    ),
    Column("channel", Text, CheckConstraint("channel in ('credentials','airflow')"), nullable=False),
)

deadline_warnings = Table(
    "deadline_warnings",
    metadata,
    Column("request", Text, ForeignKey(requests.c.id), primary_key=True),
    Column("deadline", Text, CheckConstraint("deadline in ('reply','legal','extended')"), primary_key=True),
    Column("told_at", Instant, nullable=False, comment="when whoever answers was told that it is near: once, in the same transaction"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("request", Text, ForeignKey(requests.c.id), nullable=False),
    Column("number", Integer, nullable=False, comment="of the request's exports; another one follows a failed one"),
    Column("state", Text, CheckConstraint("state in ('begun','stored','verified','failed')"), nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("made_at", Instant, nullable=False, comment="as the bundle says"),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'"), comment="rows by section; no key, no address"),
    Column("checked", JSONB, nullable=False, server_default=text("'[]'"), comment="what the independent check found"),
    UniqueConstraint("request", "number"),
)

export_parts = Table(
    "export_parts",
    metadata,
    Column("export", BigInteger, ForeignKey(exports.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False, comment="as the person knows it; holds the request id"),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, comment="NULL in a bucket without versions"),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
)

request_answers = Table(
    "request_answers",
    metadata,
    Column("request", Text, ForeignKey(requests.c.id), primary_key=True),
    Column(
        "kind",
        Text,
        CheckConstraint(
            "kind in ('received','proof_wanted','refused','bundle_ready','nothing_held','forwarded','instruction_ready','processor_list')",
        ),
        primary_key=True,
    ),
    Column("number", Integer, CheckConstraint("number between 1 and 9999"), primary_key=True, comment="the n-th answer of that kind"),
    Column("tenant", LargeBinary, comment="keyed digest of request and tenant, of what was forwarded only"),
    Column("state", Text, CheckConstraint("state in ('prepared','sending','sent','refused')"), nullable=False),
    Column("message_id", Text, comment="of the mail; NULL where it was printed, or never offered to a mail server"),
    Column("sha256", Text, nullable=False, comment="of the text, UTF-8; the text itself is not kept"),
    Column("prepared_at", Instant, nullable=False),
    Column("sent_at", Instant),
    UniqueConstraint("request", "kind", "tenant"),
    CheckConstraint("(kind = 'forwarded') = (tenant is not null)", name="a_forward_has_its_tenant"),
    CheckConstraint("(state = 'sent') = (sent_at is not null)", name="a_sent_answer_has_its_instant"),
)

request_intake = Table(
    "request_intake",
    metadata,
    Column("file", LargeBinary, primary_key=True, comment="keyed digest of bucket, key and version (etag and instant where it has none)"),
    Column("state", Text, CheckConstraint("state in ('opened','refused')"), nullable=False),
    Column("requests", JSONB, nullable=False, server_default=text("'[]'"), comment="ids of the requests opened from it, in its order"),
    Column("problem", Text, comment="of a refused one: what is wrong, without a word of what stands there"),
    Column("entry", Integer, comment="of a refused one: which entry, from 1; NULL when it is the file"),
    Column("at", Instant, nullable=False),
    CheckConstraint("(state = 'refused') = (problem is not null)", name="a_refused_file_has_its_problem"),
)

Index(
    "exports_one_at_a_time",
    exports.c.request,
    unique=True,
    postgresql_where=text("state <> 'failed'"),
)
Index("request_identifiers_digest", request_identifiers.c.digest)
Index("request_decisions_request", request_decisions.c.request)
Index("archive_objects_expiry", archive_objects.c.dataset, archive_objects.c.law, archive_objects.c.expires_at)
Index(
    "archive_objects_unsealed",
    archive_objects.c.step,
    postgresql_where=text("state IN ('announced', 'stored', 'confirmed')"),
)
Index("archive_subjects_digests", archive_subjects.c.digests, postgresql_using="gin", postgresql_with={"fastupdate": "off"})
