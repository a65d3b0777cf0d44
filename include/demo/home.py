"""Where the demo keeps its state: one folder, `.demo`, with ports and passwords that are made once and remembered."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.postgres import free_port

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """The state folder of one demo. Files with secrets are readable by their owner only (mode 0600)."""

    folder: Path

    @classmethod
    def here(cls) -> Home:
        """`LETHE_DEMO_HOME`, or `.demo` in the project."""
        return cls(Path(os.environ.get("LETHE_DEMO_HOME") or PROJECT / ".demo").resolve())

    @property
    def env(self) -> Path:
        """The file that a shell sources: `. .demo/env`."""
        return self.folder / "env"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.folder / "airflow"

    @property
    def reports(self) -> Path:
        """Where runs leave a copy of their report."""
        return self.folder / "reports"

    @property
    def mail(self) -> Path:
        """Where the demo's mail server keeps what was sent."""
        return self.folder / "mail"

    def pid_file(self, name: str) -> Path:
        """Holds the process id of the service `name` while it runs."""
        return self.folder / "run" / f"{name}.pid"

    def log(self, name: str) -> Path:
        """Output of the service `name`."""
        return self.folder / "logs" / f"{name}.log"

    def port(self, name: str) -> int:
        """The port of a service: free when it was chosen, the same ever after."""
        return int(self._remember(f"port.{name}", free_port))

    def new_port(self, name: str) -> int:
        """Another port for a service, because somebody else took the one it had."""
        self.forget(f"port.{name}")
        return self.port(name)

    def secret(self, name: str, make: Any = lambda: secrets.token_urlsafe(24)) -> str:
        """A generated password or key: made once, kept in a file that only its owner reads."""
        return str(self._remember(f"secret.{name}", make))

    def note(self, name: str, value: str | None = None) -> str | None:
        """Remembers a fact between commands (when the data was loaded, as of when); reads it when no value is given."""
        if value is not None:
            self._write({**self._read(), f"note.{name}": value})
        found = self._read().get(f"note.{name}")
        return None if found is None else str(found)

    def forget(self, key: str) -> None:
        """Drops one remembered value."""
        self._write({k: v for k, v in self._read().items() if k != key})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one command at a time changes what runs; a second one waits here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remember(self, key: str, make: Any) -> Any:
        known = self._read()
        if key not in known:
            known[key] = make()
            self._write(known)
        return known[key]

    def _read(self) -> dict[str, Any]:
        state = self.folder / "state.json"
        return dict(json.loads(state.read_text())) if state.exists() else {}

    def _write(self, known: dict[str, Any]) -> None:
        write_secret(self.folder / "state.json", json.dumps(known, indent=1, sort_keys=True) + "\n")


def write_secret(path: Path, text: str) -> None:
    """Writes a file that was never readable by anyone else, not even for a moment, and replaces the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(path)
