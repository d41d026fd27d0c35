"""The end of the server, and of an instance, while a client's connection is in an environment's process."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil
import pytest

from ..conftest import start
from ..support.handing import HEALTH, TROUBLE, Client, begin, handed, look, owner_of, post, release, settle, step
from ..support.serving import SECONDS, eventually, living

HUGE = 20_000_000
"""Bytes of a reply that no connection's buffers take."""


def test_a_stop_ends_a_connection_that_idles_in_a_process() -> None:
    """The client sees the end of the stream, the server exits with 0, long before its time-outs."""
    with start("handover") as server, handed(server) as (client, _, pid):
        begun, process = time.monotonic(), psutil.Process(pid)
        server.kill(signal.SIGTERM)
        # Not how fast it is: a connection that is not given back would hold it up for 30 s.
        assert time.monotonic() - begun < 20
        assert server.process.returncode == 0
        assert client.is_at_end()
        assert not living([process])


def test_a_stop_waits_for_the_request_in_a_process() -> None:
    """It is answered, the stream ends after that, and what was sent behind it is not executed."""
    with start("handover") as server, handed(server) as (client, env, pid):
        begin(server, client, env, pid, step(env, "await"))
        server.process.send_signal(signal.SIGTERM)
        release(pid)
        assert client.answer().json["observation"] == 2
        assert client.is_at_end()
        assert server.process.wait(SECONDS) == 0


def test_a_stop_by_request_over_the_connection_itself() -> None:
    """`shutdownServer` on a connection that was in a process is answered, and the stream ends."""
    with start("handover") as server, handed(server) as (client, env, _):
        client.send(step(env, "x"), post("/v1/shutdown/", {}))
        assert [each.status for each in client.answers(2)] == [200, 200]
        assert client.is_at_end()
        assert server.process.wait(SECONDS) == 0


def test_a_stop_with_many_connections_in_processes() -> None:
    """Each is answered or ended, and nobody is left."""
    with start("handover") as server:
        clients = [Client(server) for _ in range(12)]
        envs = [server.create(TROUBLE) for _ in clients]
        pids = [settle(server, client, env) for client, env in zip(clients, envs, strict=True)]
        for client, env, pid in zip(clients[:4], envs, pids, strict=False):
            begin(server, client, env, pid, step(env, "await"))
        processes = [psutil.Process(pid) for pid in pids]
        server.process.send_signal(signal.SIGTERM)
        for pid in pids[:4]:
            release(pid)
        assert [client.answer().status for client in clients[:4]] == [200] * 4
        assert all(client.is_at_end() for client in clients)
        assert server.process.wait(SECONDS) == 0
        for client in clients:
            client.__exit__()
        assert not living(processes)


@pytest.mark.parametrize("reads", [True, False])
def test_a_stop_with_a_slow_reader(reads: bool) -> None:
    """The rest of the reply is written before the stream ends, unless it is not read for the time of a shutdown."""
    with (
        start("handover", "--shutdown-timeout", "30" if reads else "1") as server,
        handed(server) as (client, env, pid),
    ):
        client.send(step(env, f"big {HUGE}"))
        eventually(lambda: server.get(f"{env}/").json["steps"] == 2)
        assert owner_of(server, client) == pid
        server.process.send_signal(signal.SIGTERM)
        if reads:
            assert len(client.answer().json["info"]["big"]) == HUGE
            assert client.is_at_end()
        assert server.process.wait(SECONDS) == 0


def test_a_second_signal_does_not_wait_for_the_request_in_a_process() -> None:
    """A request that hangs in a process holds the first signal up, and not the second."""
    with start("handover") as server, handed(server) as (client, env, pid):
        begin(server, client, env, pid, step(env, "hang"))
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: is_refused(server))
        assert server.process.poll() is None
        begun, process = time.monotonic(), psutil.Process(pid)
        server.kill(signal.SIGINT)
        assert time.monotonic() - begun < 20
        assert not living([process], 2)


def is_refused(server) -> bool:
    try:
        Client(server).__exit__()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # the port was being closed
    return False


@pytest.mark.parametrize("is_busy", [True, False])
def test_the_sudden_end_of_the_server_ends_the_streams(is_busy: bool) -> None:
    """After SIGKILL no environment lives for 2 s, and the client is not left waiting."""
    with start("handover") as server, handed(server) as (client, env, pid):
        if is_busy:
            begin(server, client, env, pid, step(env, "hang"))
        processes = psutil.Process(server.process.pid).children(recursive=True)
        server.kill(signal.SIGKILL)
        assert not living(processes, 2)
        with contextlib.suppress(ConnectionResetError):
            assert client.is_at_end()


@pytest.mark.parametrize("how", ["close", "delete"])
def test_an_instance_is_closed_while_a_connection_idles_in_its_process(how: str) -> None:
    """The close is answered, the process ends, and the connection is served on, its next request being a 400."""
    with start("handover") as server, handed(server) as (client, env, pid):
        answer = server.post(f"{env}/close/") if how == "close" else server.request("DELETE", env)
        assert answer.status in (200, 204)
        answer = client.ask(step(env, "x"))
        assert answer.status == 400
        assert answer.json["type"].endswith("unknown-instance")
        assert client.ask(HEALTH).status == 200
        eventually(lambda: not psutil.pid_exists(pid))
        settle(server, client, server.create(TROUBLE))


def test_an_instance_is_closed_over_the_connection_in_its_process() -> None:
    """A pipeline of a step, the close and another step is a 200, a 200 and a 400."""
    with start("handover") as server, handed(server) as (client, env, pid):
        client.send(step(env, "x"), post(f"{env}/close/", {}), step(env, "x"), HEALTH)
        assert [each.status for each in client.answers(4)] == [200, 200, 400, 200]
        eventually(lambda: not psutil.pid_exists(pid))


def test_a_close_waits_for_the_request_in_a_process() -> None:
    """A step that came before the close is answered, though it takes longer than an environment may take to close."""
    with start("handover") as server, handed(server) as (client, env, pid), Client(server) as other:
        begin(server, client, env, pid, step(env, "sleep 6"))
        other.send(post(f"{env}/close/", {}))
        assert client.answer().status == 200
        assert other.answer().status == 200
        assert client.ask(step(env, "x")).status == 400


def test_a_close_behind_a_request_in_a_process_waits_no_longer_for_the_environment() -> None:
    """The request has the time of a call; a `close` that hangs after it has no more than any other."""
    with start("handover") as server, handed(server) as (client, env, pid), Client(server) as other:
        process = psutil.Process(pid)
        assert client.ask(step(env, "close_by hang")).status == 200
        begin(server, client, env, pid, step(env, "await"))
        other.send(post(f"{env}/close/", {}))
        eventually(lambda: look(server, env)["state"] == "closed")
        release(pid)
        assert client.answer().status == 200
        assert other.answer().status == 200
        assert not living([process])


def test_the_end_of_the_fork_server_gives_the_connections_back() -> None:
    """Each is served on; the instances are lost, and others can be made."""
    with start("handover") as server, handed(server) as (idle, first, _), handed(server) as (busy, second, pid):
        begin(server, busy, second, pid, step(second, "hang"))
        [fork_server] = psutil.Process(server.process.pid).children()
        fork_server.kill()
        assert busy.answer().status == 502
        assert idle.ask(step(first, "x")).status == 410
        for client in (idle, busy):
            settle(server, client, server.create(TROUBLE))
