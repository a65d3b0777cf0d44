"""What every command and every task starts from: policies, catalog, and the way to each store. Opened once, closed at the end.

Engines are made on first use and kept, one for each connection and purpose. Everything that reads or deletes at a source runs
with `row_security = off` (a policy that would hide rows becomes an error, not a smaller number), a fixed `search_path`, and UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine, create_engine

from lethe import settings
from lethe.catalog.live import LiveSchema
from lethe.catalog.load import load_catalog
from lethe.catalog.model import Catalog, Store
from lethe.connections import Connections, from_environment
from lethe.errors import UnknownName, Unreachable
from lethe.policy.load import PolicyBook, load_policies
from lethe.policy.model import Need, PolicyVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SOURCE_OPTIONS = ("search_path=pg_catalog", "timezone=UTC", "row_security=off", "client_min_messages=error")
CHECK_OPTIONS = (*SOURCE_OPTIONS, "default_transaction_read_only=on")
CAN_BE_MET = frozenset({Need.ARCHIVE})
"""The needs of rules that an installation can meet by its connections. The others wait for something that is still to be built."""

CONTROL_OPTIONS = ("search_path=pg_catalog", "timezone=UTC")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Policies, catalog and stores of one company."""

    folder: Path
    policies: PolicyBook
    catalog: Catalog
    connections: Connections
    _engines: dict[tuple[str, tuple[str, ...]], Engine] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def open(cls, connections: Connections = from_environment, folder: Path | None = None, *, check_text: bool = True) -> Self:
        """Reads the files of `folder` (`LETHE_POLICY_DIR` when None); connects to nothing yet. Raises InvalidFile.

        With `check_text` false a text that is not the declared one is left to the caller: only what says so itself may ask for that.
        """
        folder = folder or settings.policy_dir()
        policies = load_policies(folder, check_text=check_text)
        return cls(folder=folder, policies=policies, catalog=load_catalog(settings.catalog_dir(folder)), connections=connections)

    def policy(self, on: date | datetime) -> PolicyVersion:
        """The version in force; NotInForce when there is none."""
        return self.policies.in_force(on)

    def store(self, store_id: str) -> Store:
        """A store by its id; UnknownName when there is none."""
        for store in self.catalog.stores:
            if store.id == store_id:
                return store
        raise UnknownName(f"There is no store {store_id[:60]!r}.", fix=f"Known: {', '.join(s.id for s in self.catalog.stores)}.")

    def engine(self, connection_id: str, options: Iterable[str] = SOURCE_OPTIONS) -> Engine:
        """The engine of a connection, with these settings of the server in force. Raises Unreachable when it is not set."""
        key = (connection_id, tuple(options))
        with self._lock:
            if key not in self._engines:
                self._engines[key] = create_engine(
                    self.connections(connection_id).sqlalchemy_url(),
                    connect_args={"options": " ".join(f"-c {o}" for o in key[1]), "application_name": "lethe", "connect_timeout": 10},
                    pool_pre_ping=True,
                    hide_parameters=True,
                )
            return self._engines[key]

    def source(self, store: Store) -> Engine:
        """Reads and deletes at a store."""
        return self.engine(store.connection)

    def checking(self, store: Store) -> Engine:
        """Reads everything at a store and can write nothing."""
        return self.engine(store.check_connection or store.connection, CHECK_OPTIONS)

    def maintenance(self, store: Store) -> Engine | None:
        """Drops partitions and vacuums at a store; None when the catalog names no connection for that."""
        return self.engine(store.maintenance_connection) if store.maintenance_connection else None

    @property
    def control(self) -> Engine:
        """Lethe's own database, as the runtime role."""
        return self.engine(settings.CONTROL, CONTROL_OPTIONS)

    @property
    def approver(self) -> Engine:
        """Lethe's own database, with the credentials of a person who approves."""
        return self.engine(settings.APPROVER, CONTROL_OPTIONS)

    def live(self, store: Store, schemas: Iterable[str] | None = None) -> LiveSchema:
        """The database of a store as it is now, every schema of it when none is named. Raises Unreachable."""
        from lethe.stores.postgres.describe import describe

        return describe(self.checking(store), None if schemas is None else tuple(schemas))

    def s3(self, connection_id: str) -> S3Client:
        """A client of an object store. Raises Unreachable when it is not set or would leave this machine without TLS."""
        from lethe.stores.s3 import client

        return client(self.connections(connection_id))

    def bucket(self, connection_id: str) -> str:
        """The bucket named in a connection's extra (`bucket`). Raises Unreachable when there is none."""
        name = str(self.connections(connection_id).extra.get("bucket") or "")
        if not name:
            raise Unreachable(f"Connection {connection_id!r} names no bucket.", fix="Set `bucket` in its extra.")
        return name

    @property
    def met(self) -> frozenset[Need]:
        """What rules need and this installation has: an archive, when its connection is set. Whether it is fit, the purge sees."""
        try:
            self.connections(settings.ARCHIVE)
        except Unreachable:
            return frozenset()
        return frozenset({Need.ARCHIVE})

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
