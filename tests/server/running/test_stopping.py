"""What becomes of requests that a graceful stop has no time for: each ends in an answer that says so, or with its connection."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_http_server.conformity.contract import check_reply
from tests.conftest import start
from tests.support.handing import TROUBLE, Client, begin, get, handed, look, post, step
from tests.support.recordings import record
from tests.support.serving import SECONDS, Answer, Server, eventually

pytestmark = pytest.mark.full

LIMIT = 1
HUGE = 64_000_000
"""Bytes of a file that no connection's buffers take."""


@contextlib.contextmanager
def stopping(kind: str, *arguments: str) -> Iterator[Server]:
    """Run a server that gives requests a second to finish; it is to end by itself, with status 0 and without a traceback."""
    with start(kind, "--shutdown-timeout", str(LIMIT), *arguments) as server:
        yield server
        assert server.process.wait(SECONDS) == 0
    assert not [line for line in server.stderr if "Traceback" in line or "Exception" in line], server.stderr


def is_cut_short(answer: Answer, method: str, path: str) -> bool:
    """Return whether an answer is the problem of a request that the stop has cut short, with all that it is to name."""
    check_reply(method, path, answer.status, answer.headers, answer.body)
    problem = answer.json
    assert problem["type"] == "urn:gym-http-server:problem:server-stopping"
    assert (problem["limit"], problem["setting"]) == (LIMIT, "shutdown_timeout")
    assert answer.headers["connection"] == "close"
    assert "--shutdown-timeout" in answer.message
    return answer.status == 503 and "stopping" in answer.message


@pytest.mark.parametrize("options", [(), ("--trusted-proxy", "10.0.0.1"), ("--compression", "all")])
def test_a_step_that_hangs_is_answered(options: tuple[str, ...]) -> None:
    """Through the pipe, a call that does not end is a 503, and what was sent behind it is not executed."""
    with stopping("process", *options) as server, Client(server) as client:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        client.send(step(env, "hang"), step(env, "x"))
        eventually(lambda: look(server, env)["state"] == "busy")
        server.process.terminate()
        assert is_cut_short(client.answer(), "POST", f"{env}/step/")
        assert client.is_at_end()


def test_creations_under_way_are_answered() -> None:
    """Those whose constructor runs, and those that wait for a place, are 503 each."""
    with stopping("process", "--max-creations", "2") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(6)]
        for client in clients:
            client.send(post("/v1/envs/", {"env_id": TROUBLE, "kwargs": {"construct": "hang"}}))
        # The two that run.
        eventually(lambda: len(server.pids()) >= 3)
        server.process.terminate()
        for client in clients:
            assert is_cut_short(client.answer(), "POST", "/v1/envs/")
            assert client.is_at_end()


@pytest.mark.parametrize("path", ["/v1/envs/", "/v1/envs/0a1b2c3d/step/", "/v1/upload/"])
def test_a_body_that_does_not_come_is_answered(path: str) -> None:
    """Who was sending its request learns why nothing comes of it."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n"
    with stopping("process") as server, Client(server) as client:
        client.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
        # The request is begun.
        assert client.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"{")
        server.process.terminate()
        assert is_cut_short(client.answer(), "POST", path)
        assert client.is_at_end()


def test_a_form_that_does_not_come_is_answered() -> None:
    """A page's request is answered as one of the API."""
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n"
    with stopping("process") as server, Client(server) as client:
        client.send(head)
        assert client.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        server.process.terminate()
        answer = client.answer()
        assert (answer.status, answer.json["setting"]) == (503, "shutdown_timeout")
        assert client.is_at_end()


def test_a_reply_that_has_begun_ends_with_its_connection(tmp_path: Path) -> None:
    """Where a client does not read a file, nothing is written into the middle of it."""
    record(tmp_path / "run", [1.0, 2.0], videos=[0])
    roots = ("--results-root", str(tmp_path), "--upload-to", str(tmp_path / "kept"))
    with stopping("process", *roots) as server, Client(server) as client:
        answer = server.post("/v1/upload/", {"training_dir": str(tmp_path / "run"), "api_key": "key"})
        [name] = answer.json["videos"]
        [path] = (tmp_path / "kept").rglob(name)
        with path.open("r+b") as file:
            file.truncate(HUGE)
        client.send(get(f"/scoreboard/{answer.json['evaluation_id']}/videos/{name}"))
        assert client.socket.recv(1, socket.MSG_PEEK) == b"H"
        server.process.terminate()
        assert server.process.wait(SECONDS) == 0
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.socket.recv(1 << 20):
                received += part
        assert b"server-stopping" not in received
        assert len(received) < HUGE


def test_a_request_in_an_environments_process_ends_with_that() -> None:
    """On a connection that was handed over, the end of the environment is the answer, as ever."""
    with stopping("handover") as server, handed(server) as (client, env, pid):
        begin(server, client, env, pid, step(env, "hang"))
        server.process.terminate()
        answer = client.answer()
        check_reply("POST", f"{env}/step/", answer.status, answer.headers, answer.body)
        assert answer.status == 502
        assert answer.json["type"].endswith(":environment-died")


def test_what_is_cut_short_is_in_the_access_log() -> None:
    """Its record has the status that the client got."""
    with stopping("process", "--access-log", "--log-format", "json") as server, Client(server) as client:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        client.send(step(env, "hang"))
        eventually(lambda: look(server, env)["state"] == "busy")
        server.process.terminate()
        assert is_cut_short(client.answer(), "POST", f"{env}/step/")
    logged = [json.loads(line) for line in server.stderr if "gym_http_server.access" in line]
    assert [each["status"] for each in logged if each["path"] == f"{env}/step/"] == [503]


def test_a_second_signal_leaves_no_traceback() -> None:
    """It waits for nothing, and the request under way is answered or its connection ends."""
    with start("process") as server, Client(server) as client:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        client.send(step(env, "hang"))
        eventually(lambda: look(server, env)["state"] == "busy")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: is_refused(server))
        began = time.monotonic()
        server.kill(signal.SIGINT)
        assert time.monotonic() - began < 20
        assert server.process.returncode == 0
    assert not [line for line in server.stderr if "Traceback" in line], server.stderr


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(server.address, SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False
