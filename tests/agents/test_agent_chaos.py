"""Environments that die or hang in a session of an agent: an error of its protocol with the server's words, and a free place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.conftest import start
from tests.support.handing import TROUBLE
from tests.support.mcp_http import McpSession, words
from tests.support.serving import Server, eventually

ENDS = {"dies": ("exit 3", "code 3"), "is killed": ("segfault", "SIGSEGV"), "hangs": ("hang", "--call-timeout")}


@pytest.fixture(scope="module")
def narrow() -> Iterator[Server]:
    """A server with room for one instance, which has two seconds for each call."""
    with start("process", "--max-envs", "1", "--call-timeout", "2", "--openenv-grace", "0") as running:
        yield running


def has_room(server: Server) -> bool:
    return server.get("/v1/health/").json["instances"] == 0


@pytest.mark.parametrize("end", ENDS)
def test_an_environment_that_ends_in_a_session_of_mcp(narrow: Server, end: str) -> None:
    """The result is an error that says how it ended and what to do, its place is free, and the session makes another."""
    action, why = ENDS[end]
    with McpSession(narrow) as session:
        session.make(TROUBLE)
        result = session.call("step", action=action)
        assert result["isError"]
        assert why in words(result)
        assert "create" in words(result)
        eventually(lambda: has_room(narrow))
        session.make("CartPole-v1")
    eventually(lambda: has_room(narrow))


def exchange(connection: Any, kind: str, **data: Any) -> dict[str, Any]:
    connection.send(json.dumps({"type": kind, "data": data}))
    return json.loads(connection.recv(30))


@pytest.mark.parametrize("end", ENDS)
def test_an_environment_that_ends_in_a_session_of_openenv(narrow: Server, end: str) -> None:
    """The frame is an error that says how it ended, and the place is free for the next connection."""
    action, why = ENDS[end]
    with connect("ws://{}:{}/openenv/tests%2FTroublemaker-v0/ws".format(*narrow.address)) as connection:
        assert exchange(connection, "reset")["type"] == "observation"
        told = exchange(connection, "step", action=action)
        assert told["type"] == "error"
        assert why in told["data"]["message"]
        eventually(lambda: has_room(narrow))
    with connect("ws://{}:{}/openenv/CartPole-v1/ws".format(*narrow.address)) as connection:
        assert exchange(connection, "reset")["type"] == "observation"
    eventually(lambda: has_room(narrow))
