"""Read by every program of Airflow when it starts (config/ is on PYTHONPATH). Programs that fork tasks import here what tasks import.

A task's process is a fork of its executor's, so it begins with all of this: alone, Great Expectations takes a second or more of every
verification (docs/adr/0012). Programs that fork no task are left as they are.
"""

from __future__ import annotations

import sys

__all__: list[str] = []  # Airflow would take every other name for a setting of its own

if {"scheduler", "celery", "standalone"} & set(sys.argv[1:2]):
    from lethe.airflow.preload import preload

    preload()
