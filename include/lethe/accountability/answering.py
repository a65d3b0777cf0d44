"""Answers a request for the list of processors: with the current public list, by mail, once. Nobody has to prove who they are for it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from lethe.accountability.listing import Drafted, draft
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import NAME, files_of
from lethe.control.answers import Answer, AnswerKind
from lethe.control.requests import UNDECIDED, Request, RequestKind, RequestState, list_requests, request_of
from lethe.errors import RequestRefused, UntrueList
from lethe.subjects.answers import Sent, send_answer
from lethe.subjects.answers.by_hand import print_answer
from lethe.subjects.answers.message import Attachment
from lethe.subjects.identity import decide
from lethe.subjects.requests import move_on
from lethe.workspace import Workspace

KIND = AnswerKind.PROCESSOR_LIST
_MEDIA = {"pdf": "application/pdf", "csv": "text/csv", "json": "application/json"}
_OPEN = UNDECIDED | {RequestState.ACCEPTED, RequestState.LOCATED}


def waiting(workspace: Workspace) -> tuple[str, ...]:
    """The requests for the list that are not answered, the one due first comes first."""
    with workspace.control.connect() as control:
        return tuple(r.id for r in list_requests(control) if r.kind is RequestKind.PROCESSOR_LIST and r.state in _OPEN)


def current(workspace: Workspace, *, at: datetime) -> Drafted:
    """The list as of today that may be given out. Raises UntrueList when the register's check finds anything, and what `draft` raises."""
    drafted = draft(workspace, at=at)
    if drafted.findings:
        raise UntrueList(
            f"The register has {len(drafted.findings)} findings: its list is given to nobody.",
            fix="`lethe check` shows them. Mend the register, then answer; what was sent is not sent twice.",
        )
    return drafted


def answer_list(
    workspace: Workspace, request_id: str, *, by: str, at: datetime, channel: str = "credentials", drafted: Drafted | None = None
) -> Sent | None:
    """Sends the current list, and takes the request to `answered`; None when it was answered before. `drafted`: of `current`, for many requests.

    That no identity is needed is recorded as the decision, which deletes proofs that were sent all the same. Raises RequestRefused for
    another kind of request or a refused one, UntrueList, NoAddress (`print_list`), and what `send_answer` raises.
    """
    request = _request(workspace, request_id)
    if request.state in {RequestState.ANSWERED, RequestState.CLOSED}:
        return None
    drafted = drafted or current(workspace, at=at)
    request = _decided(workspace, request, by=by, at=at, channel=channel)
    attached = attachments(drafted, request.language.value)
    sent = send_answer(workspace, request_id, KIND.value, words=words(drafted, attached), by=by, at=at, attached=attached)
    with workspace.control.begin() as control:
        move_on(control, request_id, RequestState.ANSWERED, by=by, at=at)
    return sent


def posted(workspace: Workspace, request_id: str, *, by: str, at: datetime) -> None:
    """Takes a request to `answered` whose letter was posted, as `settle` says; one that is there already stays."""
    with workspace.control.begin() as control:
        if request_of(control, request_id).state in {RequestState.ACCEPTED, RequestState.LOCATED}:
            move_on(control, request_id, RequestState.ANSWERED, by=by, at=at)


def print_list(workspace: Workspace, request_id: str, *, file: Path, by: str, at: datetime) -> Answer:
    """Writes the letter to a new file and the list's files beside it, for a request without an e-mail address. Raises as `answer_list` does."""
    drafted = current(workspace, at=at)
    request = _decided(workspace, _request(workspace, request_id), by=by, at=at, channel="credentials")
    attached = attachments(drafted, request.language.value)
    answer = print_answer(workspace, request_id, KIND.value, file=file, words=words(drafted, attached), by=by, at=at)
    for each in attached:
        (file.parent / each.name).write_bytes(each.content)
    return answer


def attachments(drafted: Drafted, language: str) -> tuple[Attachment, ...]:
    """What goes with the answer: the pages in the language of the request, and the two files for programs. Public files only."""
    made = files_of(drafted.listed, Audience.PUBLIC)
    names = {f"{NAME}.{language}.pdf": "pdf", f"{NAME}.csv": "csv", f"{NAME}.json": "json"}
    day = drafted.listed.as_of
    return tuple(Attachment(name=f"{NAME}-{day}.{kind}", media_type=_MEDIA[kind], content=made[name]) for name, kind in names.items())


def words(drafted: Drafted, attached: tuple[Attachment, ...]) -> dict[str, Any]:
    """What the answer says of the list and of the files beside it."""
    return {
        "as_of": drafted.listed.as_of,
        "processors": len(drafted.listed.processors),
        "recipients": len(drafted.listed.recipients),
        "files": [{"name": a.name, "size": len(a.content), "sha256": hashlib.sha256(a.content).hexdigest()} for a in attached],
    }


def _request(workspace: Workspace, request_id: str) -> Request:
    with workspace.control.connect() as control:
        request = request_of(control, request_id)
    if request.kind is not RequestKind.PROCESSOR_LIST:
        raise RequestRefused(
            f"Request {request.id} is of kind {request.kind}: the list of processors is no answer to it.",
            fix="The DAG `subject_export` answers requests for a person's data; `lethe request answer --kind` sends other answers.",
        )
    if request.state is RequestState.REFUSED:
        raise RequestRefused(f"Request {request.id} was refused.", fix=f"`lethe request show {request.id}` shows when and by whom.")
    return request


def _decided(workspace: Workspace, request: Request, *, by: str, at: datetime, channel: str) -> Request:
    if request.state not in UNDECIDED:
        return request
    return decide(workspace, request.id, decision="accept", reason="no_identity_needed", by=by, channel=channel, at=at).request
