"""Clients of others, unmodified: both generations of the official SDK, the inspector and the conformance suite.

`MCP_CLIENTS` names a folder with virtual environments `1` and `2`, one for each generation of the SDK, and `node`, where npm has
installed Node, the inspector and the suite; `.ci/run` makes it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import start
from tests.support.mcp_http import words
from tests.support.serving import ROOT, Server, eventually

MCP_CLIENTS = os.environ.get("MCP_CLIENTS", "")
KEY = "correct-horse-battery-staple"
CLIENTS = {
    "1 over HTTP": ("1", "legacy", "http"),
    "1 over stdio": ("1", "legacy", "stdio"),
    "2 over HTTP": ("2", "modern", "http"),  # which falls back to the handshake
    "2 over stdio": ("2", "modern", "stdio"),
}

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not MCP_CLIENTS, reason="MCP_CLIENTS names no folder with clients, which .ci/run makes"),
]


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server with a key."""
    with start("handover", "--api-key", KEY) as running:
        running.key = KEY
        yield running


def run(*command: str, **variables: str) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def node(*command: str) -> str:
    """Run a program of npm's with the Node beside it."""
    programs = Path(MCP_CLIENTS) / "node/node_modules/.bin"
    return run(str(programs / command[0]), *command[1:], PATH=f"{programs}:{os.environ['PATH']}")


def stdio(server: Server) -> tuple[str, ...]:
    return (sys.executable, "-m", "gym_http_server", "mcp", "--url", server.url, "--api-key", KEY)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_sdk_plays_a_whole_frozen_lake(locked: Server, client: str) -> None:
    """It lists the tools, plays to the goal, gets an image, and meets mistakes as results that help."""
    version, mode, transport = CLIENTS[client]
    target = (f"{locked.url}/mcp",) if transport == "http" else stdio(locked)
    python = str(Path(MCP_CLIENTS) / version / "bin/python")
    seen = json.loads(run(python, "tests/support/mcp_session.py", mode, *target, KEY=KEY, PYTHONPATH=str(ROOT)))
    tools = {tool["name"]: tool for tool in seen["tools"]}
    assert {"list_environments", "create", "reset", "step", "render", "close"} <= set(tools)
    assert all(
        tool["title"] and tool["description"] and tool["outputSchema"]["type"] == "object" for tool in tools.values()
    )
    assert tools["list_environments"]["annotations"]["readOnlyHint"] is True
    assert "FrozenLake-v1" in words(seen["found"])
    assert "2 = move right" in seen["described"]["structuredContent"]["action_space"]["description"]
    steps = [each["structuredContent"] for each in seen["steps"]]
    assert [step["observation"] for step in steps] == [4, 8, 9, 13, 14, 15]
    assert [step["terminated"] for step in steps] == [False] * 5 + [True]
    assert steps[-1]["total_reward"] == 1
    [image] = [part for part in seen["image"]["content"] if part["type"] == "image"]
    assert base64.b64decode(image["data"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert image["mimeType"] == "image/png"
    mistakes = {"after": "call reset", "wrong": "action 7", "unknown": "did you mean 'FrozenLake-v1'"}
    for name, what in mistakes.items():
        assert seen[name]["isError"] is True
        assert what in words(seen[name])
    assert not seen["closed"].get("isError")
    assert locked.get("/v1/envs/").json["envs"] == {}


@pytest.fixture
def configured(locked: Server, tmp_path: Path) -> str:
    """A configuration as that of a desktop client."""
    command, *arguments = stdio(locked)
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"gym": {"command": command, "args": arguments}}}))
    return str(path)


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_inspector_lists_and_calls(locked: Server, configured: str, transport: str) -> None:
    """The inspector's command line finds no fault with the schemas, and gets the result of a tool."""
    header = ("--header", f"Authorization: Bearer {KEY}")
    target = ("--config", configured, "--server", "gym")
    if transport == "http":
        target = (f"{locked.url}/mcp", *header)
    inspect = ("mcp-inspector", "--cli", *target, "--method")
    listed = json.loads(node(*inspect, "tools/list", "--strict"))
    assert {"create", "step", "render"} <= {tool["name"] for tool in listed["tools"]}
    called = json.loads(node(*inspect, "tools/call", "--tool-name", "create", "--tool-arg", "env_id=CartPole-v1"))
    instance_id = called["structuredContent"]["instance_id"]
    if transport == "stdio":
        eventually(lambda: instance_id not in locked.get("/v1/envs/").json["envs"])
    else:  # it does not end its session
        locked.request("DELETE", f"/v1/envs/{instance_id}/")


@pytest.fixture(scope="module")
def open_server() -> Iterator[Server]:
    """A server without a key, which the suite cannot send."""
    with start("handover") as running:
        yield running


@pytest.mark.parametrize("scenario", ["server-session-lifecycle", "tools-list", "dns-rebinding-protection"])
def test_the_conformance_suite_passes(open_server: Server, scenario: str) -> None:
    """The scenarios of the protocol's own suite for a server of tools; the others ask for prompts, resources or tools of theirs."""
    assert ", 0 failed, 0 warnings" in node(
        "conformance", "server", "--url", f"{open_server.url}/mcp", "--scenario", scenario
    )
