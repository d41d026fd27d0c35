"""`gym-http-server mcp`: nothing but the protocol on stdout, and an end that leaves nothing, however it comes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_http_server.client import Client
from tests.conftest import start
from tests.manual.commands import fences
from tests.support.handing import TROUBLE
from tests.support.mcp_http import words
from tests.support.mcp_stdio import StdioServer
from tests.support.serving import ROOT, Server, eventually

PAGE = ROOT / "gym_http_server/console/manual/agents.md"
KEY = "correct-horse-battery-staple"
IMPORTS = ("--import", "tests.support.troublemakers")


def made(server: StdioServer, env_id: str = TROUBLE) -> str:
    """Shake hands, make an environment and begin an episode; return the id of the instance."""
    server.shake_hands()
    instance_id = server.call("create", env_id=env_id)["structuredContent"]["instance_id"]
    assert not server.call("reset").get("isError")
    return instance_id


def test_nothing_but_the_protocol_is_on_stdout() -> None:
    """What an environment prints, here in the same process, and the log is on stderr; `ask` reads each line as a message."""
    with StdioServer(*IMPORTS, "--engine", "inline", "mcp") as server:
        made(server)
        assert not server.call("step", action="print 3").get("isError")
        assert "instance_id" in server.call("observe")["structuredContent"]
        eventually(lambda: any("MCP on standard input and output" in line for line in server.stderr))
        eventually(lambda: any("is made: tests/Troublemaker-v0" in line for line in server.stderr))


def test_its_own_server_can_be_watched_with_its_key(tmp_path: Path) -> None:
    """It serves this machine alone, wherever it is told to listen, has the key and the port that it is given, and ends by SIGTERM."""
    path = tmp_path / "key"
    path.write_text(KEY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with StdioServer("--listen", "0.0.0.0", "--port", str(port), "--api-key-file", str(path), "mcp") as server:
        instance_id = made(server, "CartPole-v1")
        with Client(f"http://127.0.0.1:{port}", KEY) as client:
            assert client.list_named_envs()[instance_id]["labels"]["protocol"] == "mcp over stdio"
        process = psutil.Process(server.process.pid)
        listening = [each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", port)]
        server.watch()
        server.process.send_signal(signal.SIGTERM)
        assert server.end() in (0, 1), server.stderr


def close_input(server: StdioServer) -> None:
    server.process.stdin.close()


def send_sigkill(server: StdioServer) -> None:
    server.process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("end", [close_input, send_sigkill])
def test_everything_ends_with_the_client(end: Any) -> None:
    """The command, its server, the fork server and the environment end, also while a step runs that never returns."""
    with StdioServer(*IMPORTS, "mcp") as server:
        made(server)
        server.write(
            {
                "jsonrpc": "2.0",
                "id": "hangs",
                "method": "tools/call",
                "params": {"name": "step", "arguments": {"action": "sleep 600"}},
            }
        )
        server.watch()
        assert len(server.processes) >= 3
        end(server)
        status = server.end()
        assert status in ((-signal.SIGKILL,) if end is send_sigkill else (0, 1)), server.stderr


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server with a key."""
    with start("handover", "--api-key", KEY) as running:
        running.key = KEY
        yield running


def test_a_running_server_is_used_with_its_key(locked: Server) -> None:
    """Instances are made there, say whose they are, have a lease for a client that vanishes, and are closed at the end."""
    with StdioServer("mcp", "--url", locked.url, environment={"GYM_HTTP_SERVER_API_KEY": KEY}) as server:
        instance_id = made(server)
        listed = locked.get("/v1/envs/").json
        assert listed["labels"][instance_id]["protocol"] == "mcp over stdio"
        assert locked.get(f"/v1/envs/{instance_id}/").json["lease"] == 60
        result = server.call("step", action="raise a fuss")
        assert result["isError"]
        assert "a fuss" in words(result)
    assert locked.get("/v1/envs/").json["envs"] == {}


def test_the_tools_of_one_environment(locked: Server) -> None:
    """With --only the environment is there from the beginning; one that cannot be made is one line on stderr."""
    access = {"GYM_HTTP_SERVER_API_KEY": KEY}
    arguments = ("mcp", "--url", locked.url, "--only")
    with StdioServer(*arguments, "FrozenLake-v1?is_slippery=false", environment=access) as server:
        server.shake_hands()
        assert "create" not in [tool["name"] for tool in server.ask("tools/list")["tools"]]
        server.call("reset")
        assert server.call("step", actions=[1, 1, 2, 1, 2, 2])["structuredContent"]["total_reward"] == 1.0
    assert locked.get("/v1/envs/").json["envs"] == {}
    with StdioServer(*arguments, "Nonsense-v0", environment=access) as server:
        assert server.process.stdout.read() == ""
    assert server.process.returncode == 1
    assert "Nonsense-v0" in server.stderr[-1]


@pytest.mark.parametrize(
    ("url", "key", "why"),
    [
        ("{}", "wrong", "key"),
        ("http://127.0.0.1:9", KEY, "is the server running there"),
        ("no address", KEY, "no address"),
    ],
    ids=["a wrong key", "nobody there", "no URL"],
)
def test_a_server_that_cannot_be_used_is_one_line(locked: Server, url: str, key: str, why: str) -> None:
    """The reason is on stderr, stdout stays empty, and the status is 1."""
    server = StdioServer("mcp", "--url", url.format(locked.url), "--api-key", key)
    with server:
        assert server.process.stdout.read() == ""
    assert server.process.returncode == 1
    [line] = server.stderr
    assert why in line


def test_the_configuration_of_the_manual_works() -> None:
    """A desktop client that is configured so is served; lines that are no messages do it no harm."""
    configuration = next(each for each in fences(PAGE) if each.language == "json" and each.run_by)
    configured = json.loads(configuration.code)["mcpServers"]["gym"]
    assert configured["command"].endswith("/bin/gym-http-server")
    with StdioServer(*configured["args"]) as server:
        for line in ("", "{", "[1]", '"text"', '{"jsonrpc": "2.0"}', json.dumps({"a": "b" * 200_000})):
            server.process.stdin.write(f"{line}\n")
        assert server.shake_hands()["serverInfo"]["name"] == "gym-http-server"
        assert server.call("create", env_id="ALE/Pong-v5")["structuredContent"]["env_id"] == "ALE/Pong-v5"


def test_a_missing_extra_is_one_line() -> None:
    """It names the package and the pip command."""
    code = "import sys; sys.modules['mcp'] = None; from gym_http_server.cli import main; main(['mcp'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'mcp>=2.0,<3'" in done.stderr
