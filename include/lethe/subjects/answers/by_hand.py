"""What a person does about an answer: prints it for a letter, and says what became of one that nobody else can tell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from lethe.control.answers import ANSWER_PRINTED, ANSWERED, Answer, AnswerKind, AnswerState, answering, settle_answer, store_prepared
from lethe.errors import RequestRefused
from lethe.subjects.answers.sending import compose, prepare, stored
from lethe.subjects.answers.words import answer_kind
from lethe.subjects.requests import check_login
from lethe.workspace import Workspace


def print_answer(
    workspace: Workspace,
    request_id: str,
    kind: str,
    *,
    file: Path,
    words: Mapping[str, Any],
    by: str,
    at: datetime,
    number: int = 1,
) -> Answer:
    """Writes the text of an answer to a new file that only its owner reads; the answer stays `prepared` until `settle` says it was sent.

    No identifier is opened. Raises RequestRefused when the file is there or cannot be written, or the answer was sent, refused or is in doubt.
    """
    chosen = answer_kind(kind)
    check_login(by)
    if chosen is AnswerKind.FORWARDED:
        raise RequestRefused("What is forwarded goes to a tenant, not to the person.", fix="Choose another kind.")
    with answering(workspace.control, request_id):
        before = stored(workspace.control, request_id, chosen, number)
        if before is not None and before.state is not AnswerState.PREPARED:
            raise RequestRefused(f"This answer is {before.state} already.", fix="Give another --number for one more of its kind.")
        request, letter = compose(workspace, request_id, chosen, words, at=at)
        answer = prepare(before, letter, request, chosen, number, at=at)
        _write(file, f"{letter.subject}\n\n{letter.text}")
        with workspace.control.begin() as connection:
            store_prepared(connection, answer, record=ANSWER_PRINTED, at=at, by=by)
    return answer


def settle(engine: Engine, request_id: str, kind: str, *, sent: bool, by: str, at: datetime, number: int = 1) -> Answer:
    """Says of an answer that it was sent (a letter that was posted, a mail that a server has), or that it is to be sent again.

    Raises RequestRefused when nothing was prepared, it was sent already, or it is prepared and waits to be sent anyway; UnknownName.
    """
    chosen = answer_kind(kind)
    check_login(by)
    with answering(engine, request_id):
        before = stored(engine, request_id, chosen, number)
        if before is None:
            raise RequestRefused("No such answer was prepared.", fix=f"`lethe request show {request_id}` lists them.")
        if before.state is AnswerState.SENT:
            raise RequestRefused("This answer was sent already.", fix="Give another number for one more of its kind.")
        if not sent and before.state is AnswerState.PREPARED:
            raise RequestRefused("This answer was not sent, and the next try sends it.", fix="`lethe request answer` tries now.")
        to = AnswerState.SENT if sent else AnswerState.PREPARED
        after = before.model_copy(update={"state": to, "sent_at": at if sent else None})
        with engine.begin() as connection:
            told = {"by": by, "said": "sent" if sent else "send_again", "was": before.state.value}
            if not settle_answer(connection, after, out_of=(before.state,), record=ANSWERED, at=at, **told):
                raise RequestRefused("Somebody else settled this answer meanwhile.", fix=f"`lethe request show {request_id}` shows how.")
    return after


def _write(file: Path, text: str) -> None:
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as opened:
            opened.write(text)
    except (OSError, ValueError):
        raise RequestRefused("The file for the answer is there already, or cannot be written.", fix="Give a new file.") from None
