"""What the operator of a server sets for MCP: key, origins, mode, number of steps, recordings, idle time, or no MCP at all."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gym_http_server import load_results
from gym_http_server.agents.mcp.face import McpFace, is_on
from gym_http_server.app import Application
from gym_http_server.config import Settings
from gym_http_server.datasets.replay import replay
from gym_http_server.results.trajectories import open_trajectories

from ..support.serving import SECONDS, Server

KEY = "a-key-of-many-characters"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server with a key whose sessions play, take 12 steps at most and are recorded."""
    options = ("--mcp-mode", "play", "--mcp-max-steps", "12", "--mcp-record", "played", "--results-root", str(root))
    access = ("--cors-origin", "https://lab.example")
    with Server(*options, *access, environment={"GYM_HTTP_SERVER_API_KEY": KEY}) as running:
        running.key = KEY
        yield running


@contextlib.asynccontextmanager
async def playing(server: Server, env_id: str = "") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=HEADERS) as http,
        Client(streamable_http_client(f"{server.url}/mcp/{env_id}", http_client=http)) as client,
    ):
        yield client


async def play(server: Server, *uses: tuple[str, dict[str, Any]], env_id: str = "") -> list[Any]:
    """Return the results of tools in a session of their own, of one environment or of any."""
    async with playing(server, env_id) as client:
        return [await client.call_tool(name, arguments) for name, arguments in uses]


def test_a_key_is_required(server: Server) -> None:
    """Without the key, or with another, /mcp is a 401 as every path is, before anything is read."""
    server.key = ""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "gym_http_server_session=none"}):
        answer = server.post("/mcp/CartPole-v1", {}, headers=headers, check=False)
        assert answer.status == 401
        answer = server.post("/mcp", {}, headers=headers, check=False)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    server.key = KEY


def test_pages_of_other_origins_and_foreign_hosts_are_refused(server: Server) -> None:
    """Origin and Host have the server's own rules on /mcp, and an allowed origin may read the id of its session."""
    assert server.post("/mcp", {}, headers={"Origin": "https://evil.example"}, check=False).status == 403
    assert server.post("/mcp", {}, headers={"Host": "evil.example"}, check=False).status == 400
    answer = server.post("/mcp", {}, headers={"Origin": "https://lab.example"}, check=False)
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]


async def test_in_play_mode_nothing_can_be_repeated(server: Server) -> None:
    """Neither seeds nor snapshots nor what makes an environment another one are offered, and each is refused."""
    given = {"seed": 1, "kwargs": {"is_slippery": False}, "options": {"low": 0}, "max_episode_steps": 9}
    async with playing(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        uses = [("create", {"env_id": "FrozenLake-v1", name: value}) for name, value in given.items()]
        refused = [await client.call_tool(*use) for use in [*uses, ("reset", {"seed": 1}), ("reset", {"options": {}})]]
    assert not tools.keys() & {"snapshot", "restore"}
    assert not given.keys() & {name for tool in tools.values() for name in tool.input_schema["properties"]}
    assert all(each.is_error and "unexpected" in each.content[0].text for each in refused), refused


async def test_a_session_takes_so_many_steps(server: Server) -> None:
    """The steps of all its instances count; a list stops at the last; then only what takes none is served."""
    create = ("create", {"env_id": "Pendulum-v1"})
    results = await play(
        server,
        create,
        ("reset", {}),
        ("step", {"actions": [[0]] * 10}),
        ("step", {"actions": [[0]] * 4}),
        ("step", {"action": [0]}),
        ("reset", {}),
        create,
        ("observe", {}),
        ("close", {}),
    )
    assert [result.structured_content["steps_left"] for result in results[:4]] == [12, 12, 2, 0]
    assert "2 of 4 actions taken" in results[3].content[0].text
    assert "2 of 12 steps of this session are left" in results[2].content[0].text
    assert [result.is_error or False for result in results[4:]] == [True, True, True, False, False]
    assert "all 12 steps that it may take (--mcp-max-steps)" in results[4].content[0].text


async def test_what_a_model_did_is_recorded(server: Server, root: Path, tmp_path: Path) -> None:
    """Each instance of each session has a recording with trajectories, also of an episode under way, which is replayed and exported."""
    before = set((root / "played").glob("*/*"))
    await play(
        server,
        ("reset", {}),
        ("step", {"actions": [1, 1, 2, 1, 2, 2]}),
        ("reset", {}),
        ("step", {"actions": [1, 1]}),
        env_id="FrozenLake-v1?is_slippery=false",
    )
    [made] = set((root / "played").glob("*/*")) - before
    assert made.name.startswith("FrozenLake-v1-")
    assert load_results(str(made))["episode_rewards"] == [1.0]
    with open_trajectories(made) as trajectories:
        assert [len(episode.actions) for episode in trajectories] == [6, 2]
    with open_trajectories(made) as trajectories:
        verdicts = list(replay(trajectories, lambda: gymnasium.make("FrozenLake-v1", is_slippery=False)))
    assert [verdict.result for verdict in verdicts] == ["equal", "equal"]
    command = [sys.executable, "-m", "gym_http_server", "export", str(made), "--to", "parquet"]
    command += ["--output", str(tmp_path / "exported")]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=SECONDS, capture_output=True)
    assert list((tmp_path / "exported").rglob("*.parquet"))


def test_recordings_outside_the_roots_are_an_error_of_the_start(tmp_path: Path) -> None:
    """A session would not be recorded, so the server does not start."""
    command = [sys.executable, "-m", "gym_http_server", "--port", "0", "--results-root", str(tmp_path / "root")]
    ended = subprocess.run([*command, "--mcp-record", str(tmp_path)], capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 1
    assert "is outside the results roots" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"mcp": False}, False),
        ({"listen": "0.0.0.0", "api_key": KEY}, True),
        ({"listen": "0.0.0.0", "auth": False}, False),
        ({"listen": "lab.example", "auth": False}, False),
        ({"listen": "0.0.0.0", "auth": False, "mcp": True}, True),
        ({"listen": "::1", "auth": False}, True),
        ({"listen": "localhost", "auth": False}, True),
    ],
    ids=["loopback", "off", "key", "open", "name", "asked for", "ipv6", "localhost"],
)
def test_where_mcp_is_served(options: dict[str, Any], expected: bool) -> None:
    """By default on loopback and where a key is required."""
    assert is_on(Settings(**options)) is expected


class Exchange:
    """One request to an ASGI app, and its reply."""

    def __init__(self, method: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        raw.append((b"content-type", b"application/json"))
        self.scope = {
            "type": "http",
            "method": method,
            "path": "/mcp",
            "headers": raw,
            "query_string": b"",
            "client": None,
        }
        self.messages: list[dict[str, Any]] = []
        self._body = body

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    async def on(self, face: McpFace) -> Exchange:
        await face(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()


async def test_without_mcp_the_path_says_how_to_have_it(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off it names the option, and without the package the pip command."""
    off = await Exchange("POST").on(McpFace(Settings(mcp=False), app.in_process))
    assert off.status == 404
    assert "--mcp" in off.text
    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http", None)
    monkeypatch.delitem(sys.modules, "gym_http_server.agents.mcp.streamable_http", raising=False)
    missing = await Exchange("POST").on(McpFace(Settings(), app.in_process))
    assert missing.status == 501
    assert "python -m pip install 'mcp>=2.0,<3'" in missing.text


async def test_a_session_that_nobody_uses_ends(app: Application) -> None:
    """Its instances are closed, and its id is unknown; a face that stops ends all sessions."""
    face = McpFace(Settings(mcp_idle_timeout=0.2), app.in_process)
    headers = {"Accept": "application/json, text/event-stream"}
    info = '{"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}'
    begun = await Exchange(
        "POST", f'{{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {info}}}'.encode(), headers
    ).on(face)
    assert begun.status == 200
    headers["Mcp-Session-Id"] = dict(begun.messages[0]["headers"])[b"mcp-session-id"].decode()
    await Exchange("POST", b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', headers).on(face)
    call = b'{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "create", "arguments": {"env_id": "CartPole-v1"}}}'
    made = await Exchange("POST", call, headers).on(face)
    assert "CartPole-v1" in made.text
    async with asyncio.timeout(30):
        while app.instances.all():  # noqa: ASYNC110 -- nothing tells of the end
            await asyncio.sleep(0.05)
    again = await Exchange("POST", call, headers).on(face)
    assert again.status == 404
    assert "--mcp-idle-timeout" in again.text
    await face.stop()
