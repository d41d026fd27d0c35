"""How pages are served: what a request of one may bring, and that clients which are slow hold up nobody else's."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_http_server.api.pages import MAX_FORM_BYTES, MAX_THREADS

from ..conftest import start
from ..support.handing import Client, get
from ..support.recordings import record
from ..support.serving import Answer, Server, eventually, parse_response, raw

KEY = "correct-horse-battery-staple"
FORM = "application/x-www-form-urlencoded"
SMALL = 1000
MANY = 3 * MAX_THREADS
HUGE = 64_000_000
"""Bytes of a file that no connection's buffers take."""


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server that requires a key."""
    with start("process", "--api-key", KEY) as running:
        yield running


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A server that requires a key and takes bodies that are smaller than a page's may be."""
    with start("process", "--api-key", KEY, "--max-body", str(SMALL)) as running:
        yield running


def head_of(path: str, *lines: str, method: str = "POST") -> bytes:
    first = (f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}", "Connection: close")
    return "\r\n".join((*first, *lines, "", "")).encode()


def send(server: Server, path: str, body: bytes, media_type: str = FORM, *, method: str = "POST") -> Answer:
    head = head_of(path, f"Content-Type: {media_type}", f"Content-Length: {len(body)}", method=method)
    return parse_response(raw(server.address, head + body))


def send_chunks(server: Server, path: str, body: bytes, size: int) -> Answer:
    parts = (body[begin : begin + size] for begin in range(0, len(body), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = head_of(path, f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
    return parse_response(raw(server.address, head + chunks + b"0\r\n\r\n"))


def is_too_large(answer: Answer, limit: int) -> bool:
    """Return whether an answer is the problem of a body over a limit, with all that it is to name."""
    problem = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:gym-http-server:problem:body-too-large"
    assert problem["limit"] == limit
    assert f"{limit} bytes" in answer.message
    # What cannot be raised is not told to be.
    assert problem.get("setting") == ("max_body" if limit == SMALL else None)
    assert ("--max-body" in answer.message) == (limit == SMALL)
    return answer.status == 413


def part_of_a_form(size: int, disposition: str) -> tuple[bytes, str]:
    head = f'--b\r\nContent-Disposition: form-data; name="key"{disposition}\r\n\r\n'.encode()
    return head + b"y" * size + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


@pytest.mark.parametrize("disposition", ["", '; filename="x"'])
@pytest.mark.parametrize("size", [MAX_FORM_BYTES, 8_000_000])
def test_a_form_in_parts_has_a_limit(locked: Server, disposition: str, size: int) -> None:
    """Neither a field nor a file of a login is taken that is larger than any key."""
    assert is_too_large(send(locked, "/login", *part_of_a_form(size, disposition)), MAX_FORM_BYTES)
    assert send(locked, "/login", *part_of_a_form(20, disposition)).status == 401


@pytest.mark.parametrize("path", ["/login", "/login/end", "/", "/scoreboard", "/static/console.css", "/no/such/page"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_the_limit_is_that_of_every_page(locked: Server, path: str, method: str) -> None:
    """Also where no page takes a body, or none is there."""
    body = b"key=" + b"z" * MAX_FORM_BYTES
    assert is_too_large(send(locked, path, body, method=method), MAX_FORM_BYTES)


def test_the_limit_of_all_requests_is_that_of_pages_too(small: Server) -> None:
    """Where --max-body is the smaller one, it is what the problem names and tells to raise."""
    assert is_too_large(send(small, "/login", b"key=" + b"z" * SMALL), SMALL)
    assert is_too_large(send_chunks(small, "/login", b"key=" + b"z" * SMALL, 100), SMALL)
    assert send(small, "/login", b"key=" + b"z" * (SMALL - 4)).status == 401


def test_chunks_are_counted_as_they_come(locked: Server) -> None:
    """A form in chunks is read as any other, up to the same limit."""
    assert send_chunks(locked, "/login", f"key={KEY}".encode(), 3).status == 303
    assert send_chunks(locked, "/login", b"key=" + b"z" * (MAX_FORM_BYTES - 4), 1000).status == 401
    assert is_too_large(send_chunks(locked, "/login", b"key=" + b"z" * MAX_FORM_BYTES, 1000), MAX_FORM_BYTES)
    assert is_too_large(send_chunks(locked, "/login", b"key=" + b"z" * 8_000_000, 1 << 16), MAX_FORM_BYTES)


def test_nothing_of_a_large_form_is_kept(locked: Server) -> None:
    """A client that goes on sending past the limit is answered in the middle of it, and its connection is closed."""
    body, media_type = part_of_a_form(0, '; filename="x"')
    head = head_of("/login", f"Content-Type: {media_type}", "Content-Length: 200000000")
    with Client(locked) as client:
        client.send(head, body)
        assert is_too_large(client.answer(), MAX_FORM_BYTES)
        assert client.is_at_end()


def test_forms_that_never_end_hold_up_no_page(locked: Server) -> None:
    """With more of them than there are threads, without a key, a page comes at once."""
    slow = f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n\r\nk"
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(Client(locked)).send(slow.encode())
        began = time.monotonic()
        for path in ("/", "/static/console.css"):
            assert locked.get(path, headers={"Authorization": f"Bearer {KEY}"}, check=False).status == 200
        # The time-out of a body, after which the threads would be free again, is a minute.
        assert time.monotonic() - began < 20


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bytes, Path]]:
    """A server with a large video, the request of it, and where it is."""
    root = tmp_path_factory.mktemp("root")
    record(root / "run", [1.0, 2.0], videos=[0])
    with start("process", "--results-root", str(root), "--upload-to", str(root / "kept")) as server:
        answer = server.post("/v1/upload/", {"training_dir": str(root / "run"), "api_key": "key"})
        [name] = answer.json["videos"]
        [path] = (root / "kept").rglob(name)
        with path.open("r+b") as file:
            file.truncate(HUGE)
        yield server, get(f"/scoreboard/{answer.json['evaluation_id']}/videos/{name}"), path


def test_files_that_are_not_read_hold_up_no_page(film: tuple[Server, bytes, Path]) -> None:
    """With more clients than threads that ask for a video and do not read it, a page comes at once; who reads gets it all."""
    server, request, _ = film
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(MANY)]
        for client in clients:
            client.send(request)
        for client in clients[:MAX_THREADS]:
            # Their replies have begun.
            assert client.socket.recv(1, socket.MSG_PEEK) == b"H"
        for path in ("/", "/scoreboard", "/static/console.css"):
            assert server.get(path, check=False).status == 200
        answer = clients[-1].answer()
        assert (answer.status, len(answer.body)) == (200, HUGE)


def test_a_file_is_let_go_of_when_its_reader_leaves(film: tuple[Server, bytes, Path]) -> None:
    """Who breaks a download off leaves no open file behind."""
    server, request, path = film

    def is_open() -> bool:
        with contextlib.suppress(FileNotFoundError):  # another one was closed meanwhile
            return any(
                each.samefile(path) for each in Path(f"/proc/{server.process.pid}/fd").iterdir() if each.exists()
            )
        return True

    eventually(lambda: not is_open())
    with Client(server) as client:
        client.send(request)
        eventually(is_open)
    eventually(lambda: not is_open())


def test_the_page_of_a_closed_instance_tells_how_it_ended(locked: Server) -> None:
    """It says who closed it, and leads to the form with the arguments that made it; an id that never was is a 404."""
    locked.key = KEY
    env = locked.create("CartPole-v1", name="<b>baseline</b>")
    page = env.replace("/v1/envs/", "/instances/")

    def ask(path: str) -> Answer:
        return parse_response(raw(locked.address, head_of(path, "Accept: text/html", method="GET")))

    assert b"data-instance=" in ask(page).body
    locked.post(f"{env}/close/")
    answer = ask(page)
    assert answer.status == 200
    assert b"a client closed it" in answer.body
    assert b"&lt;b&gt;baseline&lt;/b&gt;" in answer.body
    assert b"/instances/new?env_id=CartPole-v1&amp;name=%3Cb" in answer.body
    assert ask("/instances/00000000").status == 404
