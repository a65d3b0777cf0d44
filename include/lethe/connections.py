"""Airflow connections, read the same way by the DAGs and by the `lethe` command.

A connection is `AIRFLOW_CONN_<ID>`, as a URI or as JSON. `Connection` never prints its password.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from lethe.errors import Unreachable


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where a store is and who we are there."""

    id: str
    kind: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def sqlalchemy_url(self) -> Any:
        """A SQLAlchemy URL on psycopg 3; raises Unreachable when the connection leaves loopback without TLS."""
        from sqlalchemy import URL

        require_tls(self)
        query = {k: str(v) for k, v in self.extra.items() if k in {"host", "sslmode", "sslrootcert", "connect_timeout"}}
        return URL.create(
            "postgresql+psycopg",
            username=self.login or None,
            password=self.password or None,
            host=self.host or None,
            port=self.port,
            database=self.database,
            query=query,
        )


Connections = Callable[[str], Connection]
"""Finds a connection by its id: `from_environment`, or Airflow's own look-up inside a task."""


def from_environment(connection_id: str) -> Connection:
    """The connection of `AIRFLOW_CONN_<ID>`; Unreachable, with the name to set, when there is none."""
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    text = os.environ.get(variable)
    if not text:
        raise Unreachable(
            f"Connection {connection_id!r} is not set.", fix=f"Export {variable}, or add it in Airflow under Admin, Connections."
        )
    return parse(connection_id, text)


def parse(connection_id: str, text: str) -> Connection:
    """A connection from Airflow's URI or JSON form; Unreachable when it is neither."""
    try:
        return _from_json(connection_id, json.loads(text)) if text.lstrip().startswith("{") else _from_uri(connection_id, text)
    except ValueError as error:
        raise Unreachable(
            f"Connection {connection_id!r} cannot be read ({type(error).__name__}).",
            fix="Write it as Airflow does: a URI or a JSON object.",
        ) from None


def _from_json(connection_id: str, value: dict[str, Any]) -> Connection:
    extra = value.get("extra") or {}
    return Connection(
        id=connection_id,
        kind=value.get("conn_type", ""),
        host=value.get("host") or "",
        port=value.get("port"),
        login=value.get("login") or "",
        password=value.get("password") or "",
        database=value.get("schema") or "",
        extra=json.loads(extra) if isinstance(extra, str) else extra,
    )


def _from_uri(connection_id: str, text: str) -> Connection:
    parts = urlsplit(text)
    extra: dict[str, Any] = dict(parse_qsl(parts.query))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Connection(
        id=connection_id,
        kind=parts.scheme.replace("postgresql", "postgres"),
        host=unquote(parts.hostname or ""),
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        extra=extra,
    )


def require_tls(connection: Connection) -> None:
    """Outside loopback a database must be asked for a verified TLS connection; Unreachable otherwise."""
    host = connection.host or str(connection.extra.get("host", ""))
    if is_local(host) or connection.extra.get("sslmode") in {"require", "verify-ca", "verify-full"}:
        return
    raise Unreachable(
        f"Connection {connection.id!r} leaves this machine without TLS.", fix="Add sslmode=verify-full to the connection's extra."
    )


def require_https(connection: Connection, endpoint: str | None) -> None:
    """Outside loopback an object store must be https; Unreachable otherwise, and when it is no URL at all: `host:9000` has no host.

    None is the provider's own, which is https.
    """
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise bad_endpoint(connection)
    if parts.scheme == "https" or is_local(parts.hostname or ""):
        return
    raise Unreachable(f"Connection {connection.id!r} leaves this machine without TLS.", fix="Use an https endpoint_url.")


def require_mail_tls(connection: Connection) -> None:
    """Outside loopback a mail server must be asked for verified TLS: from the first byte (SMTPS), or by STARTTLS; Unreachable otherwise."""
    off = switched_on(connection, "disable_ssl") and switched_on(connection, "disable_tls")
    if is_local(connection.host) or not (off or connection.extra.get("ssl_context") == "none"):
        return
    raise Unreachable(
        f"Connection {connection.id!r} leaves this machine without TLS.",
        fix="Take disable_tls (STARTTLS) or disable_ssl (SMTPS), and ssl_context, out of the connection's extra.",
    )


def switched_on(connection: Connection, name: str) -> bool:
    """A yes or no of the extra; no when it is left out. In a URI it is a text, of which "false", "no" and "0" are no."""
    return str(connection.extra.get(name) or "").strip().lower() not in {"", "false", "no", "0"}


def bad_endpoint(connection: Connection, names: str = "endpoint_url") -> Unreachable:
    """What to raise when `endpoint_url` cannot be used; it does not quote it, for it may carry a password."""
    return Unreachable(
        f"The {names} of connection {connection.id!r} cannot be used.",
        fix="Write endpoint_url with its scheme and host, such as https://objects.example.com:9000, and region_name such as eu-west-3.",
    )


def is_local(host: str) -> bool:
    """Whether a host is this machine: none, a socket's folder, localhost, or an address of loopback."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
