"""Raw bytes at the edge: whatever comes, each answer is HTTP, none is a 500, and no connection hangs."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator

import httptools
import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import start
from tests.support.serving import Server, eventually

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
SECONDS = 20.0
"""A connection that lives for so long after its client has sent all hangs."""

BODIES = (
    b"",
    b"{}",
    b'{"action": ""}',
    b'{"env_id": "CartPole-v1"}',
    b"[" * 200,
    b"\x81\xa6action\xa0",
    b"\xff\xfe",
    b"NaN",
)
PATHS = ("/", "/v1/envs/", "/v1/envs/{env}/step/", "/v1/envs/{env}/reset/", "/v1/envs/{env}/", "/v1/envs/%s/step/",
         "/v1/envs/{env}/action_space/contains/%5B", "/v1/health", "/v1/../v1/envs/", "/ui/", "/openapi.yaml", "/metrics",
         "/login", "/static/../app.py", "/v1/envs/{env}/monitor/start/", "*", "//", "http://localhost/v1/envs/",
         "/v1/evaluations/?page=0", "/\x00", "/%00", "/v1/envs/\xe9/")  # fmt: skip
METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "PRI", "get", "")
LINES = (b"Host: localhost", b"Host:", b"Host: evil.example", b"Content-Type: application/json", b"Content-Type: ",
         b"Content-Type: application/msgpack", b"Content-Type: a/b; charset=nope", b"Content-Length: 5",
         b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1, 1", b"Content-Length: 0x5",
         b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: identity",
         b"Connection: close", b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Upgrade: h2c",
         b"Expect: 100-continue", b"Expect: nothing", b"Accept: application/msgpack", b"Accept: \xff", b"Accept: */*;q=x",
         b"Origin: null", b"Origin: http://localhost", b"Cookie: gym_http_server_session=x", b"Authorization: Bearer",
         b"Idempotency-Key: a", b"Idempotency-Key: ", b"X-Request-Id: \x7f", b"Range: bytes=0-", b"Content-Encoding: gzip",
         b": no name", b"no colon", b" folded", b"A" * 70_000 + b": x")  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request, good or bad; `{env}` stands for an instance."""
    body = draw(st.sampled_from(BODIES))
    version = draw(st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "")))
    first = f"{draw(st.sampled_from(METHODS))} {draw(st.sampled_from(PATHS))} {version}".encode("latin-1")
    lines = draw(st.lists(st.sampled_from(LINES), max_size=5))
    if draw(st.booleans()):
        lines = [b"Host: localhost", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *lines[:1]]
    elif draw(st.booleans()):
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part) + b"0\r\n\r\n"
        lines = [b"Host: localhost", b"Transfer-Encoding: chunked", *lines[:2]]
    return b"\r\n".join((first, *lines, b"", b"")) + body


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Draw requests of which some bytes are lost, doubled or others."""
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("cut", "insert", "replace", "end"))):
            case "cut":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "replace":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "end":
                del data[at:]
    return bytes(data)


class Replies:
    """Reads the replies of a connection."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.is_whole = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.is_whole = False

    def on_headers_complete(self) -> None:
        self.statuses.append(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        self.is_whole = True


@pytest.fixture(scope="module", params=["handover", "process", "inline"])
def fuzzed(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind."""
    with start(request.param, "--header-timeout", "2", "--body-timeout", "2", "--max-envs", "100000") as running:
        yield running


def send(address: tuple[str, int], data: bytes, parts: int) -> Replies:
    """Send bytes in some parts, end the stream, and read all that comes back."""
    size = max(1, len(data) // parts)
    received = b""
    with socket.create_connection(address, SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start_ in range(0, len(data), size):
                connection.sendall(data[start_ : start_ + size])
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has refused the rest
        try:
            while part := connection.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass
    replies = Replies()
    is_head = b"HEAD " in data
    try:
        replies.feed(received)
    except httptools.HttpParserError:
        # A reply to HEAD names the length of a body that it has not; the parser is not told of the method.
        assert is_head, received[:2000]
    return replies


def no_stop(data: bytes) -> bool:
    return b"shutdown" not in data


@given(data=mangled().filter(no_stop) | st.binary(max_size=200), parts=st.integers(1, 4), is_led=st.booleans())
@example(data=b"\x00", parts=1, is_led=True)
@example(data=b"\r\n\r\n\r\n", parts=1, is_led=True)
@example(data=b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123", parts=2, is_led=False)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_comes_is_answered_or_ended(fuzzed: Server, data: bytes, parts: int, is_led: bool) -> None:
    """No bytes have the server answer 500 or anything but HTTP, hang, or stop; also behind good requests for an instance."""
    server = fuzzed
    env = server.create("CartPole-v1").rsplit("/", 1)[1]
    body = json.dumps({"action": 0}).encode()
    head = f"POST /v1/envs/{env}/reset/ HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /v1/envs/{env}/step/ HTTP/1.1\r\nHost: localhost\r\n"
    lead = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    sent = (lead if is_led else b"") + data.replace(b"{env}", env.encode())
    begun = time.monotonic()
    replies = send(server.address, sent, parts)
    assert time.monotonic() - begun < SECONDS / 2, "it hangs"
    assert 500 not in replies.statuses
    if is_led:
        assert replies.statuses[:2] == [200, 200]
    assert server.get("/v1/health/").status == 200
    server.request("DELETE", f"/v1/envs/{env}/")


def test_nothing_of_all_that_is_left(fuzzed: Server) -> None:
    """Afterwards there is no connection, no traceback in the log, and the server steps an environment."""
    server = fuzzed
    seen = psutil.Process(server.process.pid)
    eventually(lambda: len([each for each in seen.net_connections("tcp") if each.status == "ESTABLISHED"]) <= 2)
    env = server.create("CartPole-v1")
    assert server.post(f"{env}/reset/").status == 200
    assert not [line for line in server.stderr if "Traceback" in line or "internal error" in line], server.stderr[-20:]
