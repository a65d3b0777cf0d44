"""Named places at which a test breaks the purge: before and after every side effect.

A point does nothing unless `LETHE_FAULTS` is set, to entries `name:kind:nth` joined by commas: at the nth passage of that point

* `kill`: this process dies by SIGKILL;
* `cut`: the connection of the side effect is cut, so that its next use fails;
* `lost_ack`: the side effect was done, but its answer never arrives.

`LETHE_FAULTS_LOG` names a file to which every point that is passed is appended, so that a test can say which were hit.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import psycopg

_KILL = frozenset({"kill"})
_ANYWHERE = frozenset({"kill", "cut"})
_COMMIT = frozenset({"kill", "cut", "lost_ack"})

LEASE_POINTS: dict[str, frozenset[str]] = {
    "lease.take.before": _ANYWHERE,
    "lease.take.after": _COMMIT,
    "lease.release.before": _ANYWHERE,
    "lease.release.after": _COMMIT,
}
"""Passed by every purge."""

ROW_POINTS: dict[str, frozenset[str]] = LEASE_POINTS | {
    "recover.end.before": _ANYWHERE,
    "recover.end.after": _ANYWHERE,
    "recover.close.before": _ANYWHERE,
    "recover.close.after": _COMMIT,
    "gate.open.before": _ANYWHERE,
    "gate.open.after": _ANYWHERE,
    "source.delete.before": _ANYWHERE,
    "source.delete.after": _ANYWHERE,
    "intent.write.before": _ANYWHERE,
    "intent.write.after": _COMMIT,
    "source.commit.before": _ANYWHERE,
    "source.commit.after": _COMMIT,
    "intent.close.before": _ANYWHERE,
    "intent.close.after": _COMMIT,
    "partition.drop.before": _ANYWHERE,
    "partition.drop.after": _ANYWHERE,
    "reclaim.vacuum.before": _ANYWHERE,
    "reclaim.vacuum.after": _COMMIT,
}
"""Those of a purge of rows."""

OBJECT_POINTS: dict[str, frozenset[str]] = LEASE_POINTS | {
    "object.recover.before": _ANYWHERE,
    "object.recover.after": _COMMIT,
    "object.gate.before": _ANYWHERE,
    "object.gate.after": _ANYWHERE,
    "object.intent.before": _ANYWHERE,
    "object.intent.after": _COMMIT,
    "object.request.before": _ANYWHERE,
    "object.request.after": _ANYWHERE,
    "object.close.before": _ANYWHERE,
    "object.close.after": _COMMIT,
    "object.settle.before": _ANYWHERE,
    "object.settle.after": _COMMIT,
}
"""Those of a purge of objects. `cut` at a request cuts the session that keeps holds out; the tests fail the store itself on its wire."""

ARCHIVE_POINTS: dict[str, frozenset[str]] = {
    "archive.read.before": _ANYWHERE,
    "archive.read.after": _ANYWHERE,
    "archive.announce.before": _ANYWHERE,
    "archive.announce.after": _COMMIT,
    "archive.upload.before": _KILL,
    "archive.upload.after": _KILL,
    "archive.readback.after": _KILL,
    "archive.manifest.before": _KILL,
    "archive.manifest.after": _KILL,
    "archive.lock.before": _KILL,
    "archive.lock.after": _KILL,
    "archive.drop.before": _KILL,
    "archive.drop.after": _KILL,
}
"""Those that a purge which archives passes too; the tests fail the bucket itself on its wire."""

FILE_POINTS: dict[str, frozenset[str]] = {"files.delete.before": _KILL, "files.delete.after": _KILL}
"""Those that a purge of rows with files passes too."""

INTAKE_POINTS: dict[str, frozenset[str]] = {
    "intake.open.before": _KILL,
    "intake.open.after": _KILL,
    "intake.proof.after": _KILL,
    "intake.delete.before": _KILL,
    "intake.delete.after": _KILL,
}
"""Those that taking a file of requests passes."""

EXPIRY_POINTS: dict[str, frozenset[str]] = LEASE_POINTS | {
    "expiry.recover.before": _ANYWHERE,
    "expiry.recover.after": _COMMIT,
    "expiry.gate.before": _ANYWHERE,
    "expiry.gate.after": _ANYWHERE,
    "expiry.announce.before": _ANYWHERE,
    "expiry.announce.after": _COMMIT,
    "expiry.upload.before": _KILL,
    "expiry.upload.after": _KILL,
    "expiry.readback.after": _KILL,
    "expiry.intent.before": _ANYWHERE,
    "expiry.intent.after": _COMMIT,
    "expiry.request.before": _ANYWHERE,
    "expiry.request.after": _ANYWHERE,
    "expiry.close.before": _ANYWHERE,
    "expiry.close.after": _COMMIT,
    "expiry.manifest.before": _KILL,
    "expiry.manifest.after": _KILL,
    "expiry.drop.before": _KILL,
    "expiry.drop.after": _KILL,
}
"""Those of the archive's expiry. `cut` at a request cuts the session that keeps holds out; the tests fail the bucket on its wire."""

POINTS: dict[str, frozenset[str]] = ROW_POINTS | OBJECT_POINTS | ARCHIVE_POINTS | FILE_POINTS | EXPIRY_POINTS | INTAKE_POINTS
"""Every point, and the kinds of fault that make sense there."""

_passed: Counter[str] = Counter()
_counting = threading.Lock()
"""Lanes pass a point at the same time; one of them is the n-th."""


def point(name: str, connection: Any = None) -> None:
    """Breaks here if the environment says so; `connection` is the SQLAlchemy connection of the side effect.

    A name that is not in POINTS is a KeyError, so that no point escapes the tests.
    """
    kinds = POINTS[name]
    spec = os.environ.get("LETHE_FAULTS")
    log = os.environ.get("LETHE_FAULTS_LOG")
    if spec is None and log is None:
        return
    with _counting:
        _passed[name] += 1
        passed = _passed[name]
    if log:
        with open(log, "a", encoding="ascii") as file:
            file.write(f"{name}\n")
    for entry in filter(None, (spec or "").split(",")):
        target, kind, nth = entry.split(":")
        if target == name and int(nth) == passed:
            if kind not in kinds:
                raise ValueError(f"{kind} makes no sense at {name}")
            _strike(kind, connection)


def _strike(kind: str, connection: Any) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    _cut(connection)
    if kind == "lost_ack":
        raise psycopg.OperationalError("the connection was cut before the answer arrived")


def _cut(connection: Any) -> None:
    """Both directions end, as when a cable is pulled; the server notices when it next reads."""
    number = os.dup(connection.connection.driver_connection.fileno())
    with socket.socket(fileno=number) as wire, suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
