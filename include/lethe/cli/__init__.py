"""The `lethe` command. One file a group of commands; each is a few lines over the library.

Exit 0: done, and clean where something was checked. 1: findings, or a plan that waits. 2: it could not be done or checked; the
text says what to do. With `--json`, stdout is exactly one JSON object.
"""

from __future__ import annotations

import typer

from lethe.cli.archive import archive
from lethe.cli.bundle import bundle
from lethe.cli.check import check
from lethe.cli.docs import docs
from lethe.cli.due import due
from lethe.cli.hold import hold
from lethe.cli.locate import locate
from lethe.cli.output import Commands
from lethe.cli.plan import plan
from lethe.cli.policy import policy
from lethe.cli.processors import processors
from lethe.cli.promises import attest, promises
from lethe.cli.request import request
from lethe.cli.scan import scan
from lethe.cli.verify import verify

app = typer.Typer(
    name="lethe",
    cls=Commands,
    help="Keeps the promises of a privacy policy: checks, plans, approves and proves deletion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(check)
app.command()(scan)
app.add_typer(plan, name="plan")
app.add_typer(hold, name="hold")
app.add_typer(archive, name="archive")
app.add_typer(request, name="request")
app.add_typer(bundle, name="bundle")
app.add_typer(policy, name="policy")
app.command()(due)
app.command()(processors)
app.command()(promises)
app.command()(attest)
app.command()(locate)
app.command()(verify)
app.command(hidden=True)(docs)
