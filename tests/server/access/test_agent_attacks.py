"""Attacks on the two faces for agents: OpenEnv's WebSocket and MCP's Streamable HTTP, and what each is answered."""

from __future__ import annotations

import contextlib
import gzip
import json
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import start
from tests.server.access.test_attacks import DEEP, KEY, Attack, send
from tests.support.mcp_http import McpSession
from tests.support.raw_websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, RawWebSocket, encode
from tests.support.serving import Server, eventually, parse_response

WEBSOCKET = "/openenv/CartPole-v1/ws"
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
    """A server with short time-outs, which compresses what it can."""
    options = ("--header-timeout", "0.5", "--body-timeout", "0.5", "--compression", "all", "--openenv-grace", "0")
    with start("handover", *options) as running:
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


HANDSHAKES = {
    "origin": (403, "--cors-origin", (EVIL,), "localhost"),
    "origin null": (403, "--cors-origin", ("Origin: null",), "localhost"),
    "host": (400, "--allowed-host", (), "evil.example"),
    "host and its own origin": (400, "--allowed-host", (EVIL,), "evil.example"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_of_a_page_elsewhere_is_refused(attacked: Server, name: str) -> None:
    """A browser asks no permission before it opens a WebSocket: the server looks at Origin and Host itself."""
    status, words, lines, host = HANDSHAKES[name]
    with RawWebSocket(attacked, WEBSOCKET, *lines, host=host) as connection:
        assert connection.status == status
        assert words in parse_response(connection.head).message
    assert attacked.get("/v1/envs/").json["envs"] == {}


def bomb(size: int) -> bytes:
    """Return what permessage-deflate (RFC 7692) makes of so many blanks: a thousandth."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (deflate.compress(b" " * size) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


STEP = b'{"type": "step", "data": {"action": '
FRAMES = {
    "a frame that promises more": (bytes([0x81, 0xFF]) + (1 << 60).to_bytes(8) + bytes(4), 1009),
    "a frame that is too large": (encode(TEXT, b" " * (17 << 20)), 1009),
    "fragments without end": (
        encode(TEXT, b" ", is_last=False) + encode(CONTINUATION, b" " * (1 << 20), is_last=False) * 17,
        1009,
    ),
    "a compressed bomb": (encode(TEXT, bomb(64 << 20), reserved=0x40), 1009),
    "no UTF-8": (encode(TEXT, b"\xff\xfe"), 1007),
    "half of a character": (encode(TEXT, b"\xc3"), 1007),
    "a frame without a mask": (encode(TEXT, b"{}", is_masked=False), 1002),
    "reserved bits": (encode(TEXT, b"{}", reserved=0x30), 1002),
    "an unknown opcode": (encode(3, b"{}"), 1002),
    "a continuation of nothing": (encode(CONTINUATION, b"{}"), 1002),
    "a message within another": (encode(TEXT, b"{", is_last=False) + encode(TEXT, b"}"), 1002),
    "a ping that is too long": (encode(PING, b" " * 126), 1002),
    "a ping in parts": (encode(PING, b" ", is_last=False), 1002),
    "a close of one byte": (encode(CLOSE, b"1"), 1002),
    "half a frame": (encode(TEXT, b"{}")[:-1], 1008),
    "half a message": (encode(TEXT, b"{", is_last=False), 1008),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_nobody_sends_close_the_connection(attacked: Server, name: str) -> None:
    """The close says which rule they break, little memory is taken, and the instance of the session is closed."""
    data, code = FRAMES[name]
    with RawWebSocket(attacked, WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate") as connection:
        assert connection.status == 101
        connection.send(encode(TEXT, b'{"type": "reset"}'))
        assert json.loads(connection.frame().payload)["type"] == "observation"
        connection.send(data)
        frame = connection.frame()
        assert frame.opcode == CLOSE
        assert frame.close_code == code, frame.payload
    eventually(lambda: attacked.get("/v1/envs/").json["envs"] == {})
    assert psutil.Process(attacked.process.pid).memory_info().rss < MAX_MEMORY


MESSAGES = {
    "no JSON": (encode(TEXT, b"{"), "INVALID_JSON"),
    "deep": (encode(TEXT, STEP + b"[" * 100_000 + b"]" * 100_000 + b"}}"), None),
    "a long integer": (encode(TEXT, STEP + b"9" * 1_000_000 + b"}}"), None),
    "many values": (encode(TEXT, STEP + b"[" + b"[]," * 1_000_000 + b"0]}}"), None),
    "another type": (encode(TEXT, b'{"type": "shutdown"}'), "UNKNOWN_TYPE"),
    "binary": (encode(BINARY, b'{"type": "reset"}'), "SESSION_ERROR"),
    "no object": (encode(TEXT, b"[1]"), "SESSION_ERROR"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_that_are_none_are_an_error_of_the_protocol(attacked: Server, name: str) -> None:
    """The frame says what is wrong in few words, and nobody is served less."""
    data, code = MESSAGES[name]
    with RawWebSocket(attacked, WEBSOCKET) as connection:
        connection.send(data)
        told = json.loads(connection.frame().payload)
        assert told["type"] == "error"
        assert told["data"]["message"]
        assert code is None or told["data"]["code"] == code
        assert len(json.dumps(told)) < 10_000
    assert psutil.Process(attacked.process.pid).memory_info().rss < MAX_MEMORY


def test_a_client_that_reads_nothing_holds_nothing(attacked: Server) -> None:
    """Its messages wait in its own system once a few replies are unread, and the server takes little memory."""
    with RawWebSocket(attacked, "/openenv/ALE/Pong-v5/ws") as connection:
        connection.send(encode(TEXT, b'{"type": "reset"}'))
        connection.socket.settimeout(2)
        message = encode(TEXT, b'{"type": "step", "data": {"action": 0' + b" " * 60_000 + b"}}")
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):  # held back, or cut off
            while sent < 64 << 20:
                sent += connection.socket.send(message)
        assert sent < 64 << 20
        assert psutil.Process(attacked.process.pid).memory_info().rss < MAX_MEMORY
    eventually(lambda: attacked.get("/v1/envs/").json["envs"] == {})


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server with a key."""
    with start("handover", "--api-key", KEY) as running:
        running.key = KEY
        yield running


@pytest.mark.parametrize("guess", ["", "Authorization: Bearer wrong", f"Authorization: Bearer {KEY[:-1]}"])
def test_both_faces_want_the_key(locked: Server, guess: str) -> None:
    """Without it, or with another, each answers 401 and begins no session; with it both serve."""
    for lines, status in ((guess and (guess,), 401), ((f"Authorization: Bearer {KEY}",), 200)):
        with RawWebSocket(locked, WEBSOCKET, *lines) as connection:
            assert connection.status == (101 if status == 200 else status)
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
