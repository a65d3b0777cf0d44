"""`make demo`: the nightly run end to end, as an operator does it: a dry run, a person's approval, the run, the archive, its report; and an
answer to a person who asks for their data.

Stops what it started and leaves the data, so that a second time finds nothing more to delete.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine

from demo import airflow, asking, databases, environment, processes, services
from demo.garden import GONE_TENANT
from demo.home import PROJECT, Home
from demo.promising import report_promises
from lethe.cli.output import print_table
from lethe.instants import now

TERMS = ("planned", "deleted", "held", "changed", "blocked", "failed", "arrived", "survivors", "quarantined")
_BIN = PROJECT / ".venv" / "bin"


class DemoFailed(RuntimeError):
    """A command of the demo failed; its output is above."""


def main() -> int:
    """The whole way; 1 when a step failed."""
    home = Home.here()
    os.environ[processes.MARK] = str(home.folder)
    ours = not services.is_up(home)
    try:
        print("Services")
        services.up(home)
        _run(home, os.environ.get("LETHE_DEMO_AS_OF") or now().isoformat())
    except DemoFailed as failure:
        print(f"\nThe demo stopped: {failure}", file=sys.stderr)
        return 1
    finally:
        if ours and not airflow.is_up(home):
            services.down(home)
    return 0


def _run(home: Home, as_of: str) -> None:
    print("\n1. A dry run: what would go, as of now, under the policy in force")
    _lethe(home, "plan", "--as-of", as_of)
    plan = json.loads(_lethe(home, "plan", "--as-of", as_of, "--json", quiet=True))

    print("\n2. A person approves this plan, and no other")
    _lethe(home, "plan", "approve", plan["digest"], "--reason", "first_run", "--as", "demo-approver")

    print("\n3. The run: plan, guard, purge, verify, record")
    _dag_run(home, "retention_purge", as_of=as_of, dry_run=False)

    print("\n4. What it did, each term counted on its own; and the ledger, walked from its first record")
    print_summary(home, plan["digest"])
    _lethe(home, "verify")

    print("\n5. What a law still needs went to the archive first; where one tenant is in it, without opening an object")
    _lethe(home, "archive", "list")
    _lethe(home, "archive", "find", "--tenant", str(GONE_TENANT))

    print("\n6. The archive's own expiry, as a dry run: what would go from it now")
    _dag_run(home, "archive_expiry", as_of=as_of)
    print_expiry(as_of)
    report = newest_report(home, plan["digest"])

    print("\n7. Somebody asks for their data: the request, the decision on who asks, the bundle, the mail with its link")
    bundles, mail = answer_somebody(home)

    print("\n8. Who receives data: the list of processors as of today, for anybody who asks, and the record of processing activities")
    processors, record = list_processors(home)

    print("\n9. Is every promise kept? The published text, sentence by sentence, with what keeps it and the last evidence")
    promises = report_promises(home.reports)
    print(f"\nThe report, for a browser: {report}")
    print(f"The mail: {mail}")
    print(f"The bundle, as its reader fetched it by the mail's link: {', '.join(map(str, bundles))}")
    print(f"The list of processors: {processors}")
    print(f"The record of processing activities: {record}")
    print(f"The promise report: {promises}")


def list_processors(home: Home) -> tuple[Path, Path]:
    """Makes the list and the record, stores them and has them checked; the pages that people open. The environment leads to the demo."""
    from lethe.accountability.listing import make_list
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        made = make_list(workspace)
    print(f"  {len(made['processors'])} processors, {len(made['recipients'])} other recipients, {len(made['checks'])} checks passed")
    return home.reports / made["folder"] / "public" / "processors.en.html", home.reports / made["folder"] / "internal" / "record.en.html"


def answer_somebody(home: Home) -> tuple[list[Path], Path]:
    """Opens a request, accepts who asks, runs `subject_export`; the bundle's files and the mail. Raises DemoFailed."""
    address = asking.somebody(databases.server(home).url("spotrak"))
    opened = json.loads(
        _lethe(home, "request", "new", "-", "--kind", "access", "--channel", "email", "--json", quiet=True, given=f"email={address}\n")
    )
    request = opened["id"]
    print(f"  request {request}: reply by {opened['reply_due_on']}, by law by {opened['legal_due_on']}")
    _lethe(home, "request", "decide", request, "accept", "--reason", "known_address", "--by", "demo-approver")
    _lethe(home, "locate", request)
    _dag_run(home, "subject_export", requests=[request])
    mail = asking.newest_mail(home, request)
    bundles = asking.fetch(mail, home.folder / "bundles")
    _lethe(home, "bundle", "verify", *map(str, bundles))
    return bundles, mail


def _dag_run(home: Home, dag: str, **conf: object) -> None:
    """Runs a DAG in one process, by `airflow dags test`; its log goes to a file, its seconds to the terminal. Raises DemoFailed."""
    log = home.log(dag)
    command = [str(_BIN / "airflow"), "dags", "test", dag, "--conf", json.dumps(conf)]
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.Popen(command, env=environment.full(home), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        while done.poll() is None:
            print(
                f"\r  airflow dags test {dag} ... {time.monotonic() - began:.0f} s",
                end="" if sys.stdout.isatty() else "\n",
                flush=True,
            )
            try:
                done.wait(timeout=1 if sys.stdout.isatty() else 20)
            except subprocess.TimeoutExpired:
                continue
    print()
    if done.returncode:
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-40:]), file=sys.stderr)
        raise DemoFailed(f"{dag} failed (its log: {log})")
    print(f"  finished in {time.monotonic() - began:.0f} s; Airflow's log is {os.path.relpath(log)}")


def print_summary(home: Home, digest: str) -> None:
    """The results of the last run of a plan, as the check stored them."""
    from lethe.control.results import load_results
    from lethe.control.runs import run_of

    engine = create_engine(databases.url(home, "lethe_runtime", "lethe").replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        run = run_of(connection, digest)
        results = load_results(connection, digest, run.attempt)
    engine.dispose()
    columns = ("step", "outcome", "level", *TERMS)
    rows = [(step, r.outcome, r.level, *(r.terms.get(term) for term in TERMS)) for step, r in results.items()]
    os.environ.update(wide())
    print_table(f"Run of plan {digest[:12]}: {run.outcome or run.state}", columns, rows)


def print_expiry(as_of: str) -> None:
    """The plan of the archive's expiry, counted; nothing is deleted. The environment leads to the demo (`services.up` sees to it)."""
    from lethe.archive.summary import shelves
    from lethe.retention import plan_expiry
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        planned = plan_expiry(workspace, as_of=datetime.fromisoformat(as_of), dry_run=True)
        with workspace.control.connect() as control:
            first = min((s.first_expiry for s in shelves(control)), default=None)
    due, rows = (sum(getattr(c, name) for c in planned.counts.values()) for name in ("due", "total"))
    later = f"; the first go on {first}, by the DAG archive_expiry" if first and not due else ""
    print(f"  {due or 'none'} of the {rows} archived rows {'is' if due == 1 else 'are'} due{later}")


def wide() -> dict[str, str]:
    """Where the output is no terminal (a log of CI), tables are not folded to 80 columns."""
    return {} if sys.stdout.isatty() else {"COLUMNS": "160"}


def newest_report(home: Home, digest: str) -> Path:
    """The newest report of that plan in `.demo/reports`. Raises DemoFailed when there is none."""
    found = sorted(home.reports.glob(f"*{digest[:12]}*.html"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise DemoFailed(f"there is no report of plan {digest[:12]} in {home.reports}")
    return found[-1]


def _lethe(home: Home, *arguments: str, quiet: bool = False, given: str | None = None) -> str:
    """Runs `lethe ARGUMENTS`, with `given` piped in, and shows what it says; DemoFailed when it ends with another code than 0."""
    if not quiet:
        print(f"$ lethe {' '.join(arguments)}", flush=True)
    done = subprocess.run(
        [str(_BIN / "lethe"), *arguments],
        env={**environment.full(home), **wide()},
        input=given or "",
        stdout=subprocess.PIPE if quiet else None,
        text=True,
    )
    if done.returncode:
        raise DemoFailed(f"`lethe {arguments[0]}` ended with {done.returncode}")
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
