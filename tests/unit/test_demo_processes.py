"""What the demo starts, it ends: whole sessions, and strays without a pid file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo import processes
from demo.home import Home, write_secret

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [sys.executable, "-c", "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)", *SLEEP]
OWN_GROUP = [
    sys.executable,
    "-c",
    "import os, subprocess, sys, time; subprocess.Popen(sys.argv[1:], process_group=0); time.sleep(600)",
    *SLEEP,
]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    processes.stop_strays(home)


def start(home: Home, command: list[str]) -> None:
    processes.start(home, "sleeper", command, dict(os.environ))


def wait_for(home: Home, count: int) -> None:
    processes.wait(home, "sleeper", lambda: len(processes.marked(home)) >= count, seconds=20)


@pytest.mark.parametrize(
    ("command", "count"), [(SLEEP, 1), (PARENT, 2), (OWN_GROUP, 2)], ids=["one", "with a child", "a child in its own group"]
)
def test_a_stopped_service_leaves_no_process(home: Home, command: list[str], count: int) -> None:
    start(home, command)
    wait_for(home, count)
    processes.stop(home, "sleeper")
    assert processes.marked(home) == []
    assert not processes.running(home, "sleeper")


def test_one_that_does_not_listen_is_killed(home: Home) -> None:
    start(home, STUBBORN)
    wait_for(home, 1)
    processes.stop(home, "sleeper", seconds=0.5)
    assert processes.marked(home) == []


def test_starting_twice_starts_once(home: Home) -> None:
    start(home, SLEEP)
    start(home, SLEEP)
    wait_for(home, 1)
    assert len(processes.marked(home)) == 1


def test_a_stray_is_found_without_its_pid_file(home: Home) -> None:
    start(home, PARENT)
    wait_for(home, 2)
    home.pid_file("sleeper").unlink()
    processes.stop_strays(home)
    assert processes.marked(home) == []


def test_another_demo_s_processes_are_left_alone(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    start(other, SLEEP)
    wait_for(other, 1)
    processes.stop(home, "sleeper")
    processes.stop_strays(home)
    assert len(processes.marked(other)) == 1
    processes.stop_strays(other)


def test_a_pid_that_belongs_to_somebody_else_is_not_ours(home: Home) -> None:
    me = psutil.Process()
    home.pid_file("sleeper").parent.mkdir(parents=True)
    home.pid_file("sleeper").write_text(f"{me.pid} {me.create_time() - 100}\n")
    assert not processes.running(home, "sleeper")
    processes.stop(home, "sleeper")
    assert me.is_running()


def test_a_service_that_ends_while_starting_says_why(home: Home) -> None:
    start(home, [sys.executable, "-c", "raise SystemExit('the port is taken')"])
    with pytest.raises(processes.DidNotStart, match="the port is taken"):
        processes.wait(home, "sleeper", lambda: False, seconds=20)


def test_secrets_are_made_once_and_readable_by_their_owner_only(home: Home) -> None:
    first = home.secret("postgres")
    assert Home(home.folder).secret("postgres") == first
    assert len(first) >= 32
    assert stat.S_IMODE((home.folder / "state.json").stat().st_mode) == 0o600


def test_a_secret_replaces_a_file_that_everybody_could_read(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_port_is_remembered(home: Home) -> None:
    assert Home(home.folder).port("postgres") == home.port("postgres")
