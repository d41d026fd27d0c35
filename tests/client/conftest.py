"""Fixtures: a loopback server, a client of it, and the address of no server."""

from __future__ import annotations

import socket

import pytest

from gym_http_server.client import Client
from gym_http_server.support.waiting import Waiter

from ..support.loopback import WAIT_SECONDS, Loopback


@pytest.fixture
def loopback():
    with Loopback() as server:
        yield server


@pytest.fixture
def client(loopback):
    with Client(loopback.url, timeout=WAIT_SECONDS) as made:
        yield made


@pytest.fixture
def unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def blind(monkeypatch):
    """Hide from the client that a connection has ended, as if it ended just after the look at it."""
    monkeypatch.setattr(Waiter, "ready", lambda _: [])
