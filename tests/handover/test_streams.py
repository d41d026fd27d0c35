"""The stream of a connection in an environment's process: pipelines, bodies of every size, slow readers, its end."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator

import pytest

from ..conftest import start
from ..support.handing import (
    HEALTH,
    TROUBLE,
    Client,
    begin,
    chunked,
    get,
    handed,
    is_read,
    owner_of,
    post,
    release,
    settle,
    step,
)
from ..support.serving import Answer, Server, eventually, threads

BIG = 3_000_000
"""Bytes of a reply; the buffers of a connection take a few of them."""
HUGE = 20_000_000
"""Bytes of a reply that they do not take."""


@pytest.fixture(scope="module")
def eager() -> Iterator[Server]:
    """A server that hands every connection over at once."""
    with start("handover", "--max-body", "4000000") as running:
        yield running


@pytest.fixture
def here(eager: Server) -> Iterator[tuple[Client, str, int]]:
    """A connection in the process of an environment, its path and the process."""
    with handed(eager) as made:
        yield made


def observations(answers: list[Answer]) -> list[int]:
    return [each.json["observation"] for each in answers]


def rollout(env: str, size: int) -> bytes:
    """Return a rollout of two steps with a body of at least so many bytes."""
    return post(f"{env}/rollout/", {"actions": ["x", "x"], "reset": {"options": {}, "padding": "y" * size}})


def padded(request: bytes, size: int) -> bytes:
    """Return a request with a JSON body that ends with so many spaces."""
    head, _, body = request.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    assert length in head
    return head.replace(length, b"Content-Length: %d" % (len(body) + size)) + b"\r\n\r\n" + body + b" " * size


@pytest.mark.parametrize("count", [200, 20_000])
def test_a_pipeline_is_answered_in_its_order(eager: Server, here: tuple[Client, str, int], count: int) -> None:
    """However much of it comes in one read, each request is executed once, in the process."""
    client, env, pid = here
    data = step(env, "x") * count
    with threads(lambda: client.send(data)):
        assert observations(client.answers(count)) == list(range(2, count + 2))
    # What is too much for the inbox is served by the server for once.
    assert count > 200 or owner_of(eager, client) == pid
    assert client.ask(step(env, "x")).json["observation"] == count + 2
    assert owner_of(eager, client) == pid


def test_a_pipeline_through_all_that_serve(eager: Server, here: tuple[Client, str, int]) -> None:
    """Requests for the process, for another instance and for the server itself are answered in their order."""
    client, env, _ = here
    other = eager.create(TROUBLE)
    client.send(*[step(env, "x"), HEALTH, post(f"{other}/reset/", {}), step(other, "x"), get(f"{env}/")] * 40)
    for count in range(40):
        mine, health, reset, others, listed = client.answers(5)
        assert [each.status for each in (mine, health, reset, others, listed)] == [200] * 5
        assert [mine.json["observation"], listed.json["steps"]] == [count + 2] * 2
        assert others.json["observation"] == 1


def test_a_step_of_another_instance_is_none_for_this_process(eager: Server, here: tuple[Client, str, int]) -> None:
    """It is given back and executed there, though the hot path that is here has the operation."""
    client, env, _ = here
    other = eager.create(TROUBLE)
    eager.post(f"{other}/reset/")
    client.send(step(env, "x"), step(other, "x"), step(env, "x"))
    answers = client.answers(3)
    assert [each.status for each in answers] == [200] * 3
    assert observations(answers) == [2, 1, 3]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_in_chunks(eager: Server, here: tuple[Client, str, int], size: int) -> None:
    """It is read as one with a Content-Length is, alone and in a pipeline."""
    client, env, pid = here
    request = chunked(f"{env}/step/", {"action": "x"}, size)
    assert client.ask(request).json["observation"] == 2
    client.send(*[request] * 50)
    assert observations(client.answers(50)) == list(range(3, 53))
    assert owner_of(eager, client) == pid


def test_a_head_that_comes_byte_by_byte(eager: Server, here: tuple[Client, str, int]) -> None:
    """A request is served when its last byte has come, in the process."""
    client, env, pid = here
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for request in (step(env, "x"), chunked(f"{env}/step/", {"action": "x"})):
        for byte in request:
            client.send(bytes([byte]))
        assert client.answer().status == 200
        assert owner_of(eager, client) == pid
    assert client.ask(step(env, "x")).json["observation"] == 4


@pytest.mark.parametrize("cut", [1, 20, 100, -1])
def test_half_a_request_waits_for_the_rest(eager: Server, here: tuple[Client, str, int], cut: int) -> None:
    """Where another connection asks for the instance meanwhile, that is answered, and the rest is served after it."""
    client, env, pid = here
    request = step(env, "x")
    assert client.ask(request, request[:cut]).json["observation"] == 2
    assert owner_of(eager, client) == pid
    with Client(eager) as other:
        assert observations([other.ask(step(env, "x")) for _ in range(3)]) == [3, 4, 5]
        assert owner_of(eager, client) == pid
        assert client.ask(request[cut:]).json["observation"] == 6
        assert client.ask(step(env, "x")).json["observation"] == 7
        assert other.ask(step(env, "x")).json["observation"] == 8


def test_a_half_request_holds_nobody_up(eager: Server, here: tuple[Client, str, int]) -> None:
    """The instance is closed at once though a request for it has begun to come; its rest is a 400."""
    client, env, _ = here
    request = step(env, "x")
    assert client.ask(request, request[:-3]).status == 200
    assert eager.post(f"{env}/close/").status == 200
    answer = client.ask(request[-3:])
    assert answer.status == 400
    assert answer.json["type"].endswith(":unknown-instance")
    eager.create(TROUBLE)
    assert client.ask(HEALTH).status == 200


SIZES = [1 << 16, 100_000, 255_000, 262_000, (1 << 18) - 100, (1 << 18) + 1, 300_000, (1 << 19) + 1, 3_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first", [None, 1000, 200_000])
def test_a_large_body(eager: Server, here: tuple[Client, str, int], size: int, first: int | None) -> None:
    """It is read whole and executed once, in whatever pieces it comes, and the connection is served on."""
    client, env, pid = here
    client.socket.settimeout(15)
    request = padded(step(env, "x"), size)
    if first is None:
        client.send(request)
    else:
        client.send(request[:first])
        # What comes later comes in another read.
        eventually(lambda: is_read(eager, client))
        client.send(request[first:])
    assert client.answer().json["observation"] == 2
    assert client.ask(step(env, "x")).json["observation"] == 3
    assert owner_of(eager, client) == pid
    assert eager.get(f"{env}/").json["steps"] == 3


def test_a_large_body_with_an_idempotency_key(eager: Server, here: tuple[Client, str, int]) -> None:
    """It is executed once, in the process, and its repetition is answered there with the same reply."""
    client, env, pid = here
    request = padded(step(env, "x", b"Idempotency-Key: once\r\n"), 100_000)
    for _ in range(2):
        assert client.ask(request).json["observation"] == 2
        assert owner_of(eager, client) == pid
    assert client.ask(step(env, "x")).json["observation"] == 3


def keyed(env: str, key: bytes, action: str = "x") -> bytes:
    """Return a step with a key in the last line of its head."""
    head, _, body = step(env, action).partition(b"\r\n\r\n")
    return head + b"\r\nIdempotency-Key: " + key + b"\r\n\r\n" + body


def test_heads_that_differ_in_their_key_alone_are_different_requests(here: tuple[Client, str, int]) -> None:
    """A new key is a new step, a repeated one the same reply, and a key of another body a 422."""
    client, env, _ = here
    found = [client.ask(keyed(env, key)).json["observation"] for key in (b"a", b"b", b"c", b"b", b"d", b"a")]
    assert found == [2, 3, 4, 3, 5, 2]
    assert client.ask(keyed(env, b"a", "y")).status == 422
    assert client.ask(step(env, "x")).json["observation"] == 6
    client.send(*(keyed(env, key) for key in (b"e", b"f", b"e")), step(env, "x"))
    assert observations(client.answers(4)) == [7, 8, 7, 9]


@pytest.mark.parametrize("key", [b"", b" ", b"a b", b"\xff", b"x" * 256, b"a\r\nIdempotency-Key: b"])
def test_a_key_that_is_not_valid_behind_a_known_head_is_refused(here: tuple[Client, str, int], key: bytes) -> None:
    """However often the head was sent with a valid one; nothing is executed."""
    client, env, _ = here
    for count in range(2, 5):
        assert client.ask(keyed(env, b"%d" % count)).json["observation"] == count
    answer = client.ask(keyed(env, key))
    assert answer.status == 400, answer.body
    assert client.ask(keyed(env, b"z")).json["observation"] == 5


def test_a_known_head_with_half_a_body_waits_for_the_rest(eager: Server, here: tuple[Client, str, int]) -> None:
    """With a key and without one, wherever the body is cut."""
    client, env, pid = here
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for count in range(2, 20):
        request = keyed(env, b"key %d" % count) if count % 2 else step(env, "x")
        request = request.replace(b"key ", b"key")
        cut = -(count % 15 + 1)
        client.send(request[:cut])
        eventually(lambda: is_read(eager, client))
        assert client.ask(request[cut:]).json["observation"] == count
        assert owner_of(eager, client) == pid


def test_large_bodies_in_a_pipeline(here: tuple[Client, str, int]) -> None:
    """Large and small requests are executed once each, in their order."""
    client, env, _ = here
    client.socket.settimeout(15)
    sizes = [*SIZES[:-1], 0, 1000, 300_000, 300_000, 0, 70_000]
    data = b"".join(padded(step(env, "x"), size) for size in sizes)
    with threads(lambda: client.send(data)):
        assert observations(client.answers(len(sizes))) == list(range(2, len(sizes) + 2))


@pytest.mark.parametrize("size", [4_000_001, 20_000_000])
def test_a_body_over_the_limit(eager: Server, here: tuple[Client, str, int], size: int) -> None:
    """It is the server's 413, and nothing is executed."""
    client, env, pid = here
    assert owner_of(eager, client) == pid
    client.socket.settimeout(15)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(padded(step(env, "x"), size))
    answer = client.answer()
    assert answer.status == 413
    assert answer.json["setting"] == "max_body"
    assert eager.get(f"{env}/").json["steps"] == 1


def test_a_client_that_waits_for_100_continue(eager: Server, here: tuple[Client, str, int]) -> None:
    """It is told to continue, and its request is executed once."""
    client, env, pid = here
    request = step(env, "x", b"Expect: 100-continue\r\n")
    head, separator, body = request.partition(b"\r\n\r\n")
    for count in range(3):
        assert client.ask(step(env, "x")).json["observation"] == 2 * count + 2
        assert owner_of(eager, client) == pid
        client.send(head + separator)
        line = client._file.readline() + client._file.readline()
        assert line == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.ask(body).json["observation"] == 2 * count + 3
    client.send(step(env, "x"), head + separator)
    assert client.answer().status == 200
    assert client._file.readline() + client._file.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body, step(env, "x"))
    assert observations(client.answers(2)) == [9, 10]


@pytest.mark.parametrize(
    "last", [("1.1", b"Connection: close\r\n"), ("1.0", b""), ("1.0", b"Connection: keep-alive\r\n")]
)
def test_the_stream_ends_where_the_request_says_so(
    eager: Server, here: tuple[Client, str, int], last: tuple[str, bytes]
) -> None:
    """HTTP/1.0 and `Connection: close` end the stream after the reply, and what follows is not executed."""
    client, env, pid = here
    version, further = last
    assert owner_of(eager, client) == pid
    client.send(step(env, "x"), step(env, "x", further, version), step(env, "x"))
    first, second = client.answers(2)
    assert observations([first, second]) == [2, 3]
    assert "connection" not in first.headers
    assert second.headers["connection"] == "close"
    assert client.is_at_end()
    assert eager.get(f"{env}/").json["steps"] == 3


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_a_client_that_sends_no_more_gets_its_answers(eager: Server, here: tuple[Client, str, int], count: int) -> None:
    """After the reply to each whole request, the stream of a half-closed connection ends."""
    client, env, pid = here
    assert owner_of(eager, client) == pid
    client.send(step(env, "x") * count)
    client.socket.shutdown(socket.SHUT_WR)
    assert observations(client.answers(count)) == list(range(2, count + 2))
    assert client.is_at_end()
    eventually(lambda: owner_of(eager, client) is None)


def test_a_client_that_sends_no_more_while_its_request_is_executed(
    eager: Server, here: tuple[Client, str, int]
) -> None:
    """It gets that answer too, and those to what it had sent behind it, which are the server's own."""
    client, env, pid = here
    begin(eager, client, env, pid, step(env, "await"), HEALTH, step(env, "x"))
    client.socket.shutdown(socket.SHUT_WR)
    release(pid)
    first, health, third = client.answers(3)
    assert observations([first, third]) == [2, 3]
    assert health.status == 200
    assert client.is_at_end()


@pytest.mark.parametrize("ends_here", [True, False])
def test_what_an_environment_has_started_does_not_withhold_the_end_of_the_stream(
    eager: Server, ends_here: bool
) -> None:
    """A connection ends for its client, in the process or back at the server, though children there have it open."""
    with handed(eager) as (client, env, _):
        assert client.ask(step(env, "leave_running")).status == 200
        if ends_here:
            assert client.ask(step(env, "x", b"Connection: close\r\n")).status == 200
        else:
            assert client.ask(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).status == 200
        assert client.is_at_end()
        assert eager.post(f"{env}/close/").status == 200


def test_a_slow_reader_gets_all(eager: Server, here: tuple[Client, str, int]) -> None:
    """Who reads only when all is sent gets every byte of every reply in its order."""
    client, env, pid = here
    client.send(*(step(env, f"big {BIG + count}") for count in range(10)))
    eventually(lambda: eager.get(f"{env}/").json["steps"] > 1)
    assert owner_of(eager, client) == pid
    for count in range(10):
        answer = client.answer()
        assert answer.json["observation"] == count + 2
        assert answer.json["info"]["big"] == "x" * (BIG + count)
    assert owner_of(eager, client) == pid


def test_a_reply_that_had_to_wait_is_one_when_the_connection_is_given_back(
    eager: Server, here: tuple[Client, str, int]
) -> None:
    """What is behind it is the server's to answer, and the step is not executed again."""
    client, env, _ = here
    client.send(step(env, f"big {HUGE}"), HEALTH, step(env, "x"))
    eventually(lambda: eager.get(f"{env}/").json["steps"] == 2)
    first, health, last = client.answers(3)
    assert (first.json["observation"], health.status, last.json["observation"]) == (2, 200, 3)


def test_another_client_need_not_wait_for_a_slow_reader(eager: Server, here: tuple[Client, str, int]) -> None:
    """A connection whose reply is half written is given back with the rest of it, and nothing of it is lost."""
    client, env, pid = here
    with Client(eager) as other:
        client.send(*(step(env, f"big {BIG + count}") for count in range(5)))
        eventually(lambda: eager.get(f"{env}/").json["steps"] > 1)
        assert owner_of(eager, client) == pid
        other.socket.settimeout(15)
        for _ in range(5):
            assert other.ask(step(env, "x")).status == 200
        answers = client.answers(5)
        assert [len(each.json["info"]["big"]) for each in answers] == [BIG + count for count in range(5)]
        assert observations(answers) == sorted(observations(answers))
        assert eager.get(f"{env}/").json["steps"] == 11
        assert client.ask(step(env, "x")).json["observation"] == 12


def test_a_slow_reader_that_closes(eager: Server, here: tuple[Client, str, int]) -> None:
    """With `Connection: close` the stream ends after the reply, however late that is read and whoever writes it."""
    client, env, pid = here
    client.send(step(env, f"big {HUGE}", b"Connection: close\r\n"))
    eventually(lambda: eager.get(f"{env}/").json["steps"] == 2)
    assert owner_of(eager, client) == pid
    with Client(eager) as other:
        other.socket.settimeout(15)
        assert other.ask(step(env, "x")).json["observation"] == 3
    assert len(client.answer().json["info"]["big"]) == HUGE
    assert client.is_at_end()


def test_a_slow_reader_that_sends_on(eager: Server, here: tuple[Client, str, int]) -> None:
    """A client that writes megabytes of requests before it reads a reply is served when it does."""
    client, env, _ = here
    large, small = step(env, f"big {HUGE}"), step(env, "x")
    requests = [large, *[small] * 9000, large, *[small] * 9000]
    with threads(lambda: client.send(*requests)):
        eventually(lambda: eager.get(f"{env}/").json["steps"] > 1)
        assert observations(client.answers(len(requests))) == list(range(2, len(requests) + 2))


def test_a_slow_reader_that_sends_a_large_body(eager: Server, here: tuple[Client, str, int]) -> None:
    """No more of it is read than there is room for, until the reply before it is taken."""
    client, env, pid = here
    client.send(step(env, f"big {HUGE}"), get(f"{env}/action_space/sample"))
    eventually(lambda: eager.get(f"{env}/").json["steps"] > 1)
    with threads(lambda: client.send(padded(step(env, "x"), BIG), step(env, "x"))):
        eventually(lambda: not is_read(eager, client))
        assert owner_of(eager, client) == pid
        first, sample, *others = client.answers(4)
    assert sample.status == 200
    assert observations([first, *others]) == [2, 3, 4]


def test_a_slow_reader_that_never_reads(eager: Server, here: tuple[Client, str, int]) -> None:
    """Its end frees the instance, and its process serves the next."""
    client, env, pid = here
    client.send(*[step(env, f"big {BIG}")] * 3)
    eventually(lambda: eager.get(f"{env}/").json["steps"] > 1)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.__exit__()
    with Client(eager) as other:
        assert settle(eager, other, env) == pid


def test_a_client_that_is_gone_before_its_connection_is_handed_over(eager: Server) -> None:
    """A connection that is reset at any moment does the environment no harm."""
    env = eager.create(TROUBLE)
    for count, _ in itertools.product(range(4), range(50)):
        with Client(eager) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(post(f"{env}/reset/", {}) * count)
    with Client(eager) as client:
        settle(eager, client, env)


def test_many_clients_of_one_instance(eager: Server) -> None:
    """Each of their requests is executed once, while the connection in the process is now one and now another's."""
    env = eager.create(TROUBLE)
    eager.post(f"{env}/reset/")
    found: list[int] = []

    def use() -> None:
        with Client(eager) as client:
            for count in range(60):
                requests = [step(env, "x")] * (count % 3 + 1)
                client.send(*requests)
                found.extend(observations(client.answers(len(requests))))
                if count % 7 == 0:
                    assert client.ask(HEALTH).status == 200

    with threads(*[use] * 6):
        pass
    assert sorted(found) == list(range(1, 6 * 120 + 1))


def test_a_connection_that_the_server_is_still_writing_to_stays_there() -> None:
    """A reply that the client has not taken yet arrives whole, though the next request would move the connection."""
    with Server("--engine", "process", "--import", "tests.support.troublemakers") as server, Client(server) as client:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        client.send(step(env, f"big {HUGE}"))
        assert client.socket.recv(1, socket.MSG_PEEK)
        client.send(step(env, "x"))
        eventually(lambda: server.get(f"{env}/").json["steps"] == 2)
        first, second = client.answers(2)
        assert (first.json["info"]["big"], second.json["observation"]) == ("x" * HUGE, 2)
