"""The table of attacks: what somebody sends who wants more than the server is for, and what it answers."""

from __future__ import annotations

import contextlib
import gzip
import json
import pickle
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.conftest import start
from tests.support.bystander import assert_nobody_waits
from tests.support.costly import COSTLY
from tests.support.handing import TROUBLE
from tests.support.serving import Answer, Server, eventually, parse_response, raw

KEY = "correct-horse-battery-staple"
JSON = "Content-Type: application/json"
OUTSIDE = "/etc/gym-http-server-attack"


class Attack(NamedTuple):
    """A request, and the answer that it is to get.

    Attributes:
        status: of the answer.
        words: in its message.
        method, path: of the request; `{env}` is an instance.
        lines: of its head, besides Host and Content-Length.
        body: a value to send as JSON, or bytes.
        host: the Host.
    """

    status: int
    words: str
    method: str
    path: str
    lines: tuple[str, ...] = (JSON,)
    body: Any = b""
    host: str = "localhost"


def create(status: int, words: str, **body: Any) -> Attack:
    return Attack(status, words, "POST", "/v1/envs/", body={"env_id": "CartPole-v1", **body})


def monitor(status: int, words: str, directory: str) -> Attack:
    return Attack(status, words, "POST", "/v1/envs/{env}/monitor/start/", body={"directory": directory, "force": True})


def step(status: int, words: str, body: Any, *lines: str) -> Attack:
    return Attack(status, words, "POST", "/v1/envs/{env}/step/", lines or (JSON,), body)


DEEP = b'{"action":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
PACKED = "Content-Type: application/msgpack"

ATTACKS = {
    # a web page that the user visits
    "origin": Attack(403, "--cors-origin", "POST", "/v1/shutdown/", ("Origin: http://evil.example",)),
    "origin null": Attack(403, "--cors-origin", "POST", "/v1/shutdown/", ("Origin: null",)),
    "origin of another port": Attack(403, "--cors-origin", "POST", "/v1/shutdown/", ("Origin: http://localhost:1",)),
    "cross-site": Attack(403, "--cors-origin", "POST", "/v1/shutdown/", ("Sec-Fetch-Site: cross-site",)),
    "cross-site, form as JSON": Attack(
        403, "--cors-origin", "POST", "/v1/envs/", ("Origin: http://evil.example", "Content-Type: text/plain"),
        {"env_id": "CartPole-v1"},
    ),
    "preflight": Attack(
        403, "--cors-origin", "OPTIONS", "/v1/envs/",
        ("Origin: http://evil.example", "Access-Control-Request-Method: POST"),
    ),
    # DNS rebinding
    "host": Attack(400, "--allowed-host", "GET", "/v1/envs/", host="evil.example"),
    "host and its own origin": Attack(
        400, "--allowed-host", "POST", "/v1/shutdown/", ("Origin: http://evil.example",), host="evil.example"
    ),
    # code
    "import by env id": create(400, "--import os", env_id="os:CartPole-v1"),
    "import by a file": create(400, "malformed", env_id="/srv/evil.py:CartPole-v1"),
    "import by a path of modules": create(400, "malformed", env_id="../evil:CartPole-v1"),
    "import by gym's gateway": create(
        400, "names the module", env_id="GymV26Environment-v0", kwargs={"env_id": "os:CartPole-v1"}
    ),
    "entry point": create(400, "", kwargs={"entry_point": "os:system"}),
    "code in kwargs": create(400, "", kwargs={"cls": "os:system"}),
    "code deep in kwargs": create(400, "", kwargs={"a": [{"b": "subprocess:Popen"}]}),
    "wrappers": create(400, "wrappers", kwargs={"wrappers": ["os.system"]}),
    "vector_kwargs": create(400, "vector_kwargs", num_envs=2, kwargs={"vector_kwargs": {"worker": "os:system"}}),
    "pickle": step(415, "application/json", pickle.dumps({"action": 1}), "Content-Type: application/octet-stream"),
    "pickle as msgpack": step(400, "MessagePack", pickle.dumps({"action": 1}), PACKED),
    "object array": step(
        400, "", b"\x81\xa6action\x83\xa5dtype\xa3|O8\xa5shape\x91\x01\xa4data\xc4\x08" + b"\0" * 8, PACKED
    ),
    # paths
    "monitor outside": monitor(403, "--results-root", OUTSIDE),
    "monitor by ..": monitor(403, "--results-root", "../../../../../../../.." + OUTSIDE),
    "monitor with a NUL": monitor(400, "", "a\0b"),
    "upload outside": Attack(
        403, "--results-root", "POST", "/v1/upload/", body={"training_dir": "/etc", "api_key": "x"}
    ),
    "xml_file outside": create(403, "--results-root", env_id="Ant-v5", kwargs={"xml_file": "/etc/passwd"}),
    "xml_file by ..": create(403, "--results-root", env_id="Ant-v5", kwargs={"xml_file": "../" * 20 + "etc/passwd"}),
    "xml_file at home": create(403, "--results-root", env_id="Ant-v5", kwargs={"xml_file": "~root/.ssh/id_rsa"}),
    "xml_file by URL": create(403, "--results-root", env_id="Ant-v5", kwargs={"xml_file": "file:///etc/passwd"}),
    "static by ..": Attack(404, "", "GET", "/static/../app.py"),
    "static by escaped ..": Attack(404, "", "GET", "/static/%2e%2e%2f%2e%2e%2fconfig.py"),
    "login's file by ..": Attack(404, "", "GET", "/login/..%2fapp.py"),
    "evaluation by ..": Attack(404, "", "GET", "/v1/evaluations/..%2f..%2fetc/"),
    "video by ..": Attack(404, "", "GET", "/scoreboard/20261123T093112-5f2b9c1e/files/..%2f..%2fevaluation.json"),
    # too much
    "declared too large": step(413, "--max-body", b"x", JSON, "Content-Length: 999999999999"),
    "deep": step(400, "deeper", DEEP),
    "deep msgpack": step(400, "", b"\x81\xa6action" + b"\x91" * 100_000 + b"\x00", PACKED),
    "long integer": step(400, "", b'{"action":' + b"9" * 1_000_000 + b"}"),
    "msgpack that promises more": step(400, "MessagePack", b"\x81\xa6action\xdd\xff\xff\xff\xff", PACKED),
    "array that promises more": step(
        400, "", b"\x81\xa6action\x83\xa5dtype\xa3<f8\xa5shape\x92\xce\xff\xff\xff\xff\xce\xff\xff\xff\xff\xa4data\xc4\x00", PACKED
    ),
    "compressed bomb": step(415, "Content-Encoding", gzip.compress(b"0" * 10_000_000), JSON, "Content-Encoding: gzip"),
    "too many lanes": create(413, "--max-lanes", num_envs=1_000_000),
    "too many processes": create(413, "--max-async-lanes", num_envs=100, vectorization_mode="async"),
    "a rollout without end": Attack(
        413, "--max-reply", "POST", "/v1/envs/{env}/rollout/", body={"policy": "random", "steps": 100_000_000}
    ),
}  # fmt: skip


def misbehave(*actions: str, env_id: str = TROUBLE, is_last_lost: bool = False) -> Callable[[Server], None]:
    """Return an attack by an environment that takes actions and is closed; the last may be what it is lost over."""

    def attack(server: Server) -> None:
        # What is to end has little time, and what goes on a busy machine's.
        env = server.create(env_id, call_timeout=2 if is_last_lost else 30)
        server.post(f"{env}/reset/")
        for action in actions:
            answer = server.post(f"{env}/step/", {"action": action})
            assert answer.status == 200 or (is_last_lost and action == actions[-1] and answer.status in (410, 502, 504))
        assert server.post(f"{env}/close/").status == 200

    return attack


STALLS: dict[str, Callable[[Server], None]] = {
    # an environment that prints
    "200,000 lines in a step": misbehave("print 200000"),
    "lines for ever": misbehave("print_for_ever lines", "sleep 1"),
    "a line without end": misbehave("print_for_ever one_line", "sleep 1"),
    "bytes that are no text": misbehave("print_for_ever binary", "sleep 1"),
    # an environment that stands still
    "a process that stops itself": misbehave("stop_later", "sleep 0.3", is_last_lost=True),
    "a process that holds its interpreter": misbehave("keep_interpreter", "sleep 0.3", is_last_lost=True),
    "half a frame": misbehave("half", "sleep 0.3", env_id="tests/Forger-v0", is_last_lost=True),
    # an environment that reaches for the server
    "the shared memory made empty": misbehave("truncate_memory"),
    "numbers that are none in the shared memory": misbehave("scribble ff", is_last_lost=True),
    "frames for ever": misbehave(f"flood 08{'00' * 8}", env_id="tests/Forger-v0", is_last_lost=True),
    "a frame without end": misbehave(f"flood 02{'ff' * 8}", env_id="tests/Forger-v0", is_last_lost=True),
}
"""What somebody does who would like the others to wait."""


@pytest.fixture(scope="module", params=["handover", "process", "inline"])
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server of each kind, with short time-outs, and an instance."""
    root = str(tmp_path_factory.mktemp("results"))
    options = ("--header-timeout", "0.5", "--body-timeout", "0.5", "--results-root", root)
    with start(request.param, *options) as running:
        env = running.create("CartPole-v1")
        running.post(f"{env}/reset/")
        yield running, env.rsplit("/", 1)[1]


def send(server: Server, attack: Attack, env: str) -> Answer:
    body = attack.body if isinstance(attack.body, bytes) else json.dumps(attack.body).encode()
    sized = any(line.startswith("Content-Length") for line in attack.lines)
    head = [f"{attack.method} {attack.path} HTTP/1.1", f"Host: {attack.host}", *attack.lines, "Connection: close"]
    if not sized:
        head.append(f"Content-Length: {len(body)}")
    return parse_response(raw(server.address, "\r\n".join((*head, "", "")).replace("{env}", env).encode() + body))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(attacked: tuple[Server, str], name: str) -> None:
    """It gets its status and a message that says why, and the server and its instance go on."""
    server, env = attacked
    attack = ATTACKS[name]
    begun = time.monotonic()
    answer = send(server, attack, env)
    assert time.monotonic() - begun < 20
    assert answer.status == attack.status, answer.body[:500]
    assert attack.words in answer.message
    assert server.get("/v1/envs/").json["envs"] == {env: "CartPole-v1"}
    assert server.post(f"/v1/envs/{env}/reset/").status == 200
    assert not Path(OUTSIDE).exists()


def test_keys_are_not_guessed() -> None:
    """Near misses are a 401, each on a connection of its own and some on one, and what follows them there waits for each."""
    guesses = [KEY[:count] for count in range(len(KEY))] + [KEY + each for each in " x\0"] + [KEY.swapcase(), KEY[::-1]]
    head = "GET /v1/envs/ HTTP/1.1\r\nHost: localhost\r\n"
    with Server("--api-key", KEY) as server, ThreadPoolExecutor(len(guesses)) as pool:

        def send(guess: str) -> int:
            data = f"{head}Connection: close\r\nAuthorization: Bearer {guess}\r\n\r\n".encode()
            return parse_response(raw(server.address, data)).status

        for guess, status in zip(guesses, pool.map(send, guesses), strict=True):
            # A NUL or blank at the end is no part of the value: the one is no HTTP, the other is the key itself.
            assert status == (400 if "\0" in guess else 200 if guess.strip() == KEY else 401), guess
        pipeline = "".join(f"{head}Authorization: Bearer {guess}\r\n\r\n" for guess in (KEY[:-1], KEY.swapcase()))
        began = time.monotonic()
        replies = raw(server.address, (pipeline + f"{head}Connection: close\r\n\r\n").encode())
        assert time.monotonic() - began > 1
        assert replies.count(b"HTTP/1.1 401 ") == 3
        assert b"HTTP/1.1 200 " not in replies


def test_a_body_over_the_limit_in_chunks_is_refused(attacked: tuple[Server, str]) -> None:
    """A length that is not declared is counted as it comes."""
    server, env = attacked
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    head = f"POST /v1/envs/{env}/step/ HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = parse_response(raw(server.address, head.encode() + chunk * 20 + b"0\r\n\r\n"))
    assert answer.status == 413
    assert "--max-body" in answer.message


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_client_that_sends_a_byte_a_time_is_sent_away(attacked: tuple[Server, str], part: str) -> None:
    """Twenty of them get their 408 in about the time that a request may take, while another steps on undisturbed."""
    server, env = attacked
    head = f"POST /v1/envs/{env}/step/ HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 1000\r\n\r\n".encode()
    slow = [socket.create_connection(server.address, 20) for _ in range(20)]
    try:
        for each in slow:
            each.sendall(head if part == "body" else head[:10])
            each.setblocking(False)
        received = [b""] * len(slow)
        ended: set[int] = set()

        def is_over() -> bool:
            assert server.post(f"/v1/envs/{env}/reset/").status == 200
            for index, each in enumerate(slow):
                if index in ended:
                    continue
                try:
                    # What is there first: a byte that is sent to a closed connection loses it.
                    while data := each.recv(65536):
                        received[index] += data
                    ended.add(index)
                except BlockingIOError:
                    with contextlib.suppress(OSError):
                        each.send(b" ")
                except OSError:
                    ended.add(index)
            return len(ended) == len(slow)

        eventually(is_over)
        for data in received:
            answer = parse_response(data)
            assert answer.status == 408
            assert ("--header-timeout" if part == "head" else "--body-timeout") in answer.message
    finally:
        for each in slow:
            each.close()


@pytest.mark.parametrize("line", [b"X-Filler: " + b"a" * 8000 + b"\r\n", b"a", b"a: b\r\n"])
def test_a_head_without_end_is_cut_off(attacked: tuple[Server, str], line: bytes) -> None:
    """Of long headers, of many, and of one that never ends, little is taken before the answer is a 431."""
    server, _ = attacked
    taken = 0
    with socket.create_connection(server.address, 20) as connection:
        connection.sendall(b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n")
        part = line * (1 + 8000 // len(line))
        with contextlib.suppress(ConnectionError):
            while taken < 100 << 20:
                connection.sendall(part)
                taken += len(part)
        with contextlib.suppress(ConnectionError):
            data = connection.recv(65536)
            assert data == b"" or parse_response(data).status == 431
    assert taken < 100 << 20


def test_a_reset_in_the_middle_leaves_nothing(attacked: tuple[Server, str]) -> None:
    """Clients that break their connections off without a goodbye leave no connection behind."""
    server, env = attacked
    for _ in range(50):
        with socket.create_connection(server.address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"POST /v1/envs/{env}/step/ HTTP/1.1\r\nHost: localhost\r\nContent-Le".encode())
    assert server.post(f"/v1/envs/{env}/reset/").status == 200


@pytest.fixture(scope="module")
def stalled() -> Iterator[Server]:
    """A server that all requests pass through."""
    with start("process") as running:
        yield running


@pytest.mark.parametrize("name", STALLS)
def test_nobody_else_waits(stalled: Server, name: str) -> None:
    """Meanwhile each step of a bystander and each look at the health waits for 100 ms of the server's work at most."""
    assert_nobody_waits(stalled, STALLS[name])


@pytest.fixture(scope="module", params=["handover", "process"])
def shared(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    """A server that others use as well, and an instance."""
    with start(request.param) as running:
        running.get("/v1/registry/")  # the first request for it takes its time
        env = running.create()
        running.post(f"{env}/reset/")
        yield running, env.rsplit("/", 1)[1]


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_request_is_answered_and_nobody_else_waits(shared: tuple[Server, str], name: str) -> None:
    """It gets its status in few words, while a bystander waits 100 ms at most and the server takes little memory."""
    server, env = shared
    costly = COSTLY[name]
    attack = Attack(costly.status, costly.words, costly.method, costly.path, costly.lines, costly.body())

    def send_it(attacked: Server) -> None:
        answer = send(attacked, attack, env)
        assert answer.status == attack.status, answer.body[:500]
        if attack.status != 200:
            assert attack.words in answer.message
            assert len(answer.body) < 10_000

    assert_nobody_waits(server, send_it)
    assert psutil.Process(server.process.pid).memory_info().rss < 400 << 20
