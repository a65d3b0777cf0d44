"""`request_intake` through a real scheduler: requests are opened and files deleted, and nothing that names a person is in Airflow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo import databases
from demo.buckets import ensure_requests
from demo.environment import connections
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import in_database, in_folder
from lethe.connections import parse
from lethe.stores.s3.client import client
from lethe.stores.s3.listing import everything

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

WHO = "katharina.dropbox@example.org"
NAMES = (WHO, "katharina.dropbox", "katharina")


@pytest.fixture(scope="module")
def store(demo: Demo) -> Any:
    s3 = client(parse("requests_s3", connections(demo.home)["AIRFLOW_CONN_REQUESTS_S3"]))
    ensure_requests(s3)
    return s3


def left(store: Any, bucket: str) -> list[str]:
    return [e.key for e in everything(store, bucket, "")]


def nowhere(demo: Demo) -> None:
    server = databases.server(demo.home)
    for typed in NAMES:
        for database in ("airflow", "lethe"):
            assert in_database(server.url(database), typed) == []
        assert in_folder(demo.home.airflow, typed) == []


def test_files_are_taken_and_no_address_key_or_proof_gets_into_airflow(demo: Demo, api: Api, store: Any) -> None:
    until(lambda: "request_intake" in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 60, lambda: api("GET", "/importErrors"))
    store.put_object(Bucket="lethe-intake", Key="katharina.pdf", Body=b"%PDF katharina")
    entries = [{"kind": "access", "language": "fr", "email": WHO, "proof": "katharina.pdf"}, {"kind": "processor_list", "language": "en"}]
    store.put_object(Bucket="lethe-intake", Key="tickets/katharina.json", Body=json.dumps(entries).encode())
    run = api.switch_on("request_intake")
    assert api.ended("request_intake", run) == "success", task_log(demo, "request_intake", run, "record")[-3000:]
    made = api("GET", f"/dags/request_intake/dagRuns/{run}/taskInstances/take/xcomEntries/return_value?deserialize=true")["value"]
    (opened,) = demo.evidence("intake.opened")
    assert made == {"requests": opened["requests"], "files": 1, "refused": 0, "kept": 0} and len(opened["requests"]) == 2
    assert left(store, "lethe-intake") == [] and [k.partition("/")[0] for k in left(store, "lethe-proofs")] == opened["requests"][:1]
    nowhere(demo)


def test_a_refused_file_is_red_and_its_alert_names_nobody(demo: Demo, api: Api, store: Any) -> None:
    alerts = len(demo.alerts())
    store.put_object(
        Bucket="lethe-intake", Key="katharina.csv", Body=f"kind,language,email\r\naccess,fr,{WHO}\r\naccess,katharina,{WHO}\r\n".encode()
    )
    store.put_object(Bucket="lethe-intake", Key="good.csv", Body=f"kind,language,email\r\nerasure,fr,{WHO}\r\n".encode())
    run = api.trigger("request_intake")
    assert api.ended("request_intake", run) == "failed"
    assert api.tasks("request_intake", run) == {"take": "success", "sweep": "success", "record": "failed"}
    assert left(store, "lethe-intake") == ["katharina.csv"]
    assert demo.evidence("intake.refused")[-1]["entry"] == 2
    told = demo.alerts()[alerts:]
    assert told, "no alert"  # one, or two when a quarter of an hour began in between and its run found the file too
    for alert in told:
        assert "files of requests refused: 1" in alert["message"] and "katharina" not in str(alert).lower()
    nowhere(demo)
    store.delete_objects(Bucket="lethe-intake", Delete={"Objects": [{"Key": "katharina.csv"}]})
