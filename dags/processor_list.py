"""
### The list of processors: monthly, on demand, as of any day

Who receives data, the chain of sub-processors, what changed since the list before; and the record of processing activities (GDPR Article 30). **It deletes nothing.**
**It sends mail**: the public list, to whoever asked for it by a request of the kind `processor_list`. That list holds nobody's personal data, so nobody has to prove
who they are.

| task | what it does | when it is red |
| --- | --- | --- |
| `publish` | makes HTML, PDF, CSV and JSON, reads them back, has them checked, records it | the register has findings, a file is not what it must be, a store is away |
| `warn` | tells of agreements that end within the days that `processors.yaml` says (60), by the notifier | the register cannot be read, or no channel took the message |
| `answer` | sends the list of today to the requests given, or to every open one, each once | the mail server is down or refuses, no address, `publish` failed |

The files lie under `processors/<as of>/<list>/`: **`public/`, in the bucket of `lethe_s3`, may be given to anybody, `internal/` to nobody outside** (agreements,
contacts, audit notes, the record). `internal/` lies in the bucket of the dataset of category `internal-lists`, and the nightly run deletes it after 5 years.
Beside `processors.json` lies its JSON Schema, `processors.schema.json`. The same register, policy, catalog and days give the same bytes. An agreement that ends soon is a
warning, in the evidence too; one that is over is a finding.

#### When it is red
1. The log names each finding; `lethe check` shows the same. Correct `processors.yaml` (add a version, never rewrite history), then start it again.
2. **Clearing a failed task is always safe.** A list is written anew, byte for byte; a mail that was sent is not sent twice.
3. `NoAddress`: the request came by letter. `lethe request answer REQUEST --print FILE` writes letter and list, then `lethe request answered`.
4. `AnswerInDoubt`: the process died while a mail was on its way. Look in the mail server's log, then `lethe request answered`.

#### Deadlines
Five business days for an answer; this runs by itself once a month. When somebody asks, trigger it with the request's id, or run `lethe request answer REQUEST`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from lethe.airflow import params
from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("0 7 1 * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=6),
    default_args=task_defaults(),
    params={
        "as_of": params.day("As of", "The list is of this day, such as 2026-11-28. Empty: today. Never a day to come."),
        "since": params.day("Changes since", "What changed after this day is told. Empty: since the list before, by the evidence."),
        "requests": params.requests(empty="Empty: every open request for the list."),
    },
    render_template_as_native_obj=True,
    tags=[*TAGS, "answers"],
    doc_md=__doc__,
)
def processor_list() -> None:
    @task
    def publish() -> dict[str, Any]:
        """Makes, stores and checks the list; returns ids, counts and digests."""
        from lethe.airflow import listing

        return listing.publish(get_current_context())

    @task
    def warn() -> int:
        """Tells of agreements that end soon; returns how many."""
        from lethe.airflow import listing

        return listing.warn(get_current_context())

    @task
    def answer() -> dict[str, str]:
        """Sends the list of today to who asked; returns the outcome by request."""
        from lethe.airflow import listing

        return listing.answer(get_current_context())

    warn()
    publish() >> answer()


processor_list()
