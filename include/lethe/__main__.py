"""`python -m lethe`."""

from lethe.cli import app

app(prog_name="lethe")
