"""`lethe request answer|answered`: an answer goes out once, by mail or as a letter; and what became of it."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lethe.cli.output import AsJson, print_json, say
from lethe.cli.request_input import read_small, refuse_extra
from lethe.cli.request_list import answered_by_hand

_Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id, such as R-2026-7K3M9QWX.")]
_By = Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")]
_Number = Annotated[int, typer.Option("--number", help="Which answer of that kind, where there are several.")]


def answer(
    context: typer.Context,
    request_id: _Id,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="received, proof_wanted, refused, bundle_ready, nothing_held, instruction_ready. Left out: the list of processors, to who asked for it.",
        ),
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="A JSON file: what this answer says beside what the request says, such as the links of a bundle.")
    ] = None,
    number: _Number = 1,
    print_to: Annotated[Path | None, typer.Option("--print", help="A new file for the text, to answer by letter; nothing is sent.")] = None,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Answers a request by e-mail, once, or prints the answer; a request for the list of processors with that list."""
    from lethe.accountability.answering import KIND, answer_list, print_list
    from lethe.instants import now
    from lethe.subjects.answers import send_answer
    from lethe.subjects.answers.by_hand import print_answer
    from lethe.workspace import Workspace

    refuse_extra(context)
    given, who = _words(words), by or getpass.getuser()
    with Workspace.open() as workspace:
        if kind in {None, KIND.value} and print_to is not None:
            made = print_list(workspace, request_id, file=print_to, by=who, at=now())
            said = "is printed, its files lie beside it; `lethe request answered` with --sent says that it was posted"
        elif kind in {None, KIND.value}:
            listed = answer_list(workspace, request_id, by=who, at=now())
            if listed is None:
                print_json({"request": request_id, "already": True}) if as_json else say(f"Request {request_id} was answered already.")
                return
            made, said = listed.answer, "was sent already; nothing was sent now" if listed.already else "is sent"
        elif print_to is not None:
            made = print_answer(workspace, request_id, kind, file=print_to, words=given, by=who, at=now(), number=number)
            said = "is printed; `lethe request answered` with --sent says that it was posted"
        else:
            sent = send_answer(workspace, request_id, kind, words=given, by=who, at=now(), number=number)
            made, said = sent.answer, "was sent already; nothing was sent now" if sent.already else "is sent"
    print_json(made) if as_json else say(f"The answer {made.kind} to request {made.request} {said}.")


def answered(
    context: typer.Context,
    request_id: _Id,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Of an answer of Lethe's, as `show` lists them; none: it was answered otherwise.")
    ] = None,
    sent: Annotated[bool, typer.Option("--sent", help="It was sent: the mail server has it, or the letter was posted.")] = False,
    send_again: Annotated[bool, typer.Option("--send-again", help="It was not sent, or may be sent twice: the next try sends it.")] = False,
    number: _Number = 1,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Says that a question, or a request, was answered by hand; with --kind, what became of an answer in doubt, refused, or printed."""
    from lethe.accountability.answering import KIND, posted
    from lethe.errors import RequestRefused
    from lethe.instants import now
    from lethe.subjects.answers.by_hand import settle
    from lethe.workspace import Workspace

    refuse_extra(context)
    if kind is None and not (sent or send_again or number != 1):
        answered_by_hand(request_id, by, as_json)
        return
    if kind is None:
        raise RequestRefused("It is not said which answer is meant.", fix="Give its --kind, as `lethe request show` lists them.")
    if sent == send_again:
        raise RequestRefused("An answer was sent, or is to be sent again.", fix="Give one of --sent and --send-again.")
    with Workspace.open() as workspace:
        who, at = by or getpass.getuser(), now()
        made = settle(workspace.control, request_id, kind, sent=sent, by=who, at=at, number=number)
        if sent and made.kind is KIND:
            posted(workspace, request_id, by=who, at=at)
    print_json(made) if as_json else say(f"The answer {made.kind} to request {made.request} is {made.state}.")


def _words(file: Path | None) -> dict[str, Any]:
    from lethe.errors import RequestRefused

    if file is None:
        return {}
    try:
        given = json.loads(read_small(str(file)))
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise RequestRefused("The words of an answer are not a JSON object.", fix='Write them as {"reason": "proof_missing"}.')
    return given
