"""Connections, retries and time-outs of the client, against a loopback server."""

from __future__ import annotations

import os
import random
import socket
import ssl
import sys
import threading
import time

import pytest
import trustme

from gym_http_server.client import Client, ServerProblem
from gym_http_server.client.http.address import Address
from gym_http_server.client.http.connection import Connection

from ..support.loopback import WAIT_SECONDS, Loopback, reply


def test_the_connection_is_kept_and_used_again(loopback, client):
    """All requests of one thread go over one connection, on which Nagle's algorithm is off."""
    for _ in range(3):
        client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 1, 1]
    connection = client._transport._local.connection
    assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_connection_is_kept_after_a_problem(loopback, client):
    """An error that the server answers leaves the connection usable."""
    loopback.answer = lambda _: reply({"message": "no"}, "400 Bad Request")
    for _ in range(2):
        with pytest.raises(ServerProblem):
            client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 1]


def test_a_request_is_one_write(client, monkeypatch):
    """The head and the body of a request go out in one write."""
    writes = []
    sendall = socket.socket.sendall

    def recording(self, data, *arguments):
        writes.append(bytes(data))
        return sendall(self, data, *arguments)

    monkeypatch.setattr(socket.socket, "sendall", recording)
    client.step_env("a1", 1)
    (request,) = [data for data in writes if not data.startswith(b"HTTP/")]
    assert request.startswith(b"POST /v1/envs/a1/step/ HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"action":1}')


def test_a_connection_that_the_server_closed_is_replaced_before_a_step_is_sent(loopback, client):
    """A step after the server has closed the idle connection goes over a new one, once."""
    loopback.closes_after_reply = True
    client.step_env("a1", 0)
    assert loopback.closed.acquire(timeout=WAIT_SECONDS)
    client.step_env("a1", 1)
    assert [(request.connection, request.json["action"]) for request in loopback.requests] == [(1, 0), (2, 1)]


@pytest.mark.skipif(sys.platform == "win32", reason="the look at the connection is another one there")
@pytest.mark.usefixtures("blind")
class TestConnectionEndsUnderTheRequest:
    def test_a_step_that_could_not_be_sent_is_sent_again(self, loopback, client):
        """A step whose connection was reset before it could be sent is sent once more and executed once."""
        loopback.closes_after_reply = loopback.resets = True
        client.step_env("a1", 0)
        assert loopback.closed.acquire(timeout=WAIT_SECONDS)
        client.step_env("a1", 1)
        assert [(request.connection, request.json["action"]) for request in loopback.requests] == [(1, 0), (2, 1)]

    def test_a_step_that_was_sent_is_sent_again_with_its_key(self, loopback, client):
        """A step that was sent whole and not answered is sent again by the same key, and the next one has another."""
        loopback.closes_after_reply = True
        client.step_env("a1", 0)
        assert loopback.closed.acquire(timeout=WAIT_SECONDS)
        client.step_env("a1", 1)
        assert [request.json["action"] for request in loopback.requests] == [0, 1]
        keys = [request.headers["idempotency-key"] for request in loopback.requests]
        assert len(set(keys)) == 2

    def test_a_request_without_a_key_that_was_sent_is_not_sent_again(self, loopback, client):
        """It raises ConnectionError, which says that it may have been executed."""
        loopback.closes_after_reply = True
        client.start_monitor("a1", "here")
        assert loopback.closed.acquire(timeout=WAIT_SECONDS)
        with pytest.raises(ConnectionError, match=r"start/: .*whether the server executed it is not known"):
            client.start_monitor("a1", "there")
        assert len(loopback.requests) == 1

    def test_a_request_that_changes_nothing_is_sent_again(self, loopback, client):
        """A request that changes nothing is sent once more when a kept connection ended without an answer."""
        loopback.closes_after_reply = True
        client.get_health()
        assert loopback.closed.acquire(timeout=WAIT_SECONDS)
        assert client.get_health() == {}
        assert [request.connection for request in loopback.requests] == [1, 2]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_request_is_sent_again_as_often_as_it_may_be(loopback, retries):
    """Each time on a new connection and by the same key, and then it raises ConnectionError."""
    loopback.answer = lambda _: None
    with Client(loopback.url, retries=retries) as client:
        for call, is_repeated in (
            (client.get_health, True),
            (lambda: client.step_env("a1", 0), True),
            (lambda: client.create_env("A-v0"), True),
            (lambda: client.close_env("a1"), True),
            (lambda: client.start_monitor("a1", "here"), False),
            (client.shutdown_server, False),
        ):
            loopback.requests.clear()
            with pytest.raises(ConnectionError, match="without an answer"):
                call()
            assert len(loopback.requests) == (retries + 1 if is_repeated else 1)
            assert len({request.connection for request in loopback.requests}) == len(loopback.requests)
            assert len({request.headers.get("idempotency-key") for request in loopback.requests}) == 1


def test_a_program_draws_its_own_random_numbers(loopback):
    """A request that is sent again takes none from the generator that the program seeded."""
    loopback.answer = lambda _: None
    state = random.getstate()
    with Client(loopback.url, retries=1) as client, pytest.raises(ConnectionError):
        client.get_health()
    assert random.getstate() == state


def test_the_time_between_attempts_doubles(loopback, monkeypatch):
    """A client waits from half of 0.05, 0.1, 0.2, 0.4 s to the whole, so that many do not come back at once."""
    waits = []
    monkeypatch.setattr("gym_http_server.client.http.transport.time.sleep", waits.append)
    loopback.answer = lambda _: None
    with Client(loopback.url) as client, pytest.raises(ConnectionError):
        client.get_health()
    assert len(waits) == 4
    for wait, longest in zip(waits, (0.05, 0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= wait <= longest


def test_a_late_answer_is_not_asked_for_again(loopback):
    """A step whose answer does not come in time raises TimeoutError after one request: the server may still be at it."""
    late = threading.Event()
    loopback.answer = lambda _: late.wait(WAIT_SECONDS) and None
    try:
        with Client(loopback.url, timeout=0.2) as client, pytest.raises(TimeoutError):
            client.step_env("a1", 0)
    finally:
        late.set()
    assert loopback.closed.acquire(timeout=WAIT_SECONDS)
    assert len(loopback.requests) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
def test_a_forked_client_names_its_requests_otherwise(loopback, client):
    """The same client in a child process uses no key that its parent uses."""
    client.step_env("a1", 0)
    pid = os.fork()
    if pid == 0:
        try:
            client.step_env("a1", 1)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    client.step_env("a1", 2)
    keys = {request.json["action"]: request.headers["idempotency-key"] for request in loopback.requests}
    names = {action: key.rsplit("-", 1)[0] for action, key in keys.items()}
    assert names[0] == names[2] != names[1]


def test_a_negative_number_of_retries_is_refused(loopback):
    """The constructor says what it expected."""
    with pytest.raises(ValueError, match="retries is -1"):
        Client(loopback.url, retries=-1)


def test_the_answer_to_a_body_that_was_not_read_is_seen(loopback, client):
    """A server that refuses a large body before reading it is heard."""
    loopback.answer = lambda _: reply({"detail": "too large"}, "413 Content Too Large")
    with pytest.raises(ServerProblem, match="too large") as caught:
        client.step_env("a1", "x" * 20_000_000)
    assert caught.value.status == 413


def test_an_answer_that_breaks_off_is_a_connection_error(loopback, client):
    """A reply that ends before its Content-Length raises ConnectionError."""
    loopback.closes_after_reply = True
    loopback.answer = lambda _: reply(b'{"a": 1}')[:-3]
    with pytest.raises(ConnectionError, match="in the middle of the answer"):
        client.get_health()


def holding(loopback, monkeypatch):
    """Have the first step be answered only after the request that follows it was sent."""
    sent = threading.Event()
    steps = []
    send = Connection.send

    def answer(request):
        if request.path.endswith("/step/"):
            assert sent.wait(WAIT_SECONDS)
            return reply({"late": True})
        return reply({"status": "ok"})

    def note(connection, data):
        send(connection, data)
        steps.append(data)
        if len(steps) > 1:
            sent.set()

    loopback.answer = answer
    monkeypatch.setattr(Connection, "send", note)


def test_a_late_answer_is_never_read_as_that_of_the_next_request(loopback, monkeypatch):
    """After a timeout the next request has a new connection and its own answer."""
    holding(loopback, monkeypatch)
    with Client(loopback.url, timeout=0.05) as client:
        with pytest.raises(TimeoutError, match="no answer in time"):
            client.step_env("a1", 0)
        client._transport._timeout = WAIT_SECONDS
        assert client.get_health() == {"status": "ok"}
    assert loopback.has_read(2)
    assert sorted(request.connection for request in loopback.requests) == [1, 2]


def test_an_interrupted_request_gives_up_its_connection(loopback, client, monkeypatch):
    """After Ctrl-C in a request, the next one has a new connection and its own answer."""
    holding(loopback, monkeypatch)

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.step_env("a1", 0)
    assert client.get_health() == {"status": "ok"}
    assert loopback.has_read(2)
    assert sorted(request.connection for request in loopback.requests) == [1, 2]


def test_each_thread_has_its_own_connection(loopback, client):
    """Two threads that share a client use two connections, and that of a thread that ended is closed."""
    client.get_health()
    thread = threading.Thread(target=client.get_health)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert loopback.closed.acquire(timeout=WAIT_SECONDS)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
def test_a_forked_process_opens_its_own_connection(loopback, client):
    """In a process that was forked the connection of its parent is not used, and the parent goes on with it."""
    client.get_health()
    pid = os.fork()
    if pid == 0:
        try:
            client.get_health()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2, 1]


def test_a_closed_client_opens_a_new_connection(loopback, client):
    """Closing a client closes its connection, and a later call opens another."""
    client.get_health()
    client.close()
    assert loopback.closed.acquire(timeout=WAIT_SECONDS)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2]


def test_the_timeout_covers_the_whole_wait(loopback):
    """A server that sends byte after byte, each in time, does not hold a call longer than the timeout."""
    loopback.piece, loopback.pause = 1, 0.05
    loopback.answer = lambda _: reply(b" " * 10_000)
    with Client(loopback.url, timeout=0.5) as client:
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r"no answer in time .*timeout is 0.5 s"):
            client.get_health()
        assert time.monotonic() - started < 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(directory / "key.pem")
    authority.cert_pem.write_to_path(directory / "certificate.pem")
    return directory


def test_a_server_is_reached_over_tls(certificate, loopback, monkeypatch):
    """An https address is spoken to over TLS on a kept connection, within the timeout, and trusted only where it should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "key.pem")
    loopback.tls = context
    url = loopback.url.replace("http://127.0.0.1", "https://localhost")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Client(url) as client, pytest.raises(ConnectionError, match="certificate verify failed"):
        client.get_health()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "certificate.pem"))
    with Client(url, timeout=WAIT_SECONDS) as client:
        for _ in range(3):
            client.step_env("a1", "x" * 100_000)
        assert len({request.connection for request in loopback.requests}) == 1
        loopback.piece, loopback.pause = 1, 0.05
        loopback.answer = lambda _: reply(b" " * 10_000)
    with Client(url, timeout=0.5) as client, pytest.raises(TimeoutError, match="no answer in time"):
        client.get_health()


def test_a_server_is_reached_at_an_ipv6_address():
    """An address in brackets is connected to, and stands in brackets in the Host header."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Loopback(host="::1") as loopback, Client(loopback.url) as client:
        client.get_health()
        assert loopback.requests[0].headers["host"] == loopback.url.removeprefix("http://")


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    """A timeout that is not above zero raises ValueError when the client is made."""
    with pytest.raises(ValueError, match="seconds above 0"):
        Client(timeout=timeout)


def test_a_client_without_a_timeout_waits(loopback):
    """With the timeout None a late answer is waited for."""
    loopback.piece, loopback.pause = 60, 0.05
    with Client(loopback.url, timeout=None) as client:
        assert client.get_health() == {}


def test_the_api_key_goes_with_every_request_and_into_no_text(loopback):
    """The API key is sent as a bearer token, and neither the client nor its errors show it."""
    with Client(loopback.url, "s3cret") as client:
        client.get_health()
        client.step_env("a1", 0)
        assert [request.headers["authorization"] for request in loopback.requests] == ["Bearer s3cret"] * 2
        loopback.answer = lambda _: None
        with pytest.raises(ConnectionError) as caught:
            client.get_health()
        assert "s3cret" not in f"{client!r} {client} {caught.value!r} {caught.value}"


@pytest.mark.parametrize("api_key", ["", "s3cret\r\nX: y", "s3cret\n", "s3cret\0", "s3cret key", "s3crét"])
def test_an_api_key_that_no_header_can_carry_is_refused_unseen(api_key):
    """A key with line breaks, control characters or spaces raises ValueError, which does not show it."""
    with pytest.raises(ValueError, match="API key cannot be sent") as caught:
        Client(api_key=api_key)
    assert "s3cr" not in str(caught.value)


def test_an_unreachable_server_says_what_was_tried_and_how_to_start_one(unreachable):
    """A refused connection names the address and the command that starts a server there."""
    port = unreachable.rpartition(":")[2]
    with Client(unreachable) as client, pytest.raises(ConnectionError) as caught:
        client.get_health()
    assert unreachable in str(caught.value)
    assert f"gym-http-server --port {port}" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:5000", "ftp://x", "http://", "http://x:y", "http://x:0", "http://x y", "http://a:b@x", "http://x?q"],
)
def test_what_is_no_address_is_refused_at_once(url):
    """An address that is not that of an HTTP server raises ValueError when the client is made."""
    with pytest.raises(ValueError, match="is not the address of a server"):
        Client(url)


@pytest.mark.parametrize(("url", "port"), [("http://lab", 80), ("https://lab", 443), ("https://lab:5000/gym", 5000)])
def test_without_a_port_the_one_of_the_scheme_is_meant(url, port):
    """80 for http, 443 for https."""
    assert Address.of(url).port == port


def test_a_path_in_the_address_goes_before_every_path(loopback):
    """A server behind a proxy is reached under the path of its address."""
    with Client(loopback.url + "/gym/") as client:
        client.get_health()
    assert loopback.requests[0].path == "/gym/v1/health/"
