"""`lethe request ...`, the whole group. An identifier is never an argument: a shell keeps its history, and `ps` shows it to everybody.

What stands where no argument belongs is refused here and not by the parser, which would repeat it.
"""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from lethe.cli.output import AsJson, instant, print_json, print_table, say
from lethe.cli.request_answer import answer, answered
from lethe.cli.request_end import close, destroy_keys, extend
from lethe.cli.request_files import intake, proof
from lethe.cli.request_input import QUIET, read_small, refuse_extra
from lethe.cli.request_list import print_requests

_Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id, such as R-2026-7K3M9QWX.")]
_By = Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")]

request = typer.Typer(help="Requests of persons: what they ask, who they are, until when.", no_args_is_help=True)


@request.command(context_settings=QUIET)
def new(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON, or lines kind=value (email, account); - reads what is piped in.")],
    kind: Annotated[
        str,
        typer.Option(
            help="access, portability, rectification, erasure, restriction, objection, consent_withdrawal, post_mortem, processor_list, "
            "tenant_instruction, question."
        ),
    ],
    channel: Annotated[str, typer.Option(help="email, form, letter, ticket, tenant.")],
    language: Annotated[str, typer.Option(help="fr, en.")] = "fr",
    received_at: Annotated[str | None, typer.Option(help="When it came in, with its zone; now when left out.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant's key, of a tenant_instruction only.")] = None,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Opens a request, sealed, with its deadlines. Names the open requests of the same person."""
    from lethe import settings
    from lethe.control.requests import NO_LEGAL_DEADLINE
    from lethe.errors import RequestRefused
    from lethe.instants import now
    from lethe.retention.holding import identities
    from lethe.subjects.identifiers import read_identifiers
    from lethe.subjects.requests import open_request
    from lethe.workspace import Workspace

    refuse_extra(context)
    with Workspace.open() as workspace:
        at = now()
        policy = workspace.policy(at)
        secret = workspace.connections(settings.CONTROL)
        given = read_identifiers(read_small(file), datasets=identities(workspace.catalog), fold_local=settings.fold_local_part())
        with workspace.control.begin() as connection:
            opened = open_request(
                connection,
                given,
                kind=kind,
                channel=channel,
                language=language,
                by=by or getpass.getuser(),
                request_key=settings.request_key(secret),
                digest_key=settings.digest_key(secret),
                tenant=tenant,
                received_at=instant(received_at, "--received-at", RequestRefused),
                at=at,
                zone=policy.time_zone,
                terms=policy.deadlines,
            )
    if as_json:
        print_json({**opened.request.model_dump(mode="json"), "same_person": opened.same_person})
        return
    made = opened.request
    law = "" if made.kind in NO_LEGAL_DEADLINE else f", by law by {made.legal_due_on}"
    say(f"Request {made.id} opened: reply by {made.reply_due_on}{law}.")
    if opened.same_person:
        say(f"Open requests of the same person: {', '.join(opened.same_person)}.")


@request.command(context_settings=QUIET)
def show(
    context: typer.Context,
    request_id: _Id,
    identifiers: Annotated[bool, typer.Option("--identifiers", help="Who asks, too. It is on record first.")] = False,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Shows a request, what was decided about it, and how it was answered."""
    from lethe import settings
    from lethe.control.answers import answers_of
    from lethe.subjects.requests import show as show_request
    from lethe.subjects.requests import show_identifiers
    from lethe.workspace import Workspace

    refuse_extra(context)
    named: dict[str, list[str]] | None = None
    with Workspace.open() as workspace:
        with workspace.control.connect() as connection:
            found, decisions = show_request(connection, request_id)
            answers = answers_of(connection, request_id)
        if identifiers:
            key = settings.request_key(workspace.connections(settings.CONTROL))
            named = show_identifiers(workspace.control, request_id, by=by or getpass.getuser(), request_key=key)
    if as_json:
        more: dict[str, Any] = {"identifiers": named} if named is not None else {}
        acts = {"decisions": [d.model_dump(mode="json") for d in decisions], "answers": [a.model_dump(mode="json") for a in answers]}
        print_json({**found.model_dump(mode="json"), **acts, **more})
        return
    print_table(f"Request {found.id}", ("what", "is"), [(k, v) for k, v in found.model_dump(mode="json").items() if k != "id"])
    if decisions:
        print_table("Decisions", ("at", "by", "decision", "reason"), [(d.at, d.by, d.decision, d.reason) for d in decisions])
    if answers:
        rows = [(a.kind, a.number, a.state, a.prepared_at, a.sent_at, a.message_id) for a in answers]
        print_table("Answers", ("kind", "number", "state", "prepared", "sent", "message id"), rows)
    for kind, values in (named or {}).items():
        for value in values:
            say(f"{kind}: {value}")


@request.command("list", context_settings=QUIET)
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="The closed ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lists the requests, the one due first at the top, with what is owed: fine, warn or red; by law fine, near or over."""
    refuse_extra(context)
    print_requests(everything, as_json)


@request.command(context_settings=QUIET)
def decide(
    context: typer.Context,
    request_id: _Id,
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="accept, refuse, ask-more.")],
    reason: Annotated[
        str,
        typer.Option(
            help="accept: known_address, document_seen, signed_in, mandate_seen, no_identity_needed. refuse: not_proven, proof_differs, "
            "no_answer, no_mandate. ask-more: proof_missing, proof_unreadable, several_persons."
        ),
    ],
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Records whether who asks is known, and deletes the proofs of identity. Exit 1 when their store did not let them go."""
    from lethe.subjects.identity import decide as decide_request
    from lethe.workspace import Workspace

    refuse_extra(context)
    with Workspace.open() as workspace:
        made = decide_request(workspace, request_id, decision=decision.replace("-", "_"), reason=reason, by=by or getpass.getuser())
    decided = made.request
    if as_json:
        print_json({**decided.model_dump(mode="json"), "proofs_deleted": made.proofs_deleted})
    else:
        say(f"Request {decided.id} is {decided.state}.")
        if made.proofs_deleted is None:
            say("Its proofs of identity could not be deleted now: the next `request_intake` deletes them, and is red until it has.")
    if made.proofs_deleted is None:
        raise typer.Exit(1)


request.command("intake")(intake)
request.command("proof")(proof)
request.command("extend")(extend)
request.command("close")(close)
request.command("destroy-keys")(destroy_keys)
request.command("answer", context_settings=QUIET)(answer)
request.command("answered", context_settings=QUIET)(answered)
