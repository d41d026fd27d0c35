"""The programs of the manual's pages about agents, beside a real server: with a scripted model, and as TRL calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SharedServers, start
from tests.manual.commands import Fence, fences
from tests.support.mcp_session import FROZEN_LAKE
from tests.support.serving import ROOT, Server

PAGE = ROOT / "gym_http_server/console/manual/agents.md"


def program(page: Path, test: str) -> Fence:
    """Return the program that a test is said to run."""
    [found] = [fence for fence in fences(page) if any(test in each for each in fence.run_by)]
    return found


def run(python: str, code: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [python, "-c", code, *arguments],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def shared(_servers: SharedServers) -> Iterator[Server]:
    """The server that other files use, too."""
    yield from _servers.lend("handover")


class ScriptedModel(BaseHTTPRequestHandler):
    """An API of chat completions, whose model knows what it will say."""

    protocol_version = "HTTP/1.1"
    calls = (
        ("create", {"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": False}}),
        ("reset", {}),
        ("step", {"actions": FROZEN_LAKE}),
        ("close", {}),
    )
    conversations: list[list[dict[str, Any]]]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions"
        assert {"create", "reset", "step"} <= {tool["function"]["name"] for tool in asked["tools"]}
        self.conversations.append(asked["messages"])
        turn = sum(message["role"] == "assistant" for message in asked["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": "The reward was 1."}
        if turn < len(self.calls):
            name, arguments = self.calls[turn]
            function = {"name": name, "arguments": json.dumps(arguments)}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{turn}", "type": "function", "function": function}],
            }
        body = json.dumps({"choices": [{"message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_scripted_model_plays_in_the_loop_of_the_manual(shared: Server) -> None:
    """It makes the environment, plays to the goal, reads the words of the results, and has the last word."""
    fence = program(PAGE, "test_a_scripted_model_plays_in_the_loop_of_the_manual")
    conversations: list[list[dict[str, Any]]] = []
    handler = type("Handler", (ScriptedModel,), {"conversations": conversations})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as api:
        thread = threading.Thread(target=api.serve_forever)
        thread.start()
        try:
            model = {"MODEL_URL": f"http://127.0.0.1:{api.server_port}/v1", "MODEL": "scripted", "MODEL_KEY": "none"}
            said = run(sys.executable, fence.code, f"{shared.url}/mcp", **model)
        finally:
            api.shutdown()
            thread.join()
    assert said == "The reward was 1.\n"
    told = [message["content"] for message in conversations[-1] if message["role"] == "tool"]
    assert len(told) == len(ScriptedModel.calls)
    assert "reward 1" in told[2]


OPENENV = os.environ.get("OPENENV", "")
GENERATION = """
import json
lake, said = Lake(), []
for way in (["right", "down"], ["down", "down", "right", "down", "right", "right"]):
    lake.reset()
    said.append([[lake.move(f"move {each}") for each in way][-1], reward([lake])])
print(json.dumps(said))
"""


@pytest.mark.full
@pytest.mark.skipif(not OPENENV, reason="OPENENV names no Python with openenv, which .ci/run makes")
def test_what_trl_calls_crosses_the_lake() -> None:
    """The model's tool tells of the hole and of the goal, and each episode has a reward of its own."""
    fence = program(PAGE.with_name("openenv.md"), "test_what_trl_calls_crosses_the_lake")
    lake = 'FrozenLake-v1={"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": false}}'
    with start("handover", "--openenv", lake) as server:
        said = run(OPENENV, fence.code.replace("http://127.0.0.1:5000", server.url) + GENERATION)
    assert json.loads(said) == [
        ["You are at field 5. The episode is over.", [0.0]],
        ["You are at field 15. The episode is over.", [1.0]],
    ]
