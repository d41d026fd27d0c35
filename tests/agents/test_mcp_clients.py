"""Clients of others, unmodified: both generations of the official SDK, the inspector and the conformance suite.

`MCP_CLIENTS` names a folder with virtual environments `1` and `2`, one for each generation of the SDK, and `node`, where npm has
installed Node, the inspector and the suite; `.ci/run` makes it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SharedServers
from tests.support.mcp_http import words
from tests.support.serving import ROOT, Server, eventually

CONFORMS = {
    *("server-initialize", "server-session-lifecycle", "server-sse-multiple-streams"),
    *("ping", "tools-list", "dns-rebinding-protection"),
}
"""Scenarios of the conformance suite that any server of tools can pass."""

MCP_CLIENTS = os.environ.get("MCP_CLIENTS", "")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not MCP_CLIENTS, reason="MCP_CLIENTS names no folder with clients, which .ci/run makes"),
]


@pytest.fixture(scope="module")
def shared(_servers: SharedServers) -> Iterator[Server]:
    """The server that other files use, too."""
    yield from _servers.lend("handover")


def run(*command: str, status: int = 0, **variables: str) -> str:
    """Run a command that ends with a status; return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env={**os.environ, **variables}
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def node(*command: str, status: int = 0) -> str:
    """Run a program of npm's with the Node beside it."""
    programs = Path(MCP_CLIENTS) / "node/node_modules/.bin"
    return run(str(programs / command[0]), *command[1:], status=status, PATH=f"{programs}:{os.environ['PATH']}")


def stdio(server: Server) -> list[str]:
    return [sys.executable, "-m", "gym_http_server", "mcp", "--url", server.url]


@pytest.mark.parametrize("generation", ["1", "2"])
def test_the_sdk_plays_a_whole_frozen_lake(shared: Server, generation: str) -> None:
    """Over HTTP and stdio it lists the tools, plays to the goal, gets an image, and meets mistakes as results that help."""
    python = str(Path(MCP_CLIENTS) / generation / "bin/python")
    targets = {"http": [f"{shared.url}/mcp"], "stdio": stdio(shared)}
    seen = json.loads(run(python, "tests/support/mcp_session.py", json.dumps(targets), PYTHONPATH=str(ROOT)))
    assert set(seen) == set(targets)
    for transport in targets:
        assert_played(seen[transport])
    assert shared.get("/v1/envs/").json["envs"] == {}


def assert_played(seen: dict[str, Any]) -> None:
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


@pytest.fixture
def configured(shared: Server, tmp_path: Path) -> str:
    """A configuration as that of a desktop client."""
    command, *arguments = stdio(shared)
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"gym": {"command": command, "args": arguments}}}))
    return str(path)


def test_the_inspector_lists(shared: Server) -> None:
    """The inspector's command line finds no fault with the schemas."""
    listed = json.loads(node("mcp-inspector", "--cli", f"{shared.url}/mcp", "--method", "tools/list", "--strict"))
    assert {"create", "step", "render"} <= {tool["name"] for tool in listed["tools"]}


def test_the_inspector_calls(shared: Server, configured: str) -> None:
    """It gets the result of a tool from a program that it starts, whose instances end with it."""
    inspect = ("mcp-inspector", "--cli", "--config", configured, "--server", "gym", "--method", "tools/call")
    called = json.loads(node(*inspect, "--tool-name", "create", "--tool-arg", "env_id=CartPole-v1"))
    instance_id = called["structuredContent"]["instance_id"]
    eventually(lambda: instance_id not in shared.get("/v1/envs/").json["envs"])


def test_the_conformance_suite_passes(shared: Server) -> None:
    """The scenarios of the protocol's own suite for a server of tools; the others ask for prompts, resources or tools of theirs."""
    suite = ("conformance", "server", "--url", f"{shared.url}/mcp", "--requirements", "2025-11-25")
    printed = node(*suite, status=1)
    passed = dict(re.findall(r"✓ (\S+): (\d+) passed, 0 failed", printed))
    assert {name for name, checks in passed.items() if checks != "0"} == CONFORMS, printed[-4000:]
    assert "warning" not in printed.lower()
