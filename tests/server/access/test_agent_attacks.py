"""Attacks on MCP's Streamable HTTP, and what each is answered."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import start
from tests.server.access.test_attacks import DEEP, KEY, Attack, send
from tests.support.mcp_http import McpSession
from tests.support.serving import Server, eventually

MCP = "/mcp"
EVIL = "Origin: http://evil.example"
JSON_LINES = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
MAX_MEMORY = 400 << 20


def asked(method: str = "initialize", **parameters: Any) -> dict[str, Any]:
    if method == "initialize":
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}


def mcp(
    status: int, words: str, *lines: str, body: Any = None, host: str = "localhost", method: str = "POST"
) -> Attack:
    body = asked() if body is None else body
    return Attack(status, words, method, MCP, (*lines, *JSON_LINES), body, host)


MCP_ATTACKS = {
    "origin": mcp(403, "--cors-origin", EVIL),
    "origin null": mcp(403, "--cors-origin", "Origin: null"),
    "origin of a stream": mcp(403, "--cors-origin", EVIL, method="GET", body=b""),
    "origin of an end": mcp(403, "--cors-origin", EVIL, "Mcp-Session-Id: 1", method="DELETE", body=b""),
    "preflight": mcp(403, "--cors-origin", EVIL, "Access-Control-Request-Method: POST", method="OPTIONS", body=b""),
    "host": mcp(400, "--allowed-host", host="evil.example"),
    "host and its own origin": mcp(400, "--allowed-host", EVIL, host="evil.example"),
    "declared too large": mcp(413, "--max-body", "Content-Length: 999999999999", body=b"x"),
    "deep": mcp(400, "", body=DEEP),
    "no JSON": mcp(400, "", body=b"\xff\xfe"),
    "a number": mcp(400, "", body=b"1"),
    "a compressed bomb": mcp(415, "Content-Encoding", "Content-Encoding: gzip", body=gzip.compress(b"0" * 10_000_000)),
    "a session of somebody else": mcp(404, "", f"Mcp-Session-Id: {'0' * 32}", body=asked("tools/list")),
}


@pytest.fixture(scope="module")
def attacked() -> Iterator[Server]:
    """A server with short time-outs."""
    with start("handover", "--header-timeout", "0.5", "--body-timeout", "0.5") as running:
        yield running


@pytest.mark.parametrize("name", MCP_ATTACKS)
def test_an_attack_on_mcp_is_refused(attacked: Server, name: str) -> None:
    """It gets its status and a message that says why, and leaves no instance."""
    attack = MCP_ATTACKS[name]
    answer = send(attacked, attack, "")
    assert answer.status == attack.status, answer.body[:500]
    assert attack.words in answer.body.decode()
    assert attacked.get("/v1/envs/").json["envs"] == {}
    assert psutil.Process(attacked.process.pid).memory_info().rss < MAX_MEMORY


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server with a key."""
    with start("handover", "--api-key", KEY) as running:
        running.key = KEY
        yield running


@pytest.mark.parametrize("guess", ["", "Authorization: Bearer wrong", f"Authorization: Bearer {KEY[:-1]}"])
def test_mcp_wants_the_key(locked: Server, guess: str) -> None:
    """Without it, or with another, the answer is 401 and no session begins; with it MCP is served."""
    for lines, status in ((guess and (guess,), 401), ((f"Authorization: Bearer {KEY}",), 200)):
        assert send(locked, mcp(status, "", *lines), "").status == status
    eventually(lambda: locked.get("/v1/envs/").json["envs"] == {})


def test_a_session_is_not_guessed_and_not_shared(locked: Server) -> None:
    """An instance of one session is not one of another's, and an id of a session is a UUID."""
    with McpSession(locked) as one, McpSession(locked) as other:
        instance_id = one.make("CartPole-v1")
        assert uuid.UUID(one.headers["Mcp-Session-Id"]).version == 4
        for tool in ("observe", "render", "close"):
            assert other.call(tool, instance_id=instance_id)["isError"]
        assert not one.call("observe", instance_id=instance_id).get("isError")
