"""Answers as texts: what must stand in each, in both languages, and what must never."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from lethe.connections import Connection, parse, require_mail_tls
from lethe.control.answers import AnswerKind
from lethe.control.requests import IdentityLevel, Language, Request, RequestChannel, RequestKind, RequestState
from lethe.errors import IdentifierRefused, RequestRefused, Unreachable
from lethe.policy.load import load_policies
from lethe.settings import SHIPPED
from lethe.subjects.answers.dates import written_day, written_instant, written_size
from lethe.subjects.answers.message import Attachment, address, envelope
from lethe.subjects.answers.render import Letter, render
from lethe.subjects.answers.smtp import mail_server
from lethe.subjects.answers.words import check_turn, words_of
from lethe.subjects.requests import REASONS

AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
POLICY = load_policies(SHIPPED).in_force(AT)
ID = "R-2026-7K3M9QWX"
PART: dict[str, Any] = {"link": "https://objects.example.com/b/part-1.zip?X-Amz-Signature=s3cret", "size": 12_345_678, "sha256": "ab" * 32}
BUNDLE: dict[str, Any] = {"parts": [PART], "works_until": "2026-12-10T13:05:00+00:00"}
EXTRA: dict[str, list[dict[str, Any]]] = {
    "proof_wanted": [{"reason": r} for r in sorted(REASONS["ask_more"][1])] + [{"reason": "proof_missing", "answer_by": "2026-12-01"}],
    "refused": [{"reason": r} for r in sorted(REASONS["refuse"][1])],
    "bundle_ready": [BUNDLE, {**BUNDLE, "parts": [PART, PART], "left_out": ["secrets", "other_persons"]}],
    "instruction_ready": [BUNDLE, {**BUNDLE, "left_out": ["secrets"]}],
    "processor_list": [
        {"as_of": "2026-11-10", "processors": 6, "recipients": 3, "files": [{"name": "processors.pdf", "size": 1234, "sha256": "cd" * 32}]}
    ],
}
REMEDIES = {
    "fr": ("article 77 du RGPD", "article 79 du RGPD", "tribunal", "CNIL", "3 Place de Fontenoy, TSA 80715, 75334 Paris Cedex 07", "www.cnil.fr/fr/plaintes"),
    "en": ("Article 77 of the GDPR", "Article 79 of the GDPR", "court", "CNIL", "3 Place de Fontenoy, TSA 80715, 75334 Paris Cedex 07", "www.cnil.fr/fr/plaintes"),
}  # fmt: skip


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "id": ID, "kind": RequestKind.ACCESS, "channel": RequestChannel.EMAIL, "language": Language.FR,
        "received_at": datetime(2026, 10, 31, 23, 30, tzinfo=UTC), "identity": IdentityLevel.VERIFIED, "state": RequestState.LOCATED,
        "reply_due_on": date(2026, 11, 6), "legal_due_on": date(2026, 12, 1), "extended_to": None, "tenant": None, "closed_at": None,
        "keys_destroyed_at": None,
    }  # fmt: skip
    return Request.model_validate({**values, **changes})


def letter(kind: str, language: str = "fr", given: dict[str, Any] | None = None, /, **changes: Any) -> Letter:
    chosen = AnswerKind(kind)
    words = words_of(chosen, given if given is not None else EXTRA.get(kind, [{}])[0], at=AT)
    return render(chosen, request(**changes), words, policy=POLICY, contact="privacy@spotrak.com", language=Language(language))


EVERY = [(kind, language, words) for kind, language in itertools.product(AnswerKind, Language) for words in EXTRA.get(kind, [{}])]


@pytest.mark.parametrize(("kind", "language", "words"), EVERY)
def test_every_answer_is_whole_in_its_language_and_has_nothing_of_the_person(kind: str, language: str, words: dict[str, Any]) -> None:
    made = letter(kind, language, words)
    assert ID in made.subject and ID in made.text and "SPOTRAK LLC" in made.text
    addresses = set(re.findall(r"[^\s@]+@[^\s@,.]+\.\w+", made.subject + made.text))
    assert addresses == {"privacy@spotrak.com"} and "@" not in made.subject
    assert "None" not in made.text and "{" not in made.text and "\n\n\n" not in made.text and "  " not in made.text
    assert made.text.startswith("Bonjour,\n" if language == "fr" else "Hello,\n")
    if language == "fr":
        assert not re.search(r"[^\u00a0\s/][:;?!»](\s|$)| [:;?!»]", made.text.replace("https:", "")), "French punctuation"
        assert " the " not in made.text and "1er novembre 2026" in made.text
    else:
        assert " le " not in made.text and "1 November 2026" in made.text
    assert letter(kind, language, words) == made and "s3cret" not in repr(made)


@pytest.mark.parametrize(("language", "proof"), [("fr", "preuve d’identité"), ("en", "proof of identity")])
def test_who_puts_a_question_is_asked_for_no_proof_and_told_of_no_deadline_of_the_law(language: str, proof: str) -> None:
    asked, requested = (letter("received", language, kind=kind).text for kind in ("question", "access"))
    assert "question" in asked and "6 " in asked and "12" not in asked.replace(ID, "") and proof not in asked
    assert proof in requested and ("RGPD" in requested or "GDPR" in requested)
    assert "\n\n\n" not in asked and ID in asked


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("kind", ["refused", "bundle_ready", "nothing_held"])
def test_every_refusal_and_partial_answer_names_the_authority_and_the_court(kind: str, language: str) -> None:
    for words in EXTRA.get(kind, [{}]):
        assert all(needed in letter(kind, language, words).text for needed in REMEDIES[language])
    assert "CNIL" not in letter("forwarded", language).text


@pytest.mark.parametrize("language", ["fr", "en"])
def test_each_reason_has_words_of_its_own_and_none_says_whether_data_is_held(language: str) -> None:
    for kind in ("proof_wanted", "refused"):
        texts = [letter(kind, language, words).text for words in EXTRA[kind]]
        assert len(set(texts)) == len(texts)
        said = "Ce message ne dit pas si" if kind == "proof_wanted" else "Ce refus ne dit pas si"
        english = "This message does not say whether" if kind == "proof_wanted" else "This refusal does not say whether"
        assert all((said if language == "fr" else english) in text for text in texts)
        assert all(words["reason"] not in text for words, text in zip(EXTRA[kind], texts, strict=True))


def test_a_bundle_s_answer_says_where_until_when_how_to_check_and_what_is_left_out() -> None:
    french, english = letter("bundle_ready"), letter("bundle_ready", "en", EXTRA["bundle_ready"][1])
    assert PART["link"] in french.text and "12,3 Mo" in french.text and "ab" * 32 in french.text and "BagIt" in french.text
    assert "10 décembre 2026 à 14 h 05 (heure de Paris)" in french.text and "mot de passe" not in french.text
    assert "10 December 2026 at 14:05 (Paris time)" in english.text and "File 2 of 2 (12.3 MB)" in english.text
    assert "digest of your password" in english.text and "Article 15(4)" in english.text


@pytest.mark.parametrize("language", ["fr", "en"])
def test_what_customers_store_is_told_in_the_same_words_to_everybody(language: str) -> None:
    said = "S’il en existe qui vous concernent" if language == "fr" else "If there is any about you"
    assert said in letter("nothing_held", language).text and said in letter("bundle_ready", language).text
    other = letter("nothing_held", language, id="R-2026-AAAAAAAA").text
    assert other.replace("R-2026-AAAAAAAA", ID) == letter("nothing_held", language).text


def test_an_extended_deadline_is_the_one_that_is_told_and_every_kind_of_request_has_words() -> None:
    assert "1er décembre 2026" in letter("received").text
    later = letter("received", extended_to=date(2027, 2, 1)).text
    assert "1er février 2027" in later and "décembre" not in later
    for kind in set(RequestKind) - {RequestKind.TENANT_INSTRUCTION}:
        assert len({letter("received", language, kind=kind).text for language in Language}) == 2


def test_a_policy_without_the_authority_s_address_names_the_authority_all_the_same() -> None:
    bare = POLICY.model_copy(update={"authority_address": None, "authority_page": None})
    words = words_of(AnswerKind.REFUSED, {"reason": "not_proven"}, at=AT)
    text = render(AnswerKind.REFUSED, request(), words, policy=bare, contact="a@b.example", language=Language.EN).text
    assert "(CNIL) (Article 77" in text and "Fontenoy" not in text and "None" not in text


BAD_WORDS: list[tuple[str, dict[str, Any], str]] = [
    ("proof_wanted", {}, "reason"),
    ("proof_wanted", {"reason": "not_proven"}, "reason"),
    ("refused", {"reason": "canary"}, "reason"),
    ("received", {"canary": 1}, "does not have"),
    ("bundle_ready", {}, "parts, works_until"),
    ("bundle_ready", {**BUNDLE, "parts": []}, "parts"),
    ("bundle_ready", {**BUNDLE, "works_until": "2026-12-10T13:05:00"}, "works_until"),
    ("bundle_ready", {**BUNDLE, "works_until": "2026-11-10T09:00:00+00:00"}, "no longer"),
    ("bundle_ready", {**BUNDLE, "left_out": ["canary"]}, "left_out"),
    *[
        ("bundle_ready", {**BUNDLE, "parts": [{**PART, "link": link}]}, "parts")
        for link in ("http://canary.example.com/x", "https://canary.example.com/a b", "https://canary.example.com/\nBcc: x", "file:///canary",
                     "https:///canary", "https://canary.example.com/é", "https://[canary/x", "", "https://canary.example.com/" + "a" * 4000)
    ],
    ("bundle_ready", {**BUNDLE, "parts": [{**PART, "sha256": "canary"}]}, "parts"),
    ("bundle_ready", {**BUNDLE, "parts": [{**PART, "size": 0}]}, "parts"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "names"), BAD_WORDS)
def test_words_that_are_not_right_are_refused_by_their_field_alone(kind: str, words: dict[str, Any], names: str) -> None:
    with pytest.raises(RequestRefused, match=names) as refused:
        words_of(AnswerKind(kind), words, at=AT)
    assert "canary" not in str(refused.value) and refused.value.fix


def test_a_link_to_this_machine_may_be_plain_and_to_another_may_not() -> None:
    assert (
        "http://127.0.0.1:9000/b" in letter("bundle_ready", "fr", {**BUNDLE, "parts": [{**PART, "link": "http://127.0.0.1:9000/b"}]}).text
    )


DECIDED = {"accepted", "located", "answered"}
TURNS: dict[str, set[Any]] = {
    "received": set(RequestState) - {RequestState.CLOSED},
    "proof_wanted": {"more_asked"},
    "refused": {"refused"},
    **dict.fromkeys(("bundle_ready", "nothing_held", "forwarded", "instruction_ready", "processor_list"), DECIDED),
}


@pytest.mark.parametrize("kind", list(AnswerKind))
def test_each_answer_is_given_in_its_turn_only(kind: AnswerKind) -> None:
    whose = {"kind": "tenant_instruction", "tenant": "42"} if kind == "instruction_ready" else {}
    whose = {"kind": "processor_list"} if kind == "processor_list" else whose
    for state in RequestState:
        asked = request(state=state, closed_at=AT if state == "closed" else None, **whose)
        if state in TURNS[kind]:
            check_turn(asked, kind, at=AT)
            with pytest.raises(RequestRefused, match="before it came in"):
                check_turn(asked, kind, at=datetime(2026, 1, 1, tzinfo=UTC))
        else:
            with pytest.raises(RequestRefused, match=ID):
                check_turn(asked, kind, at=AT)


@pytest.mark.parametrize("kind", ["bundle_ready", "nothing_held", "forwarded", "instruction_ready"])
def test_nothing_is_told_of_data_before_an_identity_and_a_tenant_gets_a_tenant_s_answer(kind: str) -> None:
    instruction = {"kind": "tenant_instruction", "tenant": "42"} if kind == "instruction_ready" else {}
    other = {} if kind == "instruction_ready" else {"kind": "tenant_instruction", "tenant": "42"}
    check_turn(request(**instruction), AnswerKind(kind), at=AT)
    with pytest.raises(RequestRefused, match="Nobody has found who asks"):
        check_turn(request(identity="claimed", **instruction), AnswerKind(kind), at=AT)
    with pytest.raises(RequestRefused, match="is not answered by"):
        check_turn(request(**other), AnswerKind(kind), at=AT)


def test_the_list_of_processors_needs_no_identity_and_answers_its_own_kind_of_request_alone() -> None:
    check_turn(request(kind="processor_list", identity="none", state="accepted"), AnswerKind.PROCESSOR_LIST, at=AT)
    for kind in set(RequestKind) - {RequestKind.PROCESSOR_LIST}:
        with pytest.raises(RequestRefused, match="is not answered by"):
            check_turn(request(kind=kind), AnswerKind.PROCESSOR_LIST, at=AT)
    french = letter("processor_list", kind="processor_list")
    assert "10 novembre 2026" in french.text and "processors.pdf (1,2 ko)" in french.text and "cd" * 32 in french.text


def test_files_beside_an_answer_are_there_byte_for_byte_and_the_same_answer_is_the_same_mail() -> None:
    sender = address("privacy@spotrak.com")
    files = (
        Attachment(name="processors.pdf", media_type="application/pdf", content=bytes(range(256))),
        Attachment(name="processors.csv", media_type="text/csv", content="é;\r\n".encode()),
    )
    made = [
        envelope(letter("received"), sender=sender, recipient=sender, reply_to=sender, reference=f"{ID}.received.1", at=AT, attached=files)
        for _ in range(2)
    ]
    assert made[0].content == made[1].content and made[0].content.isascii()
    mail: Any = message_from_bytes(made[0].content, policy=default)
    got = {a.get_filename(): (a.get_content_type(), a.get_payload(decode=True)) for a in mail.iter_attachments()}
    assert got == {f.name: (f.media_type, f.content) for f in files}
    body = mail.get_body(("plain",))
    assert body.get_content().replace("\r\n", "\n").strip() == letter("received").text.strip() and body["Content-Language"] == "fr"


@pytest.mark.parametrize(
    ("given", "language", "written"),
    [
        (date(2026, 11, 1), "fr", "1er novembre 2026"),
        (date(2027, 8, 2), "fr", "2 août 2027"),
        (date(2026, 11, 1), "en", "1 November 2026"),
        (date(2026, 2, 28), "en", "28 February 2026"),
    ],
)
def test_days_are_written_out(given: date, language: str, written: str) -> None:
    assert written_day(given, language) == written


def test_instants_are_those_of_the_policy_s_zone_and_sizes_are_rounded_once() -> None:
    at = datetime(2026, 3, 28, 23, 5, tzinfo=UTC)
    assert written_instant(at, "fr", zone="Europe/Paris") == "29 mars 2026 à 0 h 05 (heure de Paris)"
    assert written_instant(at, "fr", zone="Europe/Amsterdam") == "29 mars 2026 à 0 h 05 (heure d’Amsterdam)"
    assert written_instant(at, "en", zone="America/New_York") == "28 March 2026 at 19:05 (New York time)"
    assert written_instant(at, "fr", zone="UTC").endswith("(UTC)") and written_instant(at, "en", zone="UTC").endswith("(UTC)")
    sizes = {999: ("999 octets", "999 bytes"), 1000: ("1,0 ko", "1.0 kB"), 999_960: ("1,0 Mo", "1.0 MB"), 2 * 1024**3: ("2,1 Go", "2.1 GB")}
    assert {n: (written_size(n, "fr"), written_size(n, "en")) for n in sizes} == sizes


def test_a_header_is_one_line_whatever_is_in_an_address_or_a_name() -> None:
    for bad in (
        "a@x.org\r\nBcc: canary@x.org",
        "a@x.org\nBcc:canary",
        "canary@x.org, b@x.org",
        "",
        "canary",
        "canary@x",
        "a\u2028canary@x.org",
    ):
        with pytest.raises(IdentifierRefused) as refused:
            address(bad)
        assert "canary" not in str(refused.value)
    with pytest.raises(IdentifierRefused):
        address("a@x.org", name="Spotrak\r\nBcc: b@x.org")
    plain = letter("received")
    for to, wanted, utf8 in (
        ("é@bücher.example", "é@xn--bcher-kva.example", True),
        ("a@bücher.example", "a@xn--bcher-kva.example", False),
        ("a>b,c@x.org", '"a>b,c"@x.org', False),
        ('"a"@x.org', "a@x.org", False),
    ):
        sender = address("privacy@spotrak.com", name="SPOTRAK LLC")
        mail = envelope(plain, sender=sender, recipient=address(to), reply_to=sender, reference=f"{ID}.received.1", at=AT)
        assert (mail.recipient, mail.utf8) == (wanted, utf8)
        head = mail.content.split(b"\r\n\r\n")[0]
        assert len(re.findall(rb"(?m)^(To|Bcc|Cc):", head)) == 1 and f"Message-ID: <{ID}.received.1@spotrak.com>".encode() in head
        assert utf8 or mail.content.isascii()


@pytest.mark.parametrize(
    ("host", "extra", "allowed"),
    [
        ("mail.example.com", {}, True),
        ("mail.example.com", {"disable_ssl": True}, True),
        ("mail.example.com", {"disable_tls": True}, True),
        ("mail.example.com", {"disable_ssl": "False", "disable_tls": "true"}, True),
        ("mail.example.com", {"disable_ssl": True, "disable_tls": True}, False),
        ("mail.example.com", {"disable_ssl": "true", "disable_tls": "1"}, False),
        ("mail.example.com", {"ssl_context": "none"}, False),
        ("10.0.0.5", {"disable_ssl": True, "disable_tls": True}, False),
        ("127.0.0.1", {"disable_ssl": True, "disable_tls": True}, True),
        ("::1", {"disable_ssl": True, "disable_tls": True}, True),
    ],
)
def test_a_mail_server_elsewhere_is_reached_over_tls_or_not_at_all(host: str, extra: dict[str, Any], allowed: bool) -> None:
    connection = Connection(id="lethe_smtp", kind="smtp", host=host, port=587, extra={"from_email": "a@x.org", **extra})
    if allowed:
        require_mail_tls(connection)
        assert mail_server(connection).sender == "a@x.org"
    else:
        with pytest.raises(Unreachable, match="without TLS"):
            mail_server(connection)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("smtp://localhost:25", "no address"),
        ("smtp:///?from_email=a%40x.org", "no host"),
        ("smtp://localhost:25/?from_email=a%40x.org&auth_type=oauth2", "basic"),
        ("smtp://localhost:25/?from_email=a%40x.org&timeout=canary", "seconds"),
        ("smtp://localhost:25/?from_email=a%40x.org&timeout=-1", "seconds"),
    ],
)
def test_a_connection_that_cannot_send_says_why(text: str, names: str) -> None:
    with pytest.raises(Unreachable, match=names) as refused:
        mail_server(parse("lethe_smtp", text))
    assert "canary" not in str(refused.value)
    assert mail_server(parse("lethe_smtp", "smtp://localhost:25/?from_email=Spotrak%20%3Ca%40x.org%3E")).name == "Spotrak"
