"""What the report of a whole night says of rows that are still there: who holds them back, what keeps them, who corrects them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.company import Company, Night, company_of, twelve_months
from helpers.purging import AS_OF, CUTOFF, world_of
from lethe.control.holds import add_hold
from lethe.instants import now
from lethe.retention.explaining import Explained, explain
from lethe.workspace import Workspace

OLD, YOUNG = CUTOFF - timedelta(days=30), CUTOFF + timedelta(days=30)
MESSAGES = [(1, 1, None, OLD), (2, 1, 1, YOUNG), (3, 2, None, OLD), (4, 2, 3, OLD), (5, 1, 4, YOUNG), (6, 3, None, OLD)]
"""id, thread, parent, clock. 2 keeps 1; 5 keeps 4, and so 3; 3 and 4 keep thread 2. Thread 3 goes with 6."""


@pytest.fixture
def company(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    """70 due logs of seven tenants, one without a clock; three threads and their messages."""
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as made:
        monkeypatch.setenv("LETHE_REPORTS_DIR", str(tmp_path / "reports"))
        world.sql("INSERT INTO app.tenants SELECT g FROM generate_series(0, 6) g")
        world.sql(
            "INSERT INTO app.logs SELECT g, %s + g * interval '1 day', g %% 7 FROM generate_series(0, 69) g", [OLD - timedelta(days=99)]
        )
        world.sql("INSERT INTO app.logs SELECT g, %s, g %% 7 FROM generate_series(100, 400) g", [YOUNG])
        world.sql("INSERT INTO app.logs VALUES (500, NULL, 1)")
        world.sql("INSERT INTO app.threads SELECT g, %s FROM generate_series(1, 3) g", [OLD])
        for message in MESSAGES:
            world.sql("INSERT INTO app.messages (id, thread_id, parent_id, at) VALUES (%s, %s, %s, %s)", message)
        made.policy(twelve_months("logs", "threads", "messages"), max_share=1)
        yield made


def own(company: Company, owners: dict[str, str]) -> None:
    """Writes owners into the catalog: of the store (""), or of a dataset."""
    file = company.folder / "catalog" / "source.yaml"
    body = yaml.safe_load(file.read_text())
    for name, owner in owners.items():
        (body["tables"][name] if name else body)["owner"] = owner
    file.write_text(yaml.safe_dump(body, sort_keys=False))


def explained(workspace: Workspace, night: Night) -> Explained:
    assert night.planned.attempt is not None
    return explain(workspace, night.planned.plan, night.planned.attempt, at=now())


def page(tmp_path: Path) -> str:
    """The report's text, without its tags."""
    (file,) = (tmp_path / "reports").glob("*.html")
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", file.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(text))


def test_blocked_rows_are_named_by_what_refers_to_them_and_how_many(company: Company, tmp_path: Path) -> None:
    night = company.night()
    assert {i for (i,) in company.world.sql("SELECT id FROM app.messages")} == {1, 2, 3, 4, 5}
    assert {i for (i,) in company.world.sql("SELECT id FROM app.threads")} == {1, 2}
    assert (night.terms("messages/messages")["blocked"], night.terms("threads/threads")["blocked"]) == (3, 1)
    with company.open() as workspace:
        back = explained(workspace, night).held_back
    named = {step: [(b.dataset, b.relation, b.rows) for b in found or ()] for step, found in back.items()}
    assert named == {"messages/messages": [("messages", "parent", 3)], "threads/threads": [("messages", "thread", 1)]}
    assert "3 due rows stay, because rows that stay still refer to them: 3 by messages (parent)" in page(tmp_path)
    assert "1 due row stays, because rows that stay still refer to it: 1 by messages (thread)" in page(tmp_path)


def test_what_holds_blocked_rows_back_is_said_to_be_unknown_when_it_cannot_be_counted(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = company.night()
    with company.open() as workspace:
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE_DB_CHECK", "postgresql://nobody@127.0.0.1:1/nowhere")
        found = explained(workspace, night)
    assert found.held_back == {"messages/messages": None, "threads/threads": None}


def test_each_hold_says_how_many_due_rows_it_kept(company: Company, tmp_path: Path) -> None:
    more = {"reason": "audit", "owner": "j.dupont", "starts_on": AS_OF.date(), "review_on": None, "digest_key": b"k" * 32}
    with company.open() as workspace, company.world.control.runtime.begin() as control:
        since, until = OLD - timedelta(days=99), OLD - timedelta(days=89)
        add_hold(control, **more, tenant="3", catalog=workspace.catalog)
        add_hold(control, **more, dataset="logs", since=since, until=until, catalog=workspace.catalog)
        add_hold(control, **more, dataset="acts", catalog=workspace.catalog)
    night = company.night()
    with company.open() as workspace:
        kept = explained(workspace, night).kept
    assert kept == {1: 10, 2: 10, 3: 0}
    assert company.world.number(f"SELECT count(*) FROM app.logs WHERE at < '{CUTOFF}'") == night.terms("logs/logs")["held"] == 19, (
        "one is under both"
    )
    assert len(re.findall(r"\b10\b", page(tmp_path).partition("Holds")[2])) >= 2


def test_a_clock_that_cannot_be_believed_has_an_owner_and_a_date(company: Company, tmp_path: Path) -> None:
    own(company, {"": "data team"})
    company.night(rules=["logs"])
    assert re.search(r"Owner: data team\. Correct the clocks at the source by \d+ \w+ \d{4}", page(tmp_path))
    assert company.world.number("SELECT count(*) FROM app.logs WHERE at IS NULL") == 1


def test_the_owner_of_a_dataset_comes_before_that_of_its_store(company: Company, tmp_path: Path) -> None:
    own(company, {"": "data team", "logs": "operations"})
    company.night(rules=["logs"])
    assert "Owner: operations." in page(tmp_path) and "Owner: data team." not in page(tmp_path)


def test_a_quarantine_that_nobody_owns_says_so(company: Company, tmp_path: Path) -> None:
    company.night(rules=["logs"])
    assert "The catalog names no owner" in page(tmp_path)
