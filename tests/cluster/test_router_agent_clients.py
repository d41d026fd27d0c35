"""Clients of others, unmodified, at a router with two shards: both generations of MCP's SDK, and OpenEnv's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..agents.test_mcp_clients import MCP_CLIENTS, assert_played, run
from ..agents.test_openenv_clients import LAKE, OPENENV, played
from ..support.cluster import TestCluster
from ..support.serving import ROOT, Server, eventually

NAMED = ("--openenv", f"lake={json.dumps(LAKE)}")

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def router() -> Iterator[Server]:
    """A router whose shards have room for 64 sessions together."""
    with TestCluster(
        2, 32, NAMED, (*NAMED, "--import", "tests.support.troublemakers", "--import", "tests.support.talk")
    ) as cluster:
        yield cluster.router
        assert eventually(lambda: cluster.router.get("/v1/envs/").json["envs"] == {})


@pytest.mark.skipif(not MCP_CLIENTS, reason="MCP_CLIENTS names no folder with clients")
@pytest.mark.parametrize("generation", ["1", "2"])
def test_the_sdk_plays_a_whole_frozen_lake(router: Server, generation: str) -> None:
    """As at one server: tools, an image, and mistakes as results that help."""
    python = str(Path(MCP_CLIENTS) / generation / "bin/python")
    targets = json.dumps({"http": [f"{router.url}/mcp"]})
    seen = json.loads(run(python, "tests/support/mcp_session.py", targets, PYTHONPATH=str(ROOT)))
    assert_played(seen["http"])


@pytest.mark.skipif(not OPENENV, reason="OPENENV names no Python with openenv")
def test_openenvs_clients_play(router: Server) -> None:
    """By tools and steps in one episode, and in a batch of 64 at once that takes all room of both shards; nothing is left of it."""
    found = played(router.url, "tools", "at_once")
    assert found["tools"]["last"].startswith("15; reward 1; episode is over after 6 steps: terminated")
    assert found["at_once"] == {"different": 8, "steps": [10] * 64}
