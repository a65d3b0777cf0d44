"""`legal_hold` through a real scheduler: the hold of the form is in force, and what names a person gets no further than the form."""

from __future__ import annotations

import urllib.error

import pytest

from demo import databases
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import in_database, in_folder

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

ADDRESS = "jeanne.martin@example.org"
PEOPLE = (ADDRESS, "jeanne.martin", "JeanneMartin", "0612345678", "+33612345678", "12ruedelapaix")
STRAY = "paul.durand@example.org"
NOBODY = "987654321098765"
"""A number as keys are, which no tenant has."""

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
    assert added["airflow_user"] == "admin"

    lifted = api.trigger("legal_hold", action="lift", hold=made["hold"], owner="j.dupont")
    assert api.ended("legal_hold", lifted) == "success", task_log(demo, "legal_hold", lifted, "change")[-3000:]
    record = demo.evidence("hold.lifted")[-1]
    assert (record["hold"], record["by"], record["airflow_user"]) == (made["hold"], "j.dupont", "admin")


def test_what_names_a_person_is_refused_by_the_form_and_is_nowhere_afterwards(demo: Demo, api: Api) -> None:
    for field in ("person", "tenant"):
        for typed in PEOPLE:
            with pytest.raises(urllib.error.HTTPError, match="400"):
                api.trigger("legal_hold", **FORM, **{field: typed})
    for field in ("owner", "dataset"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            api.trigger("legal_hold", **FORM, **{field: ADDRESS})
    run = api.trigger("legal_hold", **FORM, tenant=NOBODY)
    assert api.ended("legal_hold", run) == "failed", "no tenant has such a key"
    assert demo.evidence("hold.refused")[-1]["airflow_user"] == "admin"
    assert NOBODY not in task_log(demo, "legal_hold", run, "change")
    server = databases.server(demo.home)
    for typed in PEOPLE:
        for database in ("airflow", "lethe"):
            assert in_database(server.url(database), typed) == []
        assert in_folder(demo.home.airflow, typed) == []


def test_a_field_that_no_form_has_is_refused_by_the_task_and_lies_in_that_run_s_configuration_alone(demo: Demo, api: Api) -> None:
    """Airflow takes fields that a form does not have. Nothing of them goes any further; `airflow-clean` deletes the run."""
    run = api.trigger("legal_hold", **FORM, tenant="1", email=STRAY)
    assert api.ended("legal_hold", run) == "failed"
    assert demo.evidence("hold.refused")[-1]["problem"] == "The form has fields that no hold has."
    server = databases.server(demo.home)
    found = {place.partition(": ")[0] for place in in_database(server.url("airflow"), STRAY)}
    # A run that failed leaves its configuration in the record of its callback too, for as long as Airflow keeps that.
    assert {"public.dag_run.conf"} <= found <= {"public.dag_run.conf", "public.callback.data"}
    assert in_database(server.url("lethe"), STRAY) == [] == in_folder(demo.home.airflow, STRAY)
