#!/usr/bin/env bash
# Once at each start of the containers: Airflow's tables, Lethe's own database, the two people's passwords.
set -euo pipefail
umask 077
chown -R airflow /opt/airflow
airflow db migrate
python - <<'PY'
import json
import os
from pathlib import Path

from lethe.connections import from_environment
from lethe.control.migrate import migrate

migrate(from_environment("lethe_db_owner").sqlalchemy_url())

people = ("admin", "approver")
logins = {name: os.environ[f"AIRFLOW_{name.upper()}_PASSWORD"] for name in people}
Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).write_text(json.dumps(logins) + "\n")
PY
chown -R airflow /opt/airflow
