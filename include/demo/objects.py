"""moto's server as an object store for the demo and for tests: a process of its own on loopback, data in memory.

It accepts any secret and pretends some things; what must be proved is proved on Ceph (`demo.ceph`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 30.0  # seconds; 2 s is usual
VERSION_HEADER = "x-demo-version-id"
"""A put that carries it makes a version of that id: what was kept while the server did not run comes back as it was."""

# The wheel's own command, on our interpreter, but for that header.
_PROGRAM = f"""
import sys
from flask import request
from moto.s3.models import S3Backend
from moto.server import main

put = S3Backend.put_object

def put_object(self, *given, **named):
    made = put(self, *given, **named)
    made._version_id = request.headers.get("{VERSION_HEADER}") or made._version_id
    return made

S3Backend.put_object = put_object
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""


class ObjectStoreFailed(RuntimeError):
    """moto's server ended or did not come up; the text says where its output is."""


@dataclass(frozen=True, kw_only=True)
class ObjectServer:
    """One server: the folder of its pid file and log, and its port on loopback."""

    folder: Path
    port: int

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and waits until it answers; nothing when it runs already. It outlives this process.

        Raises ObjectStoreFailed.
        """
        if self.running():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._pid.write_text(f"{server.pid} {_started(server.pid)}")
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if server.poll() is not None or time.monotonic() > end:
                self.stop()
                raise ObjectStoreFailed(f"moto's server did not come up on port {self.port}: see {self._log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server that this folder started and waits for its end; nothing when it does not run. Its data is gone."""
        pid = self._own_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)  # it has nothing to save
            end = time.monotonic() + _PATIENCE
            while self._own_pid() == pid and time.monotonic() < end:
                time.sleep(0.02)
            _reap(pid)
        self._pid.unlink(missing_ok=True)

    def running(self) -> bool:
        """Does the process that this folder started answer?"""
        return self._own_pid() is not None and self._answers()

    def _own_pid(self) -> int | None:
        """The pid of our server, None when it ended: a pid that the system gave to another process since is not ours."""
        try:
            pid, started = self._pid.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    @property
    def _pid(self) -> Path:
        return self.folder / "moto.pid"

    @property
    def _log(self) -> Path:
        return self.folder / "moto.log"


def _started(pid: int) -> str:
    """When the process of that pid began, in clock ticks since boot; "" when there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _reap(pid: int) -> None:
    """Takes the exit of a child of ours, so that no zombie is left; a server that another process started is not one.

    It waits: the first thread of a killed process can be over before the others are.
    """
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
