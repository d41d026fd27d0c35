"""The HTTP protocol of a connection, byte for byte: one write a reply, upgrades ignored, half-closed and idle connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gym_http_server.http1.transport import MAX_COPIED_BODY_BYTES, JoiningTransport
from tests.conftest import KINDS, start
from tests.support.handing import post
from tests.support.serving import SECONDS, Server, parse_response, raw, threads

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.fixture(scope="module", params=KINDS)
def quick(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that keeps idle connections for a second, and waits as long for a head."""
    with start(request.param, "--keep-alive", "1", "--header-timeout", "1") as running:
        yield running


def replies(data: bytes) -> list[tuple[int, Any]]:
    """Return status and body of each response in some bytes."""
    found = []
    while data:
        answer = parse_response(data)
        found.append((answer.status, answer.json))
        data = data.partition(b"\r\n\r\n")[2][len(answer.body) :]
    return found


def test_a_request_that_asks_for_an_upgrade_is_served_as_it_is(quick: Server) -> None:
    """Java's HttpClient and `curl --http2` ask for HTTP/2 with every request, and its body counts."""
    env = quick.create("CartPole-v1")
    close = b"Connection: close\r\n"
    first, second = (
        replies(raw(quick.address, post(f"{env}/reset/", {"seed": 42}, UPGRADE) + post(f"{env}/reset/", {}, close)))
        for _ in range(2)
    )
    assert [status for status, _ in first] == [200, 200]
    assert first[0] == second[0]


def test_the_body_of_an_upgrade_request_is_never_a_request_of_its_own(quick: Server) -> None:
    """What follows the head in a later packet is the body that its Content-Length says, whatever it looks like."""
    env = quick.create("CartPole-v1")
    quick.post(f"{env}/reset/")
    smuggled = post(f"{env}/step/", {"action": 1})
    head = (
        f"POST {env}/reset/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n".encode()
        + UPGRADE
        + b"\r\n"
    )
    with socket.create_connection(quick.address, SECONDS) as connection:
        connection.sendall(head)
        assert quick.get("/v1/health/").status == 200  # by now the head has been read
        connection.sendall(smuggled)
        [(status, problem)] = replies(connection.recv(65536))
    assert status == 400
    assert "not JSON" in problem["message"]
    assert quick.get(f"{env}/").json["steps"] == 0


def test_a_pipeline_of_upgrade_requests_is_answered_in_full(quick: Server) -> None:
    """Each is served, however many come in one packet."""
    env = quick.create("CartPole-v1")
    last = post(f"{env}/reset/", {}, b"Connection: close\r\n")
    found = replies(raw(quick.address, post(f"{env}/reset/", {}, UPGRADE) * 200 + last))
    assert [status for status, _ in found] == [200] * 201


def test_connect_is_refused(quick: Server) -> None:
    """A server is no proxy."""
    [(status, problem)] = replies(raw(quick.address, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"))
    assert status == 400
    assert "CONNECT" in problem["message"]


def test_a_client_that_sends_no_more_gets_its_answers(quick: Server) -> None:
    """A half-closed connection is closed only after the replies to what was sent whole."""
    env = quick.create("CartPole-v1")
    quick.post(f"{env}/reset/")
    with socket.create_connection(quick.address, SECONDS) as connection:
        connection.sendall(post(f"{env}/step/", {"action": 1}) * 3)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [status for status, _ in replies(received)] == [200] * 3
    assert quick.get(f"{env}/").json["steps"] == 3


def test_a_client_that_goes_away_in_the_middle_of_a_body_is_let_go(quick: Server) -> None:
    """Half a request is not executed and not answered."""
    env = quick.create("CartPole-v1")
    quick.post(f"{env}/reset/")
    with socket.create_connection(quick.address, SECONDS) as connection:
        connection.sendall(post(f"{env}/step/", {"action": 1})[:-3])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""
    assert quick.get(f"{env}/").json["steps"] == 0


def test_garbage_after_a_request_does_not_take_its_answer(quick: Server) -> None:
    """A request that is executed gets its own reply, and the connection ends there."""
    env = quick.create("CartPole-v1")
    quick.post(f"{env}/reset/")
    [(status, reply)] = replies(raw(quick.address, post(f"{env}/step/", {"action": 1}) + b"GARBAGE\r\n\r\n"))
    assert status == 200
    assert reply["reward"] == 1.0
    assert quick.get(f"{env}/").json["steps"] == 1


def test_garbage_alone_is_answered_with_what_is_wrong_with_it(quick: Server) -> None:
    """The 400 names the parser's reason and carries the headers of every other reply."""
    answer = parse_response(raw(quick.address, b"POST /v1/envs/ HTTP/1.1\r\nContent-Length: x\r\n\r\n"))
    assert answer.status == 400
    assert "Content-Length" in answer.message
    assert {"server", "date", "content-type", "connection"} <= answer.headers.keys()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST /v1/en", b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\n"])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_connection_without_a_whole_request_is_closed_in_time(quick: Server, sent: bytes, is_used: bool) -> None:
    """Nobody holds a connection by sending nothing, or, which is a 408, never the end of a request's head."""
    with socket.create_connection(quick.address, SECONDS) as connection:
        if is_used:
            connection.sendall(b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        # On a busy machine the time may be over before the bytes are sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
            last = connection.recv(65536)
        assert last.startswith(b"HTTP/1.1 408 ") if sent.strip() else last == b""


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_others_are_served_while_a_large_bad_body_is_refused(kind: str) -> None:
    """Validation of half a million elements does not stop the server."""
    with start(kind, "--max-values", "1000000") as server:
        env = server.create("CartPole-v1", num_envs=2)
        refused = threading.Event()
        statuses = []

        def send() -> None:
            statuses.append(server.post(f"{env}/batch/reset/", {"seeds": [0] * 500_000 + [-1]}).status)
            refused.set()

        served = 0
        with threads(send):
            while not refused.is_set():
                assert server.get("/v1/health/").status == 200
                served += 1
    assert statuses == [400]
    assert served > 5


class Recorder:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.is_closing = self.get_extra_info = self.pause_reading = self.resume_reading = self.set_protocol = None
        self.get_write_buffer_size = self.abort = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.written.append(b"".join(parts))

    def close(self) -> None:
        self.closed = True


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * MAX_COPIED_BODY_BYTES])
def test_head_and_body_go_out_in_one_write(body: bytes) -> None:
    """The client wakes up once for a reply."""
    recorder = Recorder()
    transport = JoiningTransport(recorder)
    for _ in range(2):
        transport.write(HEAD)
        transport.write(body)
        transport.end_response()
    assert recorder.written == [HEAD + body] * 2


def test_later_parts_of_a_body_and_interim_replies_go_out_at_once() -> None:
    """Only the final head waits, and only for the first part; a body that looks like a head is a body."""
    recorder = Recorder()
    transport = JoiningTransport(recorder)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for part in (interim, HEAD, b"first", HEAD, b"third"):
        transport.write(part)
    assert recorder.written == [interim, HEAD + b"first", HEAD, b"third"]


@pytest.mark.parametrize("end", ["end_response", "close"])
def test_a_reply_without_a_body_goes_out_at_its_end(end: str) -> None:
    """The head of a reply to HEAD, or of one that is cut off, is not kept back for ever."""
    recorder = Recorder()
    transport = JoiningTransport(recorder)
    transport.write(HEAD)
    getattr(transport, end)()
    assert recorder.written == [HEAD]
    assert recorder.closed == (end == "close")
