"""The Python client and the example programs, against a loopback server that answers as each test wants."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field

import numpy as np
import pytest
import trustme

import gym_http_server.client
from gym_http_server import example_agent, example_client
from gym_http_server.client import Client, ServerConnectionError, ServerProblem
from gym_http_server.client.http.connection import Connection
from gym_http_server.client.http.reply import MAX_HEAD_BYTES
from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.runtime.values.packing import pack, unpack

from ..support.serving import Server

SECONDS = 30.0


@dataclass
class Request:
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def reply(body=b"{}", status="200 OK", media_type="application/json", headers=""):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


@dataclass
class Loopback:
    """Records requests; `answer` gives the bytes of each reply, or None to close the connection unanswered."""

    answer: object = staticmethod(lambda _request: reply())
    closes_after_reply: bool = False
    resets: bool = False
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    piece: int | None = None
    pause: float = 0.0
    requests: list[Request] = field(default_factory=list)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{name}:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        self._listener.close()

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._sockets.append(accepted)
                self._start(self._serve, accepted, len(self._sockets))

    def _serve(self, accepted, number):
        if self.tls is not None:
            try:
                accepted = self.tls.wrap_socket(accepted, server_side=True)
            except OSError:
                accepted.close()
                return
            self._sockets.append(accepted)
        with accepted, accepted.makefile("rb") as stream, contextlib.suppress(ConnectionError):
            while line := stream.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (line := stream.readline()) != b"\r\n":
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = b"" if self.resets_at(headers) else stream.read(int(headers.get("content-length", 0)))
                request = Request(number, method, path, headers, body)
                self.requests.append(request)
                data = self.answer(request)
                if data is None:
                    break
                for start in range(0, len(data), self.piece or len(data)):
                    accepted.sendall(data[start : start + (self.piece or len(data))])
                    if self.pause:
                        time.sleep(self.pause)
                if self.closes_after_reply or self.resets_at(headers):
                    break
            if self.resets:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed.release()

    @staticmethod
    def resets_at(headers):
        return int(headers.get("content-length", 0)) > 1_000_000


@pytest.fixture
def loopback():
    with Loopback() as server:
        yield server


@pytest.fixture
def client(loopback):
    with Client(loopback.url, timeout=SECONDS) as made:
        yield made


@pytest.fixture
def unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def blind(monkeypatch):
    """Hide from the client that a connection has ended, as if it ended just after the look at it."""

    class Poll:
        def register(self, *_):
            pass

        def poll(self, *_):
            return []

    monkeypatch.setattr(select, "poll", Poll)


def test_importing_the_client_loads_no_server_library_and_no_environment_library():
    """Importing the client loads neither connexion, flask, gym, gymnasium nor numpy."""
    code = (
        "import gym_http_server.client, sys; "
        "print([name for name in ('connexion', 'flask', 'gym', 'gymnasium', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


CALLS = [
    (lambda c: c.list_envs(), "GET", "/v1/envs/", None),
    (lambda c: c.list_named_envs(), "GET", "/v1/envs/", None),
    (lambda c: c.get_env("a1"), "GET", "/v1/envs/a1/", None),
    (lambda c: c.renew_leases(("a1", "b2")), "POST", "/v1/leases/", {"instance_ids": ["a1", "b2"]}),
    (lambda c: c.get_env("a/ b"), "GET", "/v1/envs/a%2F%20b/", None),
    (
        lambda c: c.create_env("A-v0", seed=0, kwargs={}),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "seed": 0, "kwargs": {}, "lease": 240.0},
    ),
    (
        lambda c: c.create_env("A-v0", num_envs=2, vectorization_mode="sync", autoreset_mode="disabled"),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "num_envs": 2, "vectorization_mode": "sync", "autoreset_mode": "disabled", "lease": 240.0},
    ),
    (
        lambda c: c.create_env(
            "A-v0", wrappers=[{"name": "B"}, {"name": "C", "kwargs": {"d": (1, 2)}}], autoreset=True, lease=None
        ),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "wrappers": [{"name": "B"}, {"name": "C", "kwargs": {"d": [1, 2]}}], "autoreset": True},
    ),
    (lambda c: c.rollout("a1", actions=[0, 1]), "POST", "/v1/envs/a1/rollout/", {"actions": [0, 1]}),
    (
        lambda c: c.rollout("a1", policy="random", steps=3, seed=0),
        "POST",
        "/v1/envs/a1/rollout/",
        {"policy": "random", "steps": 3, "seed": 0},
    ),
    (lambda c: c.reset_batch("a1"), "POST", "/v1/envs/a1/batch/reset/", {}),
    (
        lambda c: c.reset_batch("a1", seeds=[1, None], options={}, reset_mask=[True, False]),
        "POST",
        "/v1/envs/a1/batch/reset/",
        {"seeds": [1, None], "options": {}, "reset_mask": [True, False]},
    ),
    (lambda c: c.step_batch("a1", [0, 1]), "POST", "/v1/envs/a1/batch/step/", {"actions": [0, 1]}),
    (lambda c: c.delete_env("a1"), "DELETE", "/v1/envs/a1/", None),
    (
        lambda c: c.action_space_contains_value("a1", "[0.5]"),
        "GET",
        "/v1/envs/a1/action_space/contains/%5B0.5%5D",
        None,
    ),
    (lambda c: c.reset_env("a1"), "POST", "/v1/envs/a1/reset/", {}),
    (lambda c: c.reset_env("a1", 0, {"x": None}), "POST", "/v1/envs/a1/reset/", {"seed": 0, "options": {"x": None}}),
    (lambda c: c.step_env("a1", 0), "POST", "/v1/envs/a1/step/", {"action": 0}),
    (lambda c: c.step_env("a1", [], render=True), "POST", "/v1/envs/a1/step/", {"action": [], "render": True}),
    (lambda c: c.get_action_space("a1"), "GET", "/v1/envs/a1/action_space/", None),
    (lambda c: c.get_observation_space("a1"), "GET", "/v1/envs/a1/observation_space/", None),
    (lambda c: c.sample_action("a1"), "GET", "/v1/envs/a1/action_space/sample", None),
    (lambda c: c.action_space_contains("a1", 1), "POST", "/v1/envs/a1/action_space/contains", {"action": 1}),
    (
        lambda c: c.observation_space_contains("a1", [0.5]),
        "POST",
        "/v1/envs/a1/observation_space/contains",
        {"observation": [0.5]},
    ),
    (
        lambda c: c.start_monitor("a1", "/srv/x", force=True, video_callable=20),
        "POST",
        "/v1/envs/a1/monitor/start/",
        {"directory": "/srv/x", "force": True, "resume": False, "video_callable": 20},
    ),
    (lambda c: c.close_monitor("a1"), "POST", "/v1/envs/a1/monitor/close/", None),
    (lambda c: c.get_monitor("a1"), "GET", "/v1/envs/a1/monitor/", None),
    (
        lambda c: c.upload_recording("/srv/x", "key", "ppo"),
        "POST",
        "/v1/upload/",
        {"training_dir": "/srv/x", "api_key": "key", "algorithm_id": "ppo"},
    ),
    (lambda c: c.list_evaluations(), "GET", "/v1/evaluations/?order=newest&page=1&page_size=50", None),
    (
        lambda c: c.list_evaluations("ALE/Pong-v5", "best", 2, 10),
        "GET",
        "/v1/evaluations/?env_id=ALE%2FPong-v5&order=best&page=2&page_size=10",
        None,
    ),
    (lambda c: c.get_evaluation("a/b"), "GET", "/v1/evaluations/a%2Fb/", None),
    (lambda c: c.list_registry(), "GET", "/v1/registry/?page=1&page_size=50", None),
    (
        lambda c: c.list_registry("ale/pong v5", "gymnasium", 2, 10),
        "GET",
        "/v1/registry/?q=ale%2Fpong+v5&library=gymnasium&page=2&page_size=10",
        None,
    ),
    (lambda c: c.render_env("a1"), "GET", "/v1/envs/a1/render/", None),
    (lambda c: c.get_transitions("a1"), "GET", "/v1/envs/a1/transitions/", None),
    (lambda c: c.create_snapshot("a1"), "POST", "/v1/envs/a1/snapshots/", None),
    (lambda c: c.list_snapshots("a1"), "GET", "/v1/envs/a1/snapshots/", None),
    (lambda c: c.restore_snapshot("a1", "b/2"), "POST", "/v1/envs/a1/snapshots/b%2F2/restore/", None),
    (lambda c: c.delete_snapshot("a1", "b2"), "DELETE", "/v1/envs/a1/snapshots/b2/", None),
    (lambda c: c.close_env("a1"), "POST", "/v1/envs/a1/close/", None),
    (lambda c: c.shutdown_server(), "POST", "/v1/shutdown/", None),
    (lambda c: c.get_health(), "GET", "/v1/health/", None),
    (lambda c: c.get_metrics(), "GET", "/metrics", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_each_method_sends_the_request_of_its_operation(loopback, client, call, method, path, body):
    """A method sends the method, the path and the members that the contract gives to its operation."""
    loopback.answer = lambda _: reply(
        {
            "envs": {},
            "instance_id": "a1",
            "info": {},
            "action": 1,
            "member": True,
            "snapshot_id": "b2",
            "observation": 0,
            "unknown": [],
        }
    )
    call(client)
    (request,) = loopback.requests
    assert (request.method, request.path) == (method, path)
    assert (request.json if request.body else None) == body
    assert request.headers.get("content-type") == (None if body is None else "application/json")


def test_every_operation_of_the_contract_has_its_method():
    """Each operationId of the contract is, in snake case, a method of the client."""
    operations = [each for item in DOCUMENT["paths"].values() for each in item.values() if isinstance(each, dict)]
    for operation_id in (each["operationId"] for each in operations):
        assert callable(getattr(Client, re.sub("([A-Z])", r"_\1", operation_id).lower()))


def test_replies_are_unwrapped_where_they_hold_one_thing(loopback, client):
    """A reply with one member is returned as that member, a frame as its bytes, and any other as a dict."""
    loopback.answer = lambda _: reply(
        {
            "envs": {"a1": "A-v0"},
            "info": {"name": "Discrete"},
            "action": 7,
            "member": False,
            "snapshot_id": "b2",
            "observation": 3,
        }
    )
    assert (client.create_snapshot("a1"), client.restore_snapshot("a1", "b2")) == ("b2", 3)
    assert client.delete_snapshot("a1", "b2") is None
    assert client.list_envs() == {"a1": "A-v0"}
    # That of a server which has no names yet.
    assert client.list_named_envs() == {"a1": {"env_id": "A-v0", "name": None, "labels": {}}}
    assert client.get_action_space("a1") == client.get_observation_space("a1") == {"name": "Discrete"}
    assert client.sample_action("a1") == 7
    assert client.action_space_contains("a1", 9) is client.observation_space_contains("a1", 9) is False
    assert client.close_env("a1") is None
    loopback.answer = lambda request: reply(request.headers["accept"].encode(), media_type="image/jpeg")
    assert client.render_env("a1", "image/jpeg") == b"image/jpeg"


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        (np.int64(3), 3),
        (np.arange(4, dtype=np.float32).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.arange(4)[::2], [0, 2]),
        ({"a": np.bool_(True)}, {"a": True}),
        ((1, None), [1, None]),
        (np.array([np.inf, -np.inf, np.nan]), [1e100, -1e100, None]),
        ([float("inf"), {"x": (float("-inf"),)}], [1e100, {"x": [-1e100]}]),
    ],
)
def test_numpy_values_and_infinities_are_sent_as_the_contract_writes_them(loopback, client, action, sent):
    """Arrays and scalars of numpy are plain JSON, NaN is null and infinities are ±1e100 in a request."""
    client.step_env("a1", action)
    assert loopback.requests[0].json == {"action": sent}


def test_a_value_without_a_json_form_is_a_type_error_and_nothing_is_sent(loopback, client):
    """A value that has no JSON form raises TypeError before anything is sent."""
    with pytest.raises(TypeError, match="set has no JSON form"):
        client.step_env("a1", {1, 2})
    assert loopback.requests == []


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
    assert loopback.closed.acquire(timeout=SECONDS)
    client.step_env("a1", 1)
    assert [(request.connection, request.json["action"]) for request in loopback.requests] == [(1, 0), (2, 1)]


@pytest.mark.skipif(sys.platform == "win32", reason="the look at the connection is another one there")
@pytest.mark.usefixtures("blind")
class TestConnectionEndsUnderTheRequest:
    def test_a_step_that_could_not_be_sent_is_sent_again(self, loopback, client):
        """A step whose connection was reset before it could be sent is sent once more and executed once."""
        loopback.closes_after_reply = loopback.resets = True
        client.step_env("a1", 0)
        assert loopback.closed.acquire(timeout=SECONDS)
        client.step_env("a1", 1)
        assert [(request.connection, request.json["action"]) for request in loopback.requests] == [(1, 0), (2, 1)]

    def test_a_step_that_was_sent_is_sent_again_with_its_key(self, loopback, client):
        """A step that was sent whole and not answered is sent again by the same key, and the next one has another."""
        loopback.closes_after_reply = True
        client.step_env("a1", 0)
        assert loopback.closed.acquire(timeout=SECONDS)
        client.step_env("a1", 1)
        assert [request.json["action"] for request in loopback.requests] == [0, 1]
        keys = [request.headers["idempotency-key"] for request in loopback.requests]
        assert len(set(keys)) == 2

    def test_a_request_without_a_key_that_was_sent_is_not_sent_again(self, loopback, client):
        """It raises ConnectionError, which says that it may have been executed."""
        loopback.closes_after_reply = True
        client.start_monitor("a1", "here")
        assert loopback.closed.acquire(timeout=SECONDS)
        with pytest.raises(ConnectionError, match=r"start/: .*whether the server executed it is not known"):
            client.start_monitor("a1", "there")
        assert len(loopback.requests) == 1

    def test_a_request_that_changes_nothing_is_sent_again(self, loopback, client):
        """A request that changes nothing is sent once more when a kept connection ended without an answer."""
        loopback.closes_after_reply = True
        client.get_health()
        assert loopback.closed.acquire(timeout=SECONDS)
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
    loopback.answer = lambda _: late.wait(SECONDS) and None
    try:
        with Client(loopback.url, timeout=0.2) as client, pytest.raises(TimeoutError):
            client.step_env("a1", 0)
        assert len(loopback.requests) == 1
    finally:
        late.set()


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
            assert sent.wait(SECONDS)
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
        client._transport._timeout = SECONDS
        assert client.get_health() == {"status": "ok"}
    assert [request.connection for request in loopback.requests] == [1, 2]


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
    assert [request.connection for request in loopback.requests] == [1, 2]


def test_each_thread_has_its_own_connection(loopback, client):
    """Two threads that share a client use two connections, and that of a thread that ended is closed."""
    client.get_health()
    thread = threading.Thread(target=client.get_health)
    thread.start()
    thread.join(SECONDS)
    assert loopback.closed.acquire(timeout=SECONDS)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2, 1]


def test_a_forked_process_opens_its_own_connection(loopback, client, monkeypatch):
    """In another process than the one that opened it, a connection is not used."""
    client.get_health()
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2]


def test_a_closed_client_opens_a_new_connection(loopback, client):
    """Closing a client closes its connection, and a later call opens another."""
    client.get_health()
    client.close()
    assert loopback.closed.acquire(timeout=SECONDS)
    client.get_health()
    assert [request.connection for request in loopback.requests] == [1, 2]


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
    with Client(url, timeout=SECONDS) as client:
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


def test_a_packed_client_speaks_messagepack_where_the_contract_has_it(loopback):
    """Operations of a training loop send and take MessagePack with arrays, the others JSON."""
    observation = np.array([[1.5, np.inf], [np.nan, 0]], np.float32)

    def answer(request):
        if request.headers["accept"] == "application/json":
            return reply({"status": "ok", "instance_id": "a1"})
        packed = pack({"observation": observation, "member": True, "action": 1})
        return reply(packed, media_type="application/msgpack")

    loopback.answer = answer
    with Client(loopback.url, packed=True) as client:
        received = client.step_env("a1", {"arm": np.array([0.5, np.nan]), "grip": np.int64(3)})["observation"]
        np.testing.assert_array_equal(received, observation)
        assert received.dtype == observation.dtype
        assert client.action_space_contains("a1", [1]) is True
        assert client.sample_action("a1") == 1
        client.create_env("A-v0", kwargs={"goal": np.arange(2)})
        assert "packed" in repr(client)
    sent = unpack(loopback.requests[0].body)["action"]
    np.testing.assert_array_equal(sent["arm"], [0.5, np.nan])
    assert sent["grip"] == 3
    types = [request.headers.get("content-type", "none").rpartition("/")[2] for request in loopback.requests]
    assert types == ["msgpack", "msgpack", "none", "json"]
    assert loopback.requests[3].json == {"env_id": "A-v0", "kwargs": {"goal": [0, 1]}, "lease": 240.0}


def test_a_packed_client_tells_another_server_apart(loopback):
    """A reply that is no MessagePack says that no gym-http-server answers there."""
    loopback.answer = lambda _: reply(b"<html>", media_type="text/html")
    with Client(loopback.url, packed=True) as client, pytest.raises(ServerProblem, match="not a gym-http-server"):
        client.step_env("a1", 0)


class Tensor:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.arange(3)

    def tolist(self):
        return [0, 1, 2]


@pytest.mark.parametrize("packed", [True, False])
def test_tensors_of_other_libraries_are_taken_as_arrays(loopback, packed):
    """Whatever makes itself an array may be an action, in both media types."""
    loopback.answer = lambda _: reply(pack({}) if packed else b"{}")
    with Client(loopback.url, packed=packed) as client:
        client.step_env("a1", (Tensor(), {"x": Tensor()}))
    body = loopback.requests[0].body
    first, second = (unpack(body) if packed else json.loads(body))["action"]
    assert list(first) == list(second["x"]) == [0, 1, 2]


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


def test_a_path_in_the_address_goes_before_every_path(loopback):
    """A server behind a proxy is reached under the path of its address."""
    with Client(loopback.url + "/gym/") as client:
        client.get_health()
    assert loopback.requests[0].path == "/gym/v1/health/"


def play(request):
    """Answer as a server does whose episodes have two steps of reward 1."""
    if request.path == "/v1/envs/":
        return reply({"instance_id": "a1", "env_id": "CartPole-v0", "library": "gymnasium 1.0"})
    if request.path.endswith("/sample"):
        return reply({"action": 1})
    if request.path.endswith("/step/"):
        play.steps += 1
        done = play.steps % 2 == 0
        return reply({"observation": [0.5] * 99, "reward": 1.0, "done": done, "info": {}})
    if request.path.endswith("/monitor/"):
        return reply({"directory": "/srv/tmp/random-agent-results"})
    return reply({"observation": [0.0], "info": {"name": "Box"}})


@pytest.fixture
def played(loopback):
    play.steps = 0
    loopback.answer = play
    return loopback


def test_the_example_client_takes_one_step_and_closes(played, capsys):
    """The example client makes an environment, takes one step, prints it with long values cut, and closes."""
    assert example_client.main(["--url", played.url]) == 0
    paths = [request.path for request in played.requests]
    assert paths[0] == "/v1/envs/"
    assert paths.count("/v1/envs/a1/step/") == 1
    assert paths[-1] == "/v1/envs/a1/close/"
    printed = capsys.readouterr().out
    assert "instance:           a1, CartPole-v0 of gymnasium 1.0\n" in printed
    assert "… (495 characters)\n" in printed


def test_the_example_agent_plays_its_episodes_and_prints_the_mean_return(played, capsys):
    """The example agent plays the episodes asked for, recorded, and prints where that is, return and speed."""
    assert example_agent.main(["--url", played.url, "--episodes", "3", "--seed", "0", "--video-every", "20"]) == 0
    assert played.requests[0].json == {"env_id": "CartPole-v0", "seed": 0, "lease": 240.0}
    assert played.requests[1].path == "/v1/envs/a1/monitor/start/"
    recording = {"directory": "tmp/random-agent-results", "force": True, "resume": False, "video_callable": 20}
    assert played.requests[1].json == recording
    assert played.requests[-1].path == "/v1/envs/a1/close/"
    printed = capsys.readouterr()
    assert printed.out.startswith("recorded in /srv/tmp/random-agent-results\n")
    assert "3 episodes, 6 steps: mean return 2.00 ± 0.00, " in printed.out
    assert "mean return 2.00" in printed.err


def test_the_example_agent_closes_its_instance_when_interrupted(played, monkeypatch, capsys):
    """Ctrl-C ends the example agent with the instance closed and exit code 130."""
    step = Client.step_env

    def interrupted(self, *arguments):
        if play.steps == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(Client, "step_env", interrupted)
    assert example_agent.main(["--url", played.url]) == 130
    assert played.requests[-1].path == "/v1/envs/a1/close/"
    assert "1 episodes, 2 steps" in capsys.readouterr().out


@pytest.mark.parametrize("program", [example_agent, example_client])
def test_an_example_closes_its_instance_when_the_server_refuses(loopback, program, capsys):
    """A refused request ends an example with one line on stderr, exit code 1 and the instance closed."""
    play.steps = 0
    loopback.answer = lambda request: (
        reply({"detail": "it broke"}, "502 Bad Gateway") if "/step/" in request.path else play(request)
    )
    assert program.main(["--url", loopback.url]) == 1
    assert loopback.requests[-1].path == "/v1/envs/a1/close/"
    assert capsys.readouterr().err.endswith("error: 502 Bad Gateway: it broke\n")


@pytest.mark.parametrize("program", [example_agent, example_client])
def test_an_example_without_a_server_says_so_in_one_line(unreachable, program, capsys):
    """An example whose server is not running prints one line on stderr, no traceback, and exits with 1."""
    assert program.main(["--url", unreachable]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith(f"error: cannot connect to {unreachable}")


def test_an_example_sends_the_key_of_the_option_or_the_variable(monkeypatch, capsys):
    """--api-key and GYM_HTTP_SERVER_API_KEY open a server that requires a key, and without them the example says so."""
    with Server("--api-key", "k" * 32) as server:
        assert example_client.main(["--url", server.url]) == 1
        assert "requires a key" in capsys.readouterr().err
        assert example_client.main(["--url", server.url, "--api-key", "k" * 32]) == 0
        monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "k" * 32)
        assert example_client.main(["--url", server.url]) == 0
