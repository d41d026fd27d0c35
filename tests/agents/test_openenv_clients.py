"""OpenEnv's own validator and clients, unmodified, against this server.

`OPENENV` names the Python of a virtual environment with `openenv`, which .ci/run makes: it asks for packages of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ..conftest import start
from ..support.serving import ROOT, Server, eventually

OPENENV = os.environ.get("OPENENV", "")
LAKE = {"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": False}}
PATHS = ("/openenv/CartPole-v1", "/openenv/lake", "/openenv/ALE/Pong-v5", "/openenv/tests/Words-v0", "/")
SECONDS = 240

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not OPENENV, reason="OPENENV names no Python with openenv, which .ci/run makes"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server as its user starts it, with one environment named and one at the root."""
    named = ("--openenv", f"lake={json.dumps(LAKE)}", "--openenv", "/=CartPole-v1")
    with start("process", *named, "--import", "tests.support.talk") as running:
        yield running


@pytest.fixture(scope="module")
def found(server: Server) -> Any:
    """What `openenv_session.py` has found; nothing is left of it."""
    found = played(server.url, *PATHS)
    assert eventually(lambda: server.get("/v1/envs/").json["envs"] == {})
    return found


def played(url: str, *paths: str) -> Any:
    """Return what `openenv_session.py` finds at a server."""
    command = [OPENENV, str(ROOT / "tests/support/openenv_session.py"), url, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", PATHS)
def test_openenv_validates_it(found: Any, path: str) -> None:
    """All six criteria are passed, by an id, a name, an id with a slash, a Dict, and at the root."""
    validated = found["validated"][path]
    assert (validated["code"], validated["report"].count("PASS  "), "FAIL" in validated["report"]) == (0, 6, False), (
        validated
    )


def test_the_generic_client_plays_whole_episodes(found: Any) -> None:
    """CartPole, FrozenLake, Blackjack, texts and a Dict are played to their end, with states and metadata."""
    found = found["episodes"]
    assert all(each["done"] for each in found.values()), found
    states = [(each["state"]["episode_id"], each["state"]["step_count"]) for each in found.values()]
    assert states == [("mine", each["steps"]) for each in found.values()]
    assert all(each["metadata"]["terminated"] or each["metadata"]["truncated"] for each in found.values())
    assert len(found["CartPole-v1"]["first"]["observation"]) == 4
    assert len(found["Blackjack-v1"]["first"]["observation"]) == 3
    assert found["tests/Talk-v0"]["last"]["observation"].startswith("you ")
    assert {"at", "word"} <= found["tests/Words-v0"]["first"].keys()


@pytest.mark.parametrize("client", ["synchronous_episodes", "tool_episodes"])
def test_the_other_clients_play_whole_episodes(found: Any, client: str) -> None:
    """The same five are played to their end by the synchronous client and by the client of tools."""
    assert found[client].keys() == found["episodes"].keys()
    for is_done, steps, counted in found[client].values():
        assert is_done
        assert steps == counted > 0


def test_the_synchronous_client_goes_on(found: Any) -> None:
    """Two episodes on a connection; an action that is refused is its error with our words, and the session goes on."""
    found = found["synchronous"]
    assert found["lengths"][0] == found["lengths"][1] > 5
    assert "7" in found["error"]
    assert len(found["after"]) == 4


def test_the_client_of_tools_shares_a_session_with_the_websocket(found: Any) -> None:
    """Tools and steps take turns in one episode, which ends at the goal."""
    found = found["tools"]
    assert found["names"] == ["act", "new_episode", "observe", "render"]
    assert found["listed"] == 4
    assert found["first"] == "4; reward 0; episode goes on (step 1 of 100)"
    assert found["second"] == "8; reward 0; episode goes on (step 2 of 100)"
    assert found["steps"] == 2
    assert found["last"].startswith("15; reward 1; episode is over after 6 steps: terminated")
    assert "Unknown tool: 'nope'" in found["error"]


def test_a_batch_of_sessions_plays_at_once(found: Any) -> None:
    """64 connections, as a batch of generations opens them, have an environment each: equal seeds play equal episodes."""
    assert found["at_once"] == {"different": 8, "steps": [10] * 64}
