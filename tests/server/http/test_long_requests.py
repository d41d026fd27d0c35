"""The limit of what comes with a request and is not its body: its head, and the extensions and trailers of its chunks."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from gym_http_server.http1.arrival import MAX_HEAD_BYTES
from tests.conftest import KINDS, start
from tests.support.handing import TROUBLE, Client, chunked, is_read, post, step
from tests.support.serving import Server, eventually


@pytest.fixture(scope="module", params=KINDS)
def strict(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that waits for a body, and for a head, no longer than a test should take."""
    with start(request.param, "--header-timeout", "5", "--body-timeout", "5") as running:
        yield running


USELESS = {
    "many trailers": (b"2\r\n{}\r\n0\r\n", b"X-A: a\r\n"),
    "a trailer without end": (b"2\r\n{}\r\n0\r\nX-A: ", b"a"),
    "a chunk extension without end": (b"2\r\n{}\r\n5;", b"a"),
    "an extension of the last chunk": (b"0;a=", b"a"),
}


@pytest.mark.parametrize("part", USELESS)
@pytest.mark.parametrize("is_for_env", [False, True])
def test_what_nobody_reads_of_a_chunked_body_is_limited(strict: Server, part: str, is_for_env: bool) -> None:
    """Extensions and trailers are no way past the limit of a head: they end in a 431, and the instance goes on."""
    env = strict.create("CartPole-v1")
    strict.post(f"{env}/reset/")
    path = f"{env}/reset/" if is_for_env else "/v1/envs/"
    begin, rest = USELESS[part]
    with Client(strict) as client:
        assert client.ask(post(f"{env}/reset/", {})).status == 200
        client.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode())
        client.send(b"Transfer-Encoding: chunked\r\n\r\n", begin)
        sent = 0
        # In pieces that the server reads one by one, for what comes at once is not refused before it is all there.
        while not select.select([client.socket], [], [], 0.05)[0]:
            client.send(rest * (20_000 // len(rest)))
            sent += 20_000
            assert sent < 1_000_000
        answer = client.answer()
        assert answer.status == 431
        assert "65536 bytes" in answer.message
        assert client.is_at_end()
    assert strict.post(f"{env}/close/").status == 200


def test_trailers_are_no_headers(strict: Server) -> None:
    """What comes behind a body changes nothing about how the request is answered."""
    env = strict.create("CartPole-v1")
    whole = chunked(f"{env}/reset/", {"seed": 1})[:-2] + b"Idempotency-Key: a b\r\nContent-Type: text/css\r\n\r\n"
    with Client(strict) as client:
        for _ in range(3):
            assert client.ask(whole).status == 200


def test_a_long_head_behind_a_request_does_not_take_its_answer(strict: Server) -> None:
    """The request under way gets its own reply first, and the head behind it then its 431."""
    env = strict.create(TROUBLE)
    strict.post(f"{env}/reset/")
    with Client(strict) as client:
        client.send(step(env, "sleep 0.5"), b"GET / HTTP/1.1\r\nX: ")
        eventually(lambda: is_read(strict, client))
        client.send(b"a" * 200_000)
        assert client.answer().json["observation"] == 1
        assert client.answer().status == 431
    assert strict.post(f"{env}/close/").status == 200


@pytest.mark.parametrize("pieces", [1, 2, 20])
@pytest.mark.parametrize("is_for_env", [False, True])
def test_a_head_has_one_limit_however_it_comes(strict: Server, pieces: int, is_for_env: bool) -> None:
    """In one piece or in many, here or in an environment's process: 65,536 bytes are served, and one more is a 431."""
    env = strict.create("CartPole-v1")
    strict.post(f"{env}/reset/")
    path = f"{env}/action_space/sample" if is_for_env else "/v1/health/"
    with Client(strict) as client:
        for size, status in ((MAX_HEAD_BYTES, 200), (MAX_HEAD_BYTES + 1, 431)):
            assert client.ask(post(f"{env}/reset/", {})).status == 200
            begin = f"GET {path} HTTP/1.1\r\n".encode()
            lines = b"Host: localhost\r\nX: \r\n"
            request = begin + lines[:-2] + b"a" * (size - len(path) - len(lines)) + b"\r\n\r\n"
            step = -(-len(request) // pieces)
            for start_of in range(0, len(request), step):
                client.send(request[start_of : start_of + step])
                eventually(lambda: is_read(strict, client))
            answer = client.answer()
            assert answer.status == status
        assert "65536 bytes" in answer.message
        assert client.is_at_end()
    assert strict.post(f"{env}/close/").status == 200
