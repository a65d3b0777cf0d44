"""
### Answers a person who asks for their data: one request or many

**This DAG gives personal data away.** It gives it to nobody whose identity no named person has accepted: a request that is not decided waits here.
Nothing but the request's id is typed or kept in Airflow, never an address or a name: `lethe request new` or the intake bucket open a request.

| task | what it does | when it is red |
| --- | --- | --- |
| `check` | looks whether each request is there and is to be answered by a bundle | an unknown id, another kind, answered or refused already |
| `identity` | passes a request whose identity is accepted; waits here for a named person otherwise | never: refused, asked for more or no answer skips it |
| `export` | finds the person in every store and in the archive, stores the bundle encrypted | a table or file is missing, the match is ambiguous, a store is away |
| `verify` | reads the bundle back, counts the person's rows anew: nothing missing, nobody else's | the counts differ or cannot be had: that bundle is deleted |
| `answer` | sends the link to the person and the forwards to tenants, each once | the mail server is down or refuses, or a task before it failed |

#### When it is red
1. The log of the task names the request and what is wrong; the other requests of the run went on.
2. **Clearing a failed task is always safe.** What is stored is not written twice, what was sent is not sent twice.
3. `AmbiguousPerson`: the request's address is that of several accounts, or its account has another address. `lethe locate REQUEST` shows which; open the request anew
   with the account, or ask for more.
4. `AnswerInDoubt`: the process died while a mail was on its way. Look in the mail server's log, then `lethe request answered`.
5. `BundleDiffers`: rows came or went between writing and counting, or a rule of finding is wrong. Clear `export`; if it comes again, it is the rule.

A request that waits for a decision keeps the others of its run waiting: start those that are decided in a run of their own.

#### Deadlines
Five business days for an answer, one month by law; `lethe request list` shows the one due first at the top. A bundle is deleted after 30 days, its link ends before.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, get_current_context, task

from lethe.airflow import params
from lethe.airflow.defaults import ON_FAILURE, ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults
from lethe.airflow.identity import IdentityDecision


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=16,  # one that waits for a decision keeps no other from being answered
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["manual"],
    dagrun_timeout=timedelta(days=6),
    default_args=task_defaults(alert=False),
    params={"requests": params.requests()},
    render_template_as_native_obj=True,
    tags=[*TAGS, "gives"],
    doc_md=__doc__,
)
def subject_export() -> None:
    @task
    def check() -> list[str]:
        """Returns the requests whose identity is still to be decided, and passes on all of the run."""
        from lethe.airflow import exporting

        return exporting.check(get_current_context())

    @task(trigger_rule="all_done", queue="exports")
    def export() -> dict[str, Any]:
        """Stores a bundle for each request whose identity is accepted; returns rows by request."""
        from lethe.airflow import exporting

        return exporting.export(get_current_context())

    @task(trigger_rule="all_done", queue="exports")
    def verify() -> dict[str, str]:
        """Reads each bundle back and counts anew; returns the outcome by request."""
        from lethe.airflow import exporting

        return exporting.verify(get_current_context())

    @task(trigger_rule="all_done", on_failure_callback=[ON_FAILURE])
    def answer() -> dict[str, str]:
        """Answers each request whose bundle is verified, then raises when anything before it failed."""
        from lethe.airflow import exporting

        return exporting.answer(get_current_context())

    asked = check()
    IdentityDecision.partial(task_id="identity").expand(request=asked) >> export() >> verify() >> answer()


subject_export()
