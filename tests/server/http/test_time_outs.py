"""The settings `header_timeout` and `body_timeout`: a client that sends a byte at a time is answered and let go."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import KINDS, start
from tests.support.handing import HEALTH, TROUBLE, Client, get, handed, owner_of, post, step
from tests.support.serving import SECONDS, Answer, Server, parse_response, raw, threads

TIMEOUT = 0.4
TIMEOUTS = {"header": TIMEOUT, "body": 0.5}
AT_MOST = 4 * TIMEOUT
"""The machine may be busy."""

ONCE = 2.0
"""A time-out that is told from its double on a busy machine, too."""


@pytest.fixture(scope="module", params=KINDS)
def strict(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that waits for less than half a second."""
    with start(
        request.param, "--header-timeout", str(TIMEOUTS["header"]), "--body-timeout", str(TIMEOUTS["body"])
    ) as running:
        yield running


def trickle(client: Client, data: bytes) -> tuple[bytes, float]:
    """Send a byte at a time until the server answers; return its answer up to the end of the stream, and the seconds."""
    began = time.monotonic()
    client.socket.settimeout(TIMEOUT / 20)
    for byte in itertools.chain(data, itertools.repeat(ord("x"))):
        try:
            client.send(bytes([byte]))
            received = client.socket.recv(65536)
        except TimeoutError:
            assert time.monotonic() - began < SECONDS, "nothing is answered"
            continue
        except (BrokenPipeError, ConnectionResetError):
            received = b""
        break
    seconds = time.monotonic() - began
    client.socket.settimeout(SECONDS)
    while part := _rest(client.socket):
        received += part
    return received, seconds


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:  # what was sent after the answer
        return b""


def is_late(answer: Answer, what: str) -> bool:
    """Return whether an answer is the problem of a request whose `what` came too late, with all that it is to name."""
    problem = answer.json
    setting = f"{what}_timeout"
    assert problem["type"] == "urn:gym-http-server:problem:request-timeout"
    assert (problem["status"], problem["limit"], problem["setting"]) == (408, TIMEOUTS[what], setting)
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status == 408 and f"--{what}-timeout" in answer.message and f"{TIMEOUTS[what]:g} s" in answer.message


SLOW = {
    "header": (b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\n", b"X-Slow: "),
    "body": (b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", b"{"),
    "chunked body": (
        b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"{",
    ),
}


@pytest.mark.parametrize("part", SLOW)
def test_a_byte_at_a_time_is_answered_with_408_while_others_step_on(strict: Server, part: str) -> None:
    """The answer comes in about the time-out and names it, and the connection ends; another client's steps go on."""
    env = strict.create("CartPole-v1")
    strict.post(f"{env}/reset/")
    stop = threading.Event()
    slowest = 0.0

    def step_on() -> None:
        nonlocal slowest
        with Client(strict) as other:
            while not stop.is_set():
                began = time.monotonic()
                assert other.ask(post(f"{env}/step/", {"action": 1})).status == 200
                slowest = max(slowest, time.monotonic() - began)

    begin, rest = SLOW[part]
    with threads(step_on), Client(strict) as client:
        client.send(begin)
        received, seconds = trickle(client, rest)
        stop.set()
    assert is_late(parse_response(received), "header" if part == "header" else "body")
    assert TIMEOUT * 0.9 < seconds < AT_MOST
    assert slowest < TIMEOUT


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_slow_request_for_an_instance_does_not_hold_it(strict: Server, part: str) -> None:
    """On a connection that serves an instance, the rest of a request comes too late, and others use that meanwhile."""
    env = strict.create(TROUBLE)
    strict.post(f"{env}/reset/")
    whole = step(env, "x")
    begin, rest = (whole[:30], whole[30:40]) if part == "header" else (whole[:-4], whole[-4:-3])
    with Client(strict) as client:
        assert client.ask(step(env, "x")).json["observation"] == 1
        assert client.ask(step(env, "x")).json["observation"] == 2
        client.send(begin)
        began = time.monotonic()
        assert strict.post(f"{env}/step/", {"action": "x"}).json["observation"] == 3
        assert time.monotonic() - began < TIMEOUT / 2
        client.send(rest)
        assert is_late(client.answer(), part)
        assert client.is_at_end()
        assert time.monotonic() - began < AT_MOST
    assert strict.get(f"{env}/").json["steps"] == 3
    assert strict.get(f"{env}/").json["state"] == "ready"


def test_answers_on_the_way_are_not_taken_by_the_late_one(strict: Server) -> None:
    """Of a pipeline each whole request has its own reply, and after those the last one, which is not whole, its 408."""
    env = strict.create(TROUBLE)
    strict.post(f"{env}/reset/")
    with Client(strict) as client:
        client.send(step(env, f"sleep {TIMEOUT * 3}"), step(env, "x"), step(env, "x")[:-4])
        assert [each.json["observation"] for each in client.answers(2)] == [1, 2]
        assert is_late(client.answer(), "body")
        assert client.is_at_end()


def test_a_request_behind_a_slow_one_has_its_time(strict: Server) -> None:
    """Who sent half a request while the one before took long may send the rest after that."""
    env = strict.create(TROUBLE)
    strict.post(f"{env}/reset/")
    second = step(env, "x")
    with Client(strict) as client:
        client.send(step(env, f"sleep {TIMEOUT * 2}"), second[:-4])
        assert client.answer().json["observation"] == 1
        client.send(second[-4:])
        assert client.answer().json["observation"] == 2


def test_parts_that_come_in_time_are_one_request(strict: Server) -> None:
    """A head and a body have their time each, and the next request begins anew."""
    env = strict.create("CartPole-v1")
    with Client(strict) as client:
        for _ in range(2):
            head, _, body = post(f"{env}/reset/", {"seed": 1}).partition(b"\r\n\r\n")
            for part in (head, b"\r\n\r\n", body[:3], body[3:]):
                time.sleep(TIMEOUT * 0.4)  # in sum more than the time-out of either
                client.send(part)
            assert client.answer().status == 200
        time.sleep(TIMEOUT * 2)  # between two requests there is no such limit
        assert client.ask(HEALTH).status == 200


def test_who_waits_for_100_continue_has_the_time_of_a_body(strict: Server) -> None:
    """With `Expect: 100-continue` a body in time is served, and one that does not come is a 408."""
    env = strict.create("CartPole-v1")
    whole = post(f"{env}/reset/", {}, b"Expect: 100-continue\r\n")
    with Client(strict) as client:
        client.send(whole[:-2])
        assert client.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(whole[-2:])
        assert client.answer().status == 200
        client.send(whole[:-2])
        assert client.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert is_late(client.answer(), "body")
        assert client.is_at_end()


def test_a_body_that_nobody_waits_for_ends_the_connection(strict: Server) -> None:
    """A request that is answered before its body is whole has one answer and no second."""
    with Client(strict) as client:
        answer = client.ask(
            b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\nContent-Type: text/plain\r\n\r\n{"
        )
        assert answer.status in (413, 415)
        assert client.is_at_end()


def test_a_late_body_of_a_head_request_is_answered_without_content(strict: Server) -> None:
    """The problem's length is told, and none of its bytes would be taken for a reply to the next request."""
    received = raw(strict.address, b"HEAD /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    head, _, content = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"\r\ncontent-length: 0" not in head
    assert content == b""


def test_the_keep_alive_is_not_the_limit_of_a_head() -> None:
    """A head may take longer than an idle connection is kept."""
    with start("process", "--keep-alive", "1", "--header-timeout", "3") as server, Client(server) as client:
        client.send(HEALTH[:10])
        time.sleep(1.2)  # longer than the one, shorter than the other
        assert client.ask(HEALTH[10:]).status == 200
        client.send(get("/v1/envs/")[:10])
        assert client.answer().status == 408


@pytest.mark.parametrize("end", [30, -4], ids=["header", "body"])
def test_a_request_that_is_given_back_has_its_time_once(end: int) -> None:
    """An environment's process gives a late request back, and the server waits no longer for it."""
    limits = ("--header-timeout", str(ONCE), "--body-timeout", str(ONCE))
    with start("handover", *limits) as server, handed(server) as (client, env, pid):
        assert owner_of(server, client) == pid
        began = time.monotonic()
        client.send(step(env, "x")[:end])
        assert client.answer().status == 408
        assert ONCE * 0.9 < time.monotonic() - began < ONCE * 1.8


def test_half_a_request_has_its_time_once_where_its_connection_is_given_back() -> None:
    """The time that the process has waited for the rest counts."""
    with start("handover", "--header-timeout", str(ONCE)) as server, handed(server) as (client, env, _):
        began = time.monotonic()
        client.send(step(env, "x")[:30])
        time.sleep(ONCE * 0.6)
        assert server.post(f"{env}/close/").status == 200
        assert owner_of(server, client) is None
        assert client.answer().status == 408
        assert ONCE * 0.9 < time.monotonic() - began < ONCE * 1.5


def test_an_idle_connection_that_is_given_back_is_kept_no_longer() -> None:
    """Its time begins with its last reply, whoever held it since."""
    with start("handover", "--keep-alive", str(int(ONCE))) as server, handed(server) as (client, env, _):
        began = time.monotonic()
        time.sleep(ONCE * 0.6)
        assert server.post(f"{env}/close/").status == 200
        assert owner_of(server, client) is None
        assert client.is_at_end()
        assert ONCE * 0.8 < time.monotonic() - began < ONCE * 1.5
