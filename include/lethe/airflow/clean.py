"""Airflow's own old records are technical logs too: deleted by Airflow's own tool, after the policy's period for technical logs.

A command of the host (`make airflow-clean`, or the compose file's service), since a supervised task cannot reach Airflow's
database. What it did is recorded in `lethe_db`; the nightly run is red when that is more than two days old.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from lethe.errors import LetheError, UnknownName
from lethe.instants import now
from lethe.policy.model import PolicyVersion
from lethe.policy.period import cutoff

CATEGORY = "technical-logs"


class NotCleaned(LetheError):
    """Airflow's tool failed, so that its old records may still be there."""


def clean(*, at: datetime, policy: PolicyVersion, logs: Path | None) -> tuple[datetime, int]:
    """Deletes Airflow's records and log files from before the policy's cutoff; that cutoff, and how many files went.

    `logs` is Airflow's folder of task logs (None: there is none on this machine). Raises NotCleaned when the tool fails,
    UnknownName when the policy has no rule for technical logs.
    """
    before = logs_cutoff(policy, at)
    command = [
        "airflow",
        "db",
        "clean",
        "--yes",
        "--skip-archive",
        "--error-on-cleanup-failure",
        "--clean-before-timestamp",
        before.isoformat(),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
        raise NotCleaned(f"`airflow db clean` ended with {done.returncode}.", fix="Read its output above, and run it again.")
    return before, delete_old_files(logs, before) if logs else 0


def logs_cutoff(policy: PolicyVersion, at: datetime) -> datetime:
    """The instant before which technical logs are due; UnknownName when no rule says. The shortest period, if there are several."""
    periods = [rule.period for rule in policy.rules if rule.category == CATEGORY and not rule.needs]
    if not periods:
        raise UnknownName(f"The policy has no rule for {CATEGORY}.", fix="Add one: Airflow's own records are technical logs.")
    return cutoff(at, min(periods), ZoneInfo(policy.time_zone))


def logs_folder() -> tuple[Path | None, str]:
    """The folder on this machine that Airflow is set to write task logs to, None when it is not there; and what to know of logs that are
    not in it, empty when all are."""
    from airflow.configuration import conf

    folder = Path(conf.get("logging", "base_log_folder")).expanduser()
    if conf.getboolean("logging", "remote_logging", fallback=False):
        told = "Task logs are copied to a remote store, which this does not clean: let that store expire them after the same period."
        return (folder if folder.is_dir() else None), told
    if folder.is_dir():
        return folder, ""
    return None, f"There are no task logs on this machine: {folder} is no folder. Run this where Airflow keeps them, too."


def delete_old_files(folder: Path, before: datetime) -> int:
    """Deletes log files last written before that instant, and the folders that this leaves empty; how many files."""
    old = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and f.stat().st_mtime < before.timestamp()]
    for file in old:
        file.unlink()
    for place in sorted({f.parent for f in old}, reverse=True):
        while place != folder and not any(place.iterdir()):
            place.rmdir()
            place = place.parent
    return len(old)


def main() -> int:
    """Cleans, records that it was done, and says so; 2 when it could not be done."""
    from lethe.control.maintenance import AIRFLOW_CLEAN, record_success
    from lethe.workspace import Workspace

    folder, elsewhere = logs_folder()
    try:
        with Workspace.open() as workspace:
            at = now()
            before, files = clean(at=at, policy=workspace.policy(at), logs=folder)
            with workspace.control.begin() as connection:
                record_success(connection, AIRFLOW_CLEAN, at)
    except LetheError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Airflow's records from before {before.isoformat()} are deleted, and {files} log files under {folder}.")
    if elsewhere:
        print(elsewhere, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
