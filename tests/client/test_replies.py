"""Replies and errors as the client reads them, against a loopback server."""

from __future__ import annotations

import pickle
import traceback

import numpy as np
import pytest

import gym_http_server.client
from gym_http_server.client import Client, ServerConnectionError, ServerProblem
from gym_http_server.client.http.reply import MAX_BUFFER_BYTES, MAX_HEAD_BYTES
from gym_http_server.client.values import own
from gym_http_server.runtime.values.packing import pack

from ..support.loopback import reply

PROBLEM = {
    "type": "urn:gym-http-server:problem:unknown-instance",
    "title": "Unknown instance",
    "status": 400,
    "detail": "Instance_id 'a1' unknown",
    "message": "Instance_id 'a1' unknown",
    "instance_id": "a1",
}


@pytest.mark.parametrize(
    ("answer", "members"),
    [
        (
            reply(PROBLEM, "400 Bad Request", "application/problem+json"),
            (400, PROBLEM["type"], "Unknown instance", "Instance_id 'a1' unknown", {"instance_id": "a1"}),
        ),
        (reply({"message": "old"}, "400 Bad Request"), (400, "about:blank", "Bad Request", "old", {})),
        (reply(b"plain", "502 Bad Gateway", "text/plain"), (502, "about:blank", "Bad Gateway", "plain", {})),
        (reply(b"<html>", "502 Bad Gateway", "text/html"), (502, "about:blank", "Bad Gateway", "Bad Gateway", {})),
        (reply(b"", "500 Oh"), (500, "about:blank", "Oh", "Oh", {})),
        (reply(b"[1]", "500 Oh"), (500, "about:blank", "Oh", "[1]", {})),
        (reply(b"", "307 Temporary Redirect"), (307, "about:blank", "Temporary Redirect", "Temporary Redirect", {})),
    ],
)
def test_an_error_is_a_server_problem_with_what_the_reply_says(loopback, client, answer, members):
    """Problem details, v1's message and plain text all become a ServerProblem, which survives pickling."""
    loopback.answer = lambda _: answer
    with pytest.raises(ServerProblem) as caught:
        client.step_env("a1", 0)
    for problem in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 -- pickled two lines above
        assert (problem.status, problem.type, problem.title, problem.message, problem.facts) == members
        assert str(problem).startswith(str(problem.status))
        assert str(problem).endswith(problem.message)


def test_another_server_is_told_apart(loopback, client):
    """A reply that is no JSON object, and bytes that are no HTTP, say that no gym-http-server answers there."""
    loopback.answer = lambda _: reply(b"<html>", media_type="text/html")
    with pytest.raises(ServerProblem, match="not a gym-http-server"):
        client.get_health()
    loopback.answer = lambda _: b"+OK ready\r\n"
    with pytest.raises(ConnectionError, match="does not speak HTTP"):
        client.get_health()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b'{"a":1}'),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply(b'{"a":1}'),
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: x\r\n\r\n',
        HEAD + b'content-LENGTH:7\r\n\r\n{"a":1}',
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
    ],
    ids=["interim", "interims", "chunked", "case", "http-1.0-kept"],
)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_reply_is_read_in_every_form_and_in_every_size_of_pieces(loopback, client, data, piece):
    """Interim replies, chunks and odd headers are read, however they are cut up, and the connection is kept."""
    loopback.piece = piece
    loopback.answer = lambda _: data
    assert client.get_health() == client.get_health() == {"a": 1}
    assert [request.connection for request in loopback.requests] == [1, 1]


@pytest.mark.parametrize("piece", [1 << 10, 1 << 17, 1 << 20])
@pytest.mark.parametrize("sizes", [(300_000, 20, 300_001, 70_000), (65_000, 66_000, 64)])
def test_large_and_small_replies_are_read_one_after_another(loopback, client, sizes, piece):
    """Whole and byte for byte, over one connection, however they are cut up."""
    loopback.piece = piece
    for size in sizes:
        loopback.answer = lambda _, size=size: reply({"text": f"{size}" * (size // 5)})
        assert client.get_health() == {"text": f"{size}" * (size // 5)}
    assert [request.connection for request in loopback.requests] == [1] * len(sizes)


def test_a_large_array_of_a_reply_is_its_own(loopback):
    """A frame that a program keeps, and may write into, is not changed by later replies, with whatever dtype and place."""
    with Client(loopback.url, packed=True) as client:
        for dtype in ("u1", "<f4", "<f8"):
            kept = []
            for number in range(3):
                frame = np.full((210, 160, 3), number, dtype)
                loopback.answer = lambda _, frame=frame: reply(
                    pack({"observation": frame}), media_type="application/msgpack"
                )
                kept.append(own(client.step_env("a1", 0)["observation"]))
                kept[-1][0] += 10
            assert [(frame[0, 0, 0], frame[1, 0, 0]) for frame in kept] == [(10, 0), (11, 1), (12, 2)]


@pytest.mark.parametrize("length", [MAX_BUFFER_BYTES, 10**14])
def test_a_length_that_a_server_announces_takes_no_memory(loopback, client, length):
    """A body that ends before it is a connection error, however long it was to be."""
    loopback.closes_after_reply = True
    loopback.answer = lambda _: HEAD + b'Content-Length: %d\r\n\r\n{"a":1}' % length
    with pytest.raises(ConnectionError, match="in the middle of the answer"):
        client.get_health()


@pytest.mark.parametrize(
    ("data", "closes"),
    [
        (HEAD + b'\r\n{"a":1}', True),
        (b'HTTP/1.0 200 OK\r\n\r\n{"a":1}', True),
        (HEAD + b'Connection: close\r\nContent-Length: 7\r\n\r\n{"a":1}', False),
        (HEAD + b'Content-Length: 7\r\n\r\n{"a":1}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', False),
        (HEAD + b'Content-Length: 7\r\n\r\n{"a":1}{"b":2}', False),
    ],
    ids=["no-length", "http-1.0", "close", "surplus-reply", "surplus-bytes"],
)
def test_a_connection_that_cannot_go_on_is_used_once(loopback, client, data, closes):
    """A reply to the end of the connection, one that closes it and one with surplus bytes are read, and it is replaced."""
    loopback.closes_after_reply = closes
    loopback.answer = lambda _: data
    assert client.get_health() == client.get_health() == {"a": 1}
    assert [request.connection for request in loopback.requests] == [1, 2]


def test_a_reply_without_a_body_is_none_of_ours(loopback, client):
    """A 204 has no body, whatever follows: it is told as an unexpected reply, and the connection is kept."""
    loopback.answer = lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"
    for _ in range(2):
        with pytest.raises(ServerProblem, match="not a gym-http-server"):
            client.close_env("a1")
    loopback.answer = lambda _: b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    with pytest.raises(ServerProblem, match="304"):
        client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 1, 1]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "does not speak HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD_BYTES + 1), "more than 262144 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 20), "more than 262144 bytes"),
    ],
    ids=["length", "lengths", "chunk", "upgrade", "long", "interims"],
)
def test_a_garbled_or_endless_head_is_a_connection_error(loopback, client, data, match):
    """A reply that is no HTTP, or whose head does not end, raises ConnectionError that says so."""
    loopback.answer = lambda _: data
    with pytest.raises(ConnectionError, match=match):
        client.get_health()


def test_exceptions_have_public_names(unreachable):
    """Each that a call may raise is told, and pickled, by the name under which it is documented."""
    with Client(unreachable, retries=0) as client, pytest.raises(ServerConnectionError) as caught:
        client.get_health()
    for error in (caught.value, ServerProblem(400, "about:blank", "Wrong", "wrong")):
        name = f"gym_http_server.client.{type(error).__name__}"
        assert type(error).__name__ in gym_http_server.client.__all__
        assert traceback.format_exception_only(error)[0].startswith(f"{name}: ")
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- pickled here
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.is_harmless is True
    for name in ("GymHttpServerError", "StartError", "NoRecordingError"):
        error_class = getattr(gym_http_server, name)
        assert (error_class.__module__, name in gym_http_server.__all__) == ("gym_http_server.errors", True)
