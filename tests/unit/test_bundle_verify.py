"""What `verify` finds in a bundle that was tampered with, and that it finds nothing in one that was not."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import pytest

from helpers.bundling import MADE_AT, REQUEST, Kept, bundle, file, row, section
from lethe.errors import BundleDiffers
from lethe.subjects.bundle.bag import BagWriter
from lethe.subjects.bundle.verify import contents, problems

NOTES = section(text="text", amount="numeric")
FOLDER = f"lethe-{REQUEST}-1"


def body() -> bytes:
    rows = [row(text="été", amount=Decimal("1.50"), file=file("été.txt", b"abc")), row(id=2, text="b", amount=None)]
    return bundle((NOTES, rows), bodies={"été.txt": b"abc"})[1][0]


BODY = body()


def found(made: bytes) -> set[tuple[str, str | None]]:
    return {(p.what, p.path.removeprefix(f"{FOLDER}/") if p.path else None) for p in problems(io.BytesIO(made))}


def rewritten(change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> bytes:
    """The bundle written again by the same writer's rules, each entry (name in the ZIP, body) as `change` wants it."""
    made = Kept()
    with zipfile.ZipFile(io.BytesIO(BODY)) as source:
        target = zipfile.ZipFile(cast(Any, Unseekable(made)), "w", zipfile.ZIP_DEFLATED)
        for info in source.infolist():
            for name, content in change(info.filename, source.read(info)):
                new = zipfile.ZipInfo(name, info.date_time)
                new.compress_type, new.external_attr = info.compress_type, info.external_attr
                target.writestr(new, content)
        target.close()
    return made.getvalue()


class Unseekable:
    def __init__(self, into: Any) -> None:
        self.write, self.flush = into.write, into.flush


def on(path: str, *instead: tuple[str, bytes]) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    """`instead` of the entry at `path`; the others as they are."""
    return lambda name, content: list(instead) if name == f"{FOLDER}/{path}" else [(name, content)]


def test_nothing_is_wrong_with_what_was_written_nor_when_written_again() -> None:
    assert found(BODY) == set()
    assert found(rewritten(lambda name, content: [(name, content)])) == set()


def test_no_byte_of_a_bundle_can_be_changed_that_changes_what_is_in_it() -> None:
    def entries(made: bytes) -> list[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            return [(info.orig_filename, archive.read(info)) for info in archive.infolist()]

    flipped = (BODY[:at] + bytes([BODY[at] ^ 0xFF]) + BODY[at + 1 :] for at in range(len(BODY)))
    silent = [made for made in flipped if not problems(io.BytesIO(made))]
    # Deflate has more than one stream for a text: a byte that only says where an equal piece stood before may say where another one did.
    assert len(silent) < 5 and all(entries(made) == entries(BODY) for made in silent)


def test_no_byte_can_be_added_or_cut() -> None:
    for made in (BODY + b"x", b"x" + BODY, BODY[:-1], BODY[:-30], BODY[: len(BODY) // 2], b""):
        assert problems(io.BytesIO(made))


JSON = "data/json/notes.json"
CHANGES: dict[str, tuple[Any, set[tuple[str, str | None]]]] = {
    "a changed file": (on(JSON, (f"{FOLDER}/{JSON}", b"[\n]\n")), {("changed", JSON), ("changed", "bag-info.txt")}),
    "a missing file": (on(JSON), {("missing", JSON), ("changed", "bag-info.txt")}),
    "a missing tag": (on("bag-info.txt"), {("missing", "bag-info.txt")}),
    "a missing manifest": (on("manifest-sha256.txt"), {("missing", "manifest-sha256.txt")}),
    "a missing tag manifest": (on("tagmanifest-sha256.txt"), {("missing", "tagmanifest-sha256.txt")}),
    "a manifest of nothing": (
        on("manifest-sha256.txt", (f"{FOLDER}/manifest-sha256.txt", b"nothing\n")),
        {("changed", "manifest-sha256.txt")},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_or_taken_away_is_named(name: str) -> None:
    change, expected = CHANGES[name]
    assert expected <= found(rewritten(change))


def test_an_added_a_renamed_and_a_doubled_file_are_named() -> None:
    def adding(to: str) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
        return lambda name, content: [(name, content), (to, content)] if name == f"{FOLDER}/{JSON}" else [(name, content)]

    assert ("added", "data/more.json") in found(rewritten(adding(f"{FOLDER}/data/more.json")))
    assert ("added", "more.txt") in found(rewritten(adding(f"{FOLDER}/more.txt")))
    assert {("missing", JSON), ("added", "data/json/other.json")} <= found(
        rewritten(lambda name, content: [(name.replace("notes.json", "other.json"), content)])
    )
    with pytest.warns(UserWarning, match="Duplicate"):
        assert ("double", JSON) in found(rewritten(adding(f"{FOLDER}/{JSON}")))


@pytest.mark.parametrize(
    "path", ["../x", "/x", f"{FOLDER}/../x", f"{FOLDER}/data/../../x", f"{FOLDER}//x", "other/x", f"{FOLDER}/a\\..\\x", f"{FOLDER}/c:x"]
)
def test_a_path_out_of_the_bag_is_named_even_when_the_manifest_has_it(path: str) -> None:
    made = rewritten(lambda name, content: [(name, content), (path, b"x")] if name.endswith(JSON) else [(name, content)])
    assert ("outside", path) in {(p.what, p.path) for p in problems(io.BytesIO(made))}


def test_a_manifest_cannot_vouch_for_itself() -> None:
    """Whoever changes a file and its line in the manifest has the tag manifest against them."""
    with zipfile.ZipFile(io.BytesIO(BODY)) as archive:
        manifest = archive.read(f"{FOLDER}/manifest-sha256.txt")
    made = rewritten(on("manifest-sha256.txt", (f"{FOLDER}/manifest-sha256.txt", manifest.replace(b"a", b"b"))))
    assert ("changed", "manifest-sha256.txt") in found(made)


def test_a_bag_packed_anew_by_another_tool_is_no_more_what_was_written() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BODY)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(f"{FOLDER}/", b"")
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert ("changed", None) in found(made.getvalue()) and not {w for w, _ in found(made.getvalue())} & {"missing", "outside", "double"}


@pytest.mark.parametrize("made", [b"", b"x" * 1000, b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_bag_is_no_bundle(made: bytes) -> None:
    assert found(made) == {("no bundle", None)}


def test_a_bag_that_counts_wrong_is_changed() -> None:
    kept = Kept()
    bag = BagWriter(kept, folder=FOLDER, made_at=MADE_AT)
    bag.add("data/a", b"abc")
    bag.finish([("Source-Organization", "x")])
    assert found(kept.getvalue()) == set()
    kept = Kept()
    bag = BagWriter(kept, folder=FOLDER, made_at=MADE_AT)
    bag.add("data/a", b"abc")
    bag._payload_bytes = 4
    bag.finish([])
    assert found(kept.getvalue()) == {("changed", "bag-info.txt")}


def test_a_bundle_with_zip64_entries_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    large = bytes(20_000)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 15_000)
    (made,) = bundle((NOTES, [row(text="a", file=file("large", large))]), bodies={"large": large})[1]
    assert found(made) == set()


def test_contents_are_the_rows_with_exact_numbers() -> None:
    rows = [row(text="a\u2028b", amount=Decimal("0.10")), row(id=2, text="[", amount=Decimal("1e400"))]
    (made,) = bundle((NOTES, rows), (section("other"), [row(id=10**5000)]))[1]
    (_, first), (_, second), (name, third) = contents(io.BytesIO(made))
    assert first == {"id": 1, "text": "a\u2028b", "amount": Decimal("0.10")} and str(first["amount"]) == "0.10"
    assert second["amount"] == 10**400 and (name, third) == ("other", {"id": 10**5000})


def test_contents_name_a_section_of_many_files_and_the_archived_one() -> None:
    kept = Kept()
    bag = BagWriter(kept, folder=FOLDER, made_at=MADE_AT)
    for n, name in enumerate(("notes.0001", "notes.0002", "notes.archive.0001", "notes.archive")):
        bag.add(f"data/json/{name}.json", json.dumps([{"id": n}]).replace("[", "[\n").replace("]", "\n]\n").encode())
    bag.finish([])
    named = [(s, r["id"]) for s, r in contents(io.BytesIO(kept.getvalue()))]
    assert named == [("notes", 0), ("notes", 1), ("notes.archive", 2), ("notes.archive", 3)]


def test_contents_of_what_is_no_bundle_are_refused_without_a_word_of_it() -> None:
    with pytest.raises(BundleDiffers):
        list(contents(io.BytesIO(b"canary")))
    kept = Kept()
    bag = BagWriter(kept, folder=FOLDER, made_at=MADE_AT)
    bag.add("data/json/notes.json", b"[\ncanary\n]\n")
    bag.finish([])
    with pytest.raises(BundleDiffers) as raised:
        list(contents(io.BytesIO(kept.getvalue())))
    assert "canary" not in str(raised.value)


def test_a_problem_does_not_print_a_name() -> None:
    assert "notes" not in repr(problems(io.BytesIO(rewritten(on(JSON)))))
