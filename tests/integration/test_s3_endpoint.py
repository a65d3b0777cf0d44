"""An endpoint that is no URL is a clear error of the connection, wherever a client is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lethe.connections import Connection
from lethe.errors import Unreachable
from lethe.stores import s3
from lethe.verify.objects import _client

MAKERS = (s3.client, _client)


@pytest.mark.parametrize("make", MAKERS, ids=["purge", "check"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "objects.example.com:9000",
        "localhost:9000",
        "127.0.0.1",
        "minio",
        "//objects.example.com",
        "http://",
        "https:///bucket",
        "ftp://127.0.0.1",
        "https://user:secret@ob jects.example.com",
        "https://[::1",
        "http://127.0.0.1:port",
    ],
)
def test_an_endpoint_that_is_no_url_is_named_and_not_quoted(make: Callable[[Connection], Any], endpoint: str) -> None:
    with pytest.raises(Unreachable, match=r"endpoint_url.* of connection 'files_s3' cannot be used") as refused:
        make(Connection(id="files_s3", kind="aws", extra={"endpoint_url": endpoint}))
    assert "https://objects.example.com:9000" in refused.value.fix
    assert endpoint not in refused.value.problem and "secret" not in str(refused.value)


@pytest.mark.parametrize("make", MAKERS, ids=["purge", "check"])
@pytest.mark.parametrize("endpoint", [None, "", "https://objects.example.com:9000", "http://127.0.0.1:9000", "http://[::1]:9000"])
def test_an_endpoint_that_is_one_makes_a_client(make: Callable[[Connection], Any], endpoint: str | None) -> None:
    made = make(Connection(id="files_s3", kind="aws", extra={"endpoint_url": endpoint}))
    assert made.meta.endpoint_url == (endpoint or "https://s3.amazonaws.com")


@pytest.mark.parametrize("make", MAKERS, ids=["purge", "check"])
def test_a_region_that_is_none_is_named(make: Callable[[Connection], Any]) -> None:
    with pytest.raises(Unreachable, match="region_name of connection 'files_s3' cannot be used"):
        make(Connection(id="files_s3", kind="aws", extra={"region_name": "eu west"}))
