"""`make airflow-clean` on the demo: starts the services when they do not run, and stops them again."""

from __future__ import annotations

import subprocess
import sys

from demo import environment, services
from demo.home import Home


def main() -> int:
    """What `python -m lethe.airflow.clean` returns, in the demo's environment."""
    home = Home.here()
    ours = not services.is_up(home)
    if ours:
        services.up(home)
    try:
        return subprocess.run([sys.executable, "-m", "lethe.airflow.clean"], env=environment.full(home), check=False).returncode
    finally:
        if ours:
            services.down(home)


if __name__ == "__main__":
    sys.exit(main())
