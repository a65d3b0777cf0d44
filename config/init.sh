#!/usr/bin/env bash
# Once at each start of the containers: Airflow's tables, Lethe's own database and bucket, the two people's passwords.
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
from lethe.stores.s3.client import client

migrate(from_environment("lethe_db_owner").sqlalchemy_url())

s3, bucket = client(from_environment("lethe_s3")), from_environment("lethe_s3").extra["bucket"]
if bucket not in {b["Name"] for b in s3.list_buckets()["Buckets"]}:
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

people = ("admin", "approver")
logins = {name: os.environ[f"AIRFLOW_{name.upper()}_PASSWORD"] for name in people}
Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).write_text(json.dumps(logins) + "\n")
PY
chown -R airflow /opt/airflow
