# Lethe and Airflow in one image: the same Python, the same pinned packages and the same folders as the native run.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/lethe/include:/opt/lethe/config \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/lethe/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/lethe/plugins \
    LETHE_POLICY_DIR=/opt/lethe/include/policies/spotrak

RUN useradd --create-home --uid 50000 airflow \
    && mkdir -p /opt/airflow/logs /opt/lethe \
    && chown -R airflow /opt/airflow

WORKDIR /opt/lethe
COPY requirements.txt requirements.in ./
RUN pip install --no-cache-dir --requirement requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY include/lethe include/lethe
COPY include/policies include/policies
COPY dags dags
COPY plugins plugins
COPY config/airflow_local_settings.py config/
RUN pip install --no-cache-dir --no-deps --editable .

USER airflow
CMD ["airflow", "version"]
