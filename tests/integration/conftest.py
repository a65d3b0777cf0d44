"""Object stores for the tests: a real Ceph gateway where one can be had, and moto's server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ceph import CephGateway, available
from demo.objects import ObjectServer
from demo.postgres import free_port


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephGateway]:
    """A Ceph object gateway for the session. Skipped, with the reason, where there cannot be one; LETHE_REQUIRE_CEPH=1 fails instead."""
    reason = available()
    if reason is not None:
        if os.environ.get("LETHE_REQUIRE_CEPH") == "1":
            pytest.fail(f"LETHE_REQUIRE_CEPH=1, but {reason}", pytrace=False)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="lethe-ceph-", ignore_cleanup_errors=True) as folder:
        gateway = CephGateway(folder=Path(folder))
        gateway.start()
        yield gateway
        gateway.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[ObjectServer]:
    """Moto's server for the session; each test makes buckets of its own."""
    with tempfile.TemporaryDirectory(prefix="lethe-moto-") as folder:
        server = ObjectServer(folder=Path(folder), port=free_port())
        server.start()
        yield server
        server.stop()
