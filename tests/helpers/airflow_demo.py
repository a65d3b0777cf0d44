"""A demo of its own for tests of the whole."""

from demo.trial import Api, Demo, TookTooLong, airflow_of, demo_in, task_log, until

__all__ = ["Api", "Demo", "TookTooLong", "airflow_of", "demo_in", "task_log", "until"]
