"""Environments that die or hang in a session of an agent: an error of its protocol with the server's words, and a free place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import start
from tests.support.handing import TROUBLE
from tests.support.mcp_http import McpSession, words
from tests.support.serving import Server, eventually

ENDS = {"dies": ("exit 3", "code 3"), "is killed": ("segfault", "SIGSEGV"), "hangs": ("hang", "--call-timeout")}


@pytest.fixture(scope="module")
def narrow() -> Iterator[Server]:
    """A server with room for one instance, which has two seconds for each call."""
    with start("process", "--max-envs", "1", "--call-timeout", "2") as running:
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
