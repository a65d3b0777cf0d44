"""An answer is sent once and not twice, whoever dies and whenever.

`prepared` is committed first; `sending` when the mail server waits for the text; `sent`, with its record in the ledger, when the server has
taken it. So an answer found in `sending`, with nobody at it, may or may not have arrived: AnswerInDoubt, until somebody says which
(`by_hand.settle`). Before that point a failure means that nothing was sent, and the next try sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from lethe import settings
from lethe.control.answers import (
    ANSWER_DEFERRED,
    ANSWER_IN_DOUBT,
    ANSWER_REFUSED,
    ANSWER_SENT,
    Answer,
    AnswerKind,
    AnswerState,
    answering,
    answers_of,
    evidence,
    reference,
    settle_answer,
    store_prepared,
    update_answer,
)
from lethe.control.requests import Language, Request, decisions_of, request_of
from lethe.errors import AnswerInDoubt, AnswerRefused, NoAddress, RequestRefused, Unreachable
from lethe.evidence.ledger import append
from lethe.evidence.record import keyed_digest
from lethe.frozen import Frozen
from lethe.subjects.answers.message import Attachment, address, envelope, message_id
from lethe.subjects.answers.render import Letter, render
from lethe.subjects.answers.smtp import MailServer, Outcome, Reply, deliver, mail_server
from lethe.subjects.answers.words import answer_kind, check_turn, words_of
from lethe.subjects.requests import check_login, show_identifiers
from lethe.workspace import Workspace


class Sent(Frozen):
    """An answer that a mail server took, or that somebody said was sent. `already`: it was sent before, and nothing was done now."""

    answer: Answer
    already: bool


def send_answer(
    workspace: Workspace,
    request_id: str,
    kind: str,
    *,
    words: Mapping[str, Any],
    by: str,
    at: datetime,
    number: int = 1,
    to: str | None = None,
    attached: Sequence[Attachment] = (),
) -> Sent:
    """Answers a request by mail, to the first e-mail address that it was made with; that the address is read is on record first.

    `words` are those of `words.words_of`; the reason of `proof_wanted` and `refused` is that of the decision when it is left out. `number`
    tells answers of one kind apart: a second bundle, a second proof that is wanted. One that is sent already is not sent again. `to`: the
    address of the tenant that instructed; `instruction_ready` goes there and nowhere else, for the request's own address is its client's.
    `attached`: files that go with it, none of which may hold anything of a person.

    Raises NoAddress (answer by letter), AnswerRefused (the mail server refused it: a person has to act), AnswerInDoubt (nobody knows whether
    it was sent), Unreachable (not sent: try again later), RequestRefused (no such answer to this request now), UnknownName, Unopenable.
    """
    chosen = answer_kind(kind)
    if chosen is AnswerKind.FORWARDED:
        raise RequestRefused("What is forwarded goes to a tenant, not to the person.", fix="Use send_forward.")
    if (chosen is AnswerKind.INSTRUCTION_READY) is not (to is not None):
        raise RequestRefused(
            "The answer to an instruction goes to its tenant, and no other answer does.", fix="Give the tenant's address with it."
        )
    check_login(by)
    with answering(workspace.control, request_id):
        before = stored(workspace.control, request_id, chosen, number)
        if before is not None and _done(before):
            return Sent(answer=before, already=True)
        request, letter = compose(workspace, request_id, chosen, words, at=at)
        server = mail_server(workspace.connections(settings.MAIL))  # seen to be fit before the address is opened
        prepared = prepare(before, letter, request, chosen, number, at=at)
        return _send(workspace, server, prepared, letter, to or _address_of(workspace, request, by=by, at=at), at=at, attached=attached)


def send_forward(workspace: Workspace, request_id: str, tenant_key: str, address: str, language: str, *, at: datetime) -> Sent:
    """Tells a tenant that one of its clients asked, and that the answer is the tenant's. It names neither the client nor another tenant.

    One tenant gets one forward of a request; lethe_db and ledger know the tenant by a keyed digest. Raises as `send_answer` does.
    """
    if language not in set(Language):
        raise RequestRefused("That is no language of an answer.", fix=f"Choose one of: {', '.join(Language)}.")
    tenant = keyed_digest(settings.digest_key(workspace.connections(settings.CONTROL)), "forward", request_id, tenant_key)[:32]
    with answering(workspace.control, request_id):
        with workspace.control.connect() as connection:
            forwards = [a for a in answers_of(connection, request_id) if a.kind is AnswerKind.FORWARDED]
        before = next((a for a in forwards if a.tenant == tenant), None)
        if before is not None and _done(before):
            return Sent(answer=before, already=True)
        request, letter = compose(workspace, request_id, AnswerKind.FORWARDED, {}, at=at, language=Language(language))
        number = before.number if before else max((a.number for a in forwards), default=0) + 1
        prepared = prepare(before, letter, request, AnswerKind.FORWARDED, number, at=at, tenant=tenant)
        server = mail_server(workspace.connections(settings.MAIL))
        return _send(workspace, server, prepared, letter, address, at=at)


def stored(engine: Engine, request_id: str, kind: AnswerKind, number: int) -> Answer | None:
    """The answer of that kind and number; None when nothing was prepared. Raises RequestRefused when the number is none."""
    if not 1 <= number <= 9999:
        raise RequestRefused("The answers of a kind are numbered from 1 to 9999.", fix="Leave the number out for the first one.")
    with engine.connect() as connection:
        return next((a for a in answers_of(connection, request_id) if (a.kind, a.number) == (kind, number)), None)


def compose(
    workspace: Workspace, request_id: str, kind: AnswerKind, given: Mapping[str, Any], *, at: datetime, language: Language | None = None
) -> tuple[Request, Letter]:
    """The request, and its answer of that kind as text, under the policy in force at `at`. Raises RequestRefused, UnknownName, Unreachable."""
    with workspace.control.connect() as connection:
        request = request_of(connection, request_id)
        decisions = decisions_of(connection, request_id)
    check_turn(request, kind, at=at)
    if kind in {AnswerKind.PROOF_WANTED, AnswerKind.REFUSED} and decisions:
        given = {"reason": decisions[-1].reason, **given}
    words = words_of(kind, given, at=at)
    policy = workspace.policy(at)
    contact = policy.contact or mail_server(workspace.connections(settings.MAIL)).sender
    return request, render(kind, request, words, policy=policy, contact=contact, language=language or request.language)


def prepare(
    before: Answer | None, letter: Letter, request: Request, kind: AnswerKind, number: int, *, at: datetime, tenant: str | None = None
) -> Answer:
    """The answer with this text, as it will be stored in `prepared`."""
    if before is not None:
        return before.model_copy(update={"sha256": letter.sha256})
    values = {"request": request.id, "kind": kind, "number": number, "tenant": tenant, "state": AnswerState.PREPARED}
    return Answer.model_validate({**values, "message_id": None, "sha256": letter.sha256, "prepared_at": at})


def _done(answer: Answer) -> bool:
    """Whether it was sent; False when it is to be sent now. Raises AnswerInDoubt and AnswerRefused for what only a person can settle."""
    if answer.state is AnswerState.SENDING:
        raise _in_doubt(answer)
    if answer.state is AnswerState.REFUSED:
        raise _refused(answer)
    return answer.state is AnswerState.SENT


def _address_of(workspace: Workspace, request: Request, *, by: str, at: datetime) -> str:
    key = settings.request_key(workspace.connections(settings.CONTROL))
    emails = show_identifiers(workspace.control, request.id, by=by, request_key=key, at=at).get("email")
    if not emails:
        raise NoAddress(
            f"Request {request.id} has no e-mail address.",
            fix=f"Answer by letter: `lethe request answer {request.id} --kind KIND --print FILE`, then `lethe request answered`.",
        )
    return emails[0]


def _send(
    workspace: Workspace, server: MailServer, answer: Answer, letter: Letter, to: str, *, at: datetime, attached: Sequence[Attachment] = ()
) -> Sent:
    policy = workspace.policy(at)
    sender = address(server.sender, name=server.name or policy.company)
    answer = answer.model_copy(update={"message_id": message_id(reference(answer), sender)})
    contact = address(policy.contact or server.sender)
    mail = envelope(letter, sender=sender, recipient=address(to), reply_to=contact, reference=reference(answer), at=at, attached=attached)
    engine = workspace.control
    with engine.begin() as connection:
        store_prepared(connection, answer, at=at)
    sending = answer.model_copy(update={"state": AnswerState.SENDING})

    def announce() -> None:
        with engine.begin() as connection:
            if not update_answer(connection, sending, was=AnswerState.PREPARED):
                raise _in_doubt(answer)

    try:
        reply = deliver(server, mail, before_text=announce)
    except Unreachable:
        with engine.begin() as connection:
            append(connection, ANSWER_DEFERRED, evidence(answer), run=answer.request, at=at)
        raise
    return _settled(engine, answer, server, reply, at=at)


def _settled(engine: Engine, answer: Answer, server: MailServer, reply: Reply, *, at: datetime) -> Sent:
    """Stores what the server said, and its record, in one transaction."""
    to, kind = {
        Outcome.TAKEN: (AnswerState.SENT, ANSWER_SENT),
        Outcome.DEFERRED: (AnswerState.PREPARED, ANSWER_DEFERRED),
        Outcome.REFUSED: (AnswerState.REFUSED, ANSWER_REFUSED),
        Outcome.UNKNOWN: (AnswerState.SENDING, ANSWER_IN_DOUBT),
    }[reply.outcome]
    ended = answer.model_copy(update={"state": to, "sent_at": at if to is AnswerState.SENT else None})
    with engine.begin() as connection:
        if not settle_answer(connection, ended, out_of=(AnswerState.SENDING, AnswerState.PREPARED), record=kind, at=at, code=reply.code):
            raise _in_doubt(answer)
    if reply.outcome is Outcome.TAKEN:
        return Sent(answer=ended, already=False)
    if reply.outcome is Outcome.UNKNOWN:
        raise _in_doubt(answer)
    if reply.outcome is Outcome.REFUSED:
        raise _refused(answer)
    raise Unreachable(
        f"The mail server of connection {server.connection.id!r} put an answer off{f' (code {reply.code})' if reply.code else ''}.",
        fix="Nothing was sent. Try again later.",
    )


def _in_doubt(answer: Answer) -> AnswerInDoubt:
    return AnswerInDoubt(
        f"Nobody knows whether answer {reference(answer)} was sent: its sending was cut off.",
        fix=f"Look for that message id at the mail server, then: `lethe request answered {answer.request} --kind {answer.kind} "
        f"--number {answer.number}` with --sent or --send-again.",
    )


def _refused(answer: Answer) -> AnswerRefused:
    return AnswerRefused(
        f"The mail server refused answer {reference(answer)}: nobody got it.",
        fix=f"Mend what it refused, or answer by letter; then `lethe request answered {answer.request} --kind {answer.kind} "
        f"--number {answer.number}` with --send-again or --sent.",
    )
