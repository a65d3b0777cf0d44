"""A retention run from its plan to its evidence, as functions that the DAGs and the `lethe` command both call.

    plan_run (or plan_expiry) -> guard_run (-> decide_run) -> purge_run_group, one a group -> verify_run -> record_run

Every function takes a `Workspace` and the run's identity (the plan's digest and the attempt), reads what came before from
Lethe's own database, and leaves what it did there: any of them may be killed and called again.
"""

from lethe.retention.auditing import audit, watch
from lethe.retention.expiring import plan_expiry
from lethe.retention.guarding import decide_run, guard_run
from lethe.retention.model import Group, PlannedRun, Verdict
from lethe.retention.planning import plan_run
from lethe.retention.purging import purge_run_group
from lethe.retention.recording import record_run
from lethe.retention.verifying import verify_run

__all__ = [
    "Group",
    "PlannedRun",
    "Verdict",
    "audit",
    "decide_run",
    "guard_run",
    "plan_expiry",
    "plan_run",
    "purge_run_group",
    "record_run",
    "verify_run",
    "watch",
]
