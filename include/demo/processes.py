"""Programs that stay: each starts in a session of its own, and ends with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from demo.home import PROJECT, Home

MARK = "LETHE_DEMO_CHILD"
"""Set, to the demo's folder, in the environment of every program started here: `down` finds them by it, even without a pid file."""


class DidNotStart(RuntimeError):
    """A service ended, or did not answer in time; the text quotes the end of its log."""


class StillRunning(RuntimeError):
    """Processes survived being stopped and killed."""


def start(home: Home, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Starts `command` in its own session, with its output in a log file and its pid in a pid file; nothing when it runs already."""
    if running(home, name):
        return
    log, pid_file = home.log(name), home.pid_file(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env={**environment, MARK: str(home.folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=PROJECT,
        )
    pid_file.write_text(f"{child.pid} {psutil.Process(child.pid).create_time()}\n")


def running(home: Home, name: str) -> bool:
    """Does the service of that name run? A pid that now belongs to somebody else is not it."""
    return _leader(home.pid_file(name)) is not None


def wait(home: Home, name: str, answers: Callable[[], bool], *, seconds: float) -> None:
    """Returns when `answers()`; DidNotStart when the program ended first or `seconds` are over."""
    end = time.monotonic() + seconds
    while not answers():
        if not running(home, name):
            raise DidNotStart(f"{name} ended while starting. {_last_words(home.log(name))}")
        if time.monotonic() > end:
            raise DidNotStart(f"{name} did not answer within {seconds:.0f} s. {_last_words(home.log(name))}")
        time.sleep(0.2)


def stop(home: Home, *names: str, seconds: float = 20) -> None:
    """Ends the named services, all of each one's session: asked first (SIGTERM), killed after `seconds`.

    Raises StillRunning, with the pids, when something is left after that.
    """
    leaders = [p for p in (_leader(home.pid_file(n)) for n in names) if p is not None]
    _end(leaders, lambda: _sessions(leaders), seconds)
    for name in names:
        home.pid_file(name).unlink(missing_ok=True)


def stop_strays(home: Home, *, seconds: float = 10) -> None:
    """Ends whatever carries this demo's mark and belongs to no pid file. Raises StillRunning when something is left."""
    strays = marked(home)
    _end(strays, lambda: marked(home), seconds)


def marked(home: Home) -> list[psutil.Process]:
    """Every living process of this user that was started by this demo, directly or through others."""
    return [p for p in psutil.process_iter() if _environment(p).get(MARK) == str(home.folder) and p.pid != os.getpid()]


def _end(first: list[psutil.Process], everyone: Callable[[], list[psutil.Process]], seconds: float) -> None:
    """Asks `first` to end; after `seconds`, or once they are gone, kills whoever of `everyone()` is left."""
    everybody = everyone()
    for process in first:
        _signal(process, signal.SIGTERM)
    psutil.wait_procs(first, timeout=seconds)
    left = [p for p in {*everybody, *everyone()} if _alive(p)]
    for process in left:
        _signal(process, signal.SIGTERM)
    for process in psutil.wait_procs(left, timeout=5)[1]:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)
    survivors = [p.pid for p in {*left, *everyone()} if _alive(p)]
    if survivors:
        raise StillRunning(f"Processes {', '.join(map(str, sorted(survivors)))} could not be ended.")


def _sessions(leaders: list[psutil.Process]) -> list[psutil.Process]:
    """Everybody in the sessions that `leaders` opened: process groups made later stay in the session."""
    sessions = {leader.pid for leader in leaders}
    found = [p for p in psutil.process_iter() if _session(p) in sessions]
    for leader in leaders:
        if _alive(leader):
            found += [leader, *leader.children(recursive=True)]
    return list(set(found))


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _leader(pid_file: Path) -> psutil.Process | None:
    try:
        pid, created = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(created)) < 1 and _alive(process) else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return {}


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _last_words(log: Path, lines: int = 15) -> str:
    if not log.exists():
        return ""
    return f"The end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
