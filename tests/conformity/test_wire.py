"""The conformity kit's wire checks, of servers of each kind: sessions of the fourteen old clients, as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_http_server.conformity.caller import Caller
from gym_http_server.conformity.implementation import Implementation
from gym_http_server.conformity.plugin import closed
from gym_http_server.conformity.suite.test_wire import (
    test_body_of_get,
    test_compression,
    test_retired_id,
    test_session,
    test_slashes,
    test_upload,
    test_upload_needs,
    test_void_body,
)

from ..support.serving import Server

__all__ = [
    "closed",
    "test_body_of_get",
    "test_compression",
    "test_retired_id",
    "test_session",
    "test_slashes",
    "test_upload",
    "test_upload_needs",
    "test_void_body",
]

pytestmark = pytest.mark.usefixtures("closed")


@pytest.fixture
def implementation(server: Server, tmp_path: Path) -> Iterator[Implementation]:
    """A server of each kind."""
    with Implementation(server.url, results=str(tmp_path)) as under_test:
        yield under_test


@pytest.fixture
def caller(implementation: Implementation) -> Caller:
    return Caller(implementation)


@pytest.fixture
def with_uploads() -> bool:
    return True
