"""`legal_hold` through a real scheduler: the hold of the form is in force, and an address gets no further than the form."""

from __future__ import annotations

import urllib.error

import pytest

from demo import databases
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import in_database, in_folder

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

ADDRESS = "jeanne.martin@example.org"
FORM = {"action": "add", "reason": "litigation", "review_on": "2099-01-01"}


def test_a_hold_is_added_and_lifted_by_hand_and_the_ledger_says_so(demo: Demo, api: Api) -> None:
    until(lambda: "legal_hold" in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 60, lambda: api("GET", "/importErrors"))
    api("PATCH", "/dags/legal_hold?update_mask=is_paused", {"is_paused": False})
    tenant = demo.number("SELECT tenant_id FROM app.users GROUP BY tenant_id ORDER BY count(*) DESC LIMIT 1")
    users = demo.number("SELECT count(*) FROM app.users WHERE tenant_id = %s", tenant)
    run = api.trigger("legal_hold", **FORM, tenant=str(tenant))
    assert api.ended("legal_hold", run) == "success", task_log(demo, "legal_hold", run, "change")[-3000:]
    made = api("GET", f"/dags/legal_hold/dagRuns/{run}/taskInstances/change/xcomEntries/return_value?deserialize=true")["value"]
    assert made["keeps"]["users"] == users > 0
    added = demo.evidence("hold.added")[-1]
    assert (added["hold"], added["tenant"], added["owner"], added["review_on"]) == (made["hold"], str(tenant), "admin", "2099-01-01")

    lifted = api.trigger("legal_hold", action="lift", hold=made["hold"])
    assert api.ended("legal_hold", lifted) == "success", task_log(demo, "legal_hold", lifted, "change")[-3000:]
    assert demo.evidence("hold.lifted")[-1]["hold"] == made["hold"]


def test_an_address_is_refused_by_the_form_and_is_nowhere_afterwards(demo: Demo, api: Api) -> None:
    for field in ("person", "tenant", "owner", "dataset"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            api.trigger("legal_hold", **FORM, **{field: ADDRESS})
    run = api.trigger("legal_hold", **FORM, tenant="jeannemartin")
    assert api.ended("legal_hold", run) == "failed", "no tenant has such a key"
    assert demo.evidence("hold.refused")[-1]["by"] == "admin"
    assert "jeannemartin" not in task_log(demo, "legal_hold", run, "change")
    server = databases.server(demo.home)
    for database in ("airflow", "lethe"):
        assert in_database(server.url(database), ADDRESS) == []
    assert in_folder(demo.home.airflow, ADDRESS) == []
