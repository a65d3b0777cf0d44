#!/usr/bin/env bash
# The databases and roles of the containers' PostgreSQL, on its first start. The native run's are made by demo/databases.py.
set -euo pipefail
export PGPASSWORD=$POSTGRES_PASSWORD
psql --set ON_ERROR_STOP=1 --username postgres <<'SQL'
\getenv airflow AIRFLOW_DB_PASSWORD
\getenv owner LETHE_OWNER_PASSWORD
\getenv runtime LETHE_RUNTIME_PASSWORD
\getenv approver LETHE_APPROVER_PASSWORD
\getenv archivist LETHE_ARCHIVIST_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE ROLE lethe_owner LOGIN PASSWORD :'owner';
CREATE ROLE lethe_runtime LOGIN PASSWORD :'runtime';
CREATE ROLE lethe_approver LOGIN PASSWORD :'approver';
CREATE ROLE lethe_archivist LOGIN PASSWORD :'archivist';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE lethe OWNER lethe_owner;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
REVOKE ALL ON DATABASE lethe FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE lethe TO lethe_runtime, lethe_approver, lethe_archivist;
SQL
