"""What a client hears on a connection whose owner, an environment's process, dies, hangs or breaks."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from collections.abc import Iterator

import psutil
import pytest

from ..conftest import start
from ..support.handing import HEALTH, TROUBLE, Client, begin, get, handed, is_read, owner_of, post, settle, step
from ..support.serving import Server, eventually

DEATHS = 1000
"""Owners that die while descriptors are counted."""


@pytest.fixture(scope="module")
def eager() -> Iterator[Server]:
    """A server that hands every connection over at once."""
    with start("handover") as running:
        yield running


def is_served_on(server: Server, client: Client) -> bool:
    """Return whether a connection serves the server's own operations and another instance."""
    assert client.ask(HEALTH).status == 200
    other = server.create(TROUBLE)
    settle(server, client, other)
    return server.post(f"{other}/close/").status == 200


def test_the_owner_is_killed_in_the_middle_of_a_request(eager: Server) -> None:
    """The request is a 502 that names the signal, on that very connection, which is served on."""
    with handed(eager) as (client, env, pid):
        begin(eager, client, env, pid, step(env, "hang"))
        os.kill(pid, signal.SIGKILL)
        answer = client.answer()
        assert answer.status == 502
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["signal"] == "SIGKILL"
        assert "lost during step" in answer.message
        assert client.ask(step(env, "x")).status == 410
        assert is_served_on(eager, client)


@pytest.mark.parametrize(
    ("action", "how", "fact"),
    [
        ("exit 7", "exit code 7", {"exit_code": 7}),
        ("exit 0", "exit code 0", {"exit_code": 0}),
        ("abort", "SIGABRT", {"signal": "SIGABRT"}),
        ("segfault", "SIGSEGV", {"signal": "SIGSEGV"}),
    ],
)
def test_the_owner_dies_by_itself(eager: Server, action: str, how: str, fact: dict[str, object]) -> None:
    """The 502 has the facts and the last words that it has through the pipe, but for the number of the instance."""
    with handed(eager) as (client, env, _), start("process") as piped:
        answer = client.ask(step(env, action))
        other = piped.create(TROUBLE)
        piped.post(f"{other}/reset/")
        expected = piped.post(f"{other}/step/", {"action": action})
    assert answer.status == 502
    assert fact.items() <= answer.json.items()
    assert how in answer.message
    assert answer.json.keys() == expected.json.keys()
    if "exit" in action:
        assert answer.json == expected.json
        assert "last words of the environment" in answer.json["stderr"]


@pytest.mark.parametrize("action", ["hang", "hang_uninterruptibly"])
def test_the_owner_is_killed_for_its_time_out(eager: Server, action: str) -> None:
    """The request is the 504 of every time-out, later ones are 410, and the connection is served on."""
    with handed(eager, call_timeout=0.5) as (client, env, pid):
        begin(eager, client, env, pid, step(env, action))
        answer = client.answer()
        assert answer.status == 504
        assert answer.message.startswith("step took longer than 0.5 s")
        assert [client.ask(step(env, "x")).status for _ in range(2)] == [410, 410]
        assert is_served_on(eager, client)
        assert not psutil.pid_exists(pid)


def test_a_connection_that_idles_is_no_call_that_takes_too_long(eager: Server) -> None:
    """However long a client thinks, and however much its requests take together, each has the whole time-out."""
    with handed(eager, call_timeout=0.5) as (client, env, pid):
        for _ in range(4):
            assert client.ask(step(env, "sleep 0.25")).status == 200
        assert owner_of(eager, client) == pid
        with handed(eager) as (other, another, _):
            other.ask(step(another, "sleep 1.2"))
        assert owner_of(eager, client) == pid
        client.send(*[step(env, "sleep 0.2")] * 6)
        assert [each.status for each in client.answers(6)] == [200] * 6
        assert owner_of(eager, client) == pid


def test_the_owner_dies_between_two_requests(eager: Server) -> None:
    """The next request is a 410 on the same connection, whether it comes before or after the death is known."""
    for waits in (True, False):
        with handed(eager) as (client, env, pid):
            os.kill(pid, signal.SIGKILL)
            if waits:
                eventually(lambda env=env: eager.get(f"{env}/").json["state"] == "lost")
            answer = client.ask(step(env, "x"))
            assert answer.status == 410
            assert "SIGKILL" in answer.message
            assert is_served_on(eager, client)


def test_the_owner_is_killed_as_soon_as_it_has_replied(eager: Server) -> None:
    """A client that has the whole reply keeps its connection, however little later the process ends."""
    for _ in range(50):
        with Client(eager) as client:
            env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE})).json['instance_id']}"
            client.ask(post(f"{env}/reset/", {}))
            os.kill(client.ask(step(env, "pid")).json["info"]["pid"], signal.SIGKILL)
            assert client.ask(step(env, "x")).status == 410
            assert client.ask(post(f"{env}/close/", {})).status == 200


def test_the_owner_dies_with_half_a_request(eager: Server) -> None:
    """What it had read of the request is not lost: the rest may come later, and it is a 410."""
    with handed(eager) as (client, env, pid):
        request = step(env, "x")
        client.send(request[:-5])
        eventually(lambda: is_read(eager, client) and psutil.Process(pid).status() == "sleeping")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: eager.get(f"{env}/").json["state"] == "lost")
        assert client.ask(request[-5:]).status == 410
        assert is_served_on(eager, client)


@pytest.mark.parametrize("piece", [0, 7])
def test_the_owner_dies_in_a_pipeline(eager: Server, piece: int) -> None:
    """Answered is what was answered, the request in the environment is a 502 and those after it 410, in that order."""
    with handed(eager) as (client, env, pid):
        requests = [step(env, "x"), step(env, "x"), step(env, "exit 7"), *[step(env, "x")] * 3, HEALTH, get(f"{env}/")]
        data = b"".join(requests)
        assert owner_of(eager, client) == pid
        for start_ in range(0, len(data), piece or len(data)):
            client.send(data[start_ : start_ + (piece or len(data))])
        answers = client.answers(len(requests))
        assert [each.status for each in answers] == [200, 200, 502, 410, 410, 410, 200, 200]
        assert [each.json["observation"] for each in answers[:2]] == [2, 3]
        assert answers[2].json["exit_code"] == 7
        assert answers[-1].json["steps"] == 3
        assert is_served_on(eager, client)


def test_the_owner_dies_in_a_pipeline_that_ends_with_a_close(eager: Server) -> None:
    """The 410 of a request with `Connection: close` is the last of the stream."""
    with handed(eager) as (client, env, _):
        client.send(step(env, "x"), step(env, "exit 7"), step(env, "x", b"Connection: close\r\n"))
        assert [each.status for each in client.answers(3)] == [200, 502, 410]
        assert client.is_at_end()


@pytest.mark.parametrize("further", [b"Connection: close\r\n", b"\r\n"])
def test_the_owner_dies_over_the_last_request_of_a_client(eager: Server, further: bytes) -> None:
    """A client that sends no more, or announces to close, gets the 502 and then the end of the stream."""
    with handed(eager) as (client, env, _):
        if further.strip():
            client.send(step(env, "exit 7", further))
        else:
            client.send(step(env, "exit 7"))
            client.socket.shutdown(1)
        assert client.answer().status == 502
        assert client.is_at_end()


def test_a_stuck_owner_is_killed(eager: Server) -> None:
    """A process that reads nothing for the call's time-out is killed, and the request that lay there is a 504."""
    with handed(eager, call_timeout=1) as (client, env, pid):
        os.kill(pid, signal.SIGSTOP)
        answer = client.ask(step(env, "x"))
        assert answer.status == 504
        assert answer.message.startswith("its process left a request unread for 1 s")
        assert client.ask(step(env, "x")).status == 410
        assert is_served_on(eager, client)


def test_who_waits_behind_a_request_that_hangs_learns_of_the_loss(eager: Server) -> None:
    """The owner's client gets the 504, and another one, whose call never began, hears that the instance is lost."""
    with handed(eager, call_timeout=1.5) as (client, env, pid), Client(eager) as other:
        begin(eager, client, env, pid, step(env, "hang"))
        other.send(step(env, "x"))
        assert client.answer().status == 504
        assert other.answer().status == 410
        assert other.ask(step(env, "x")).status == 410
        assert is_served_on(eager, other)
        assert is_served_on(eager, client)


def test_an_environment_that_raises_keeps_the_connection(eager: Server) -> None:
    """The 502 comes from the process itself, which goes on to serve the connection."""
    with handed(eager) as (client, env, pid):
        client.send(step(env, "raise on purpose"), step(env, "sys_exit"), step(env, "x"))
        first, second, third = client.answers(3)
        assert (first.status, second.status, third.status) == (502, 502, 200)
        assert "on purpose" in first.message
        assert owner_of(eager, client) == pid


@pytest.mark.parametrize("action", ["exit 7", "hang"])
def test_a_batch_that_breaks_tells_its_last_words(eager: Server, action: str) -> None:
    """Once a lane's own process has failed, each request is a 410 with the reason that the first one told."""
    path = eager.create(TROUBLE, num_envs=2, vectorization_mode="async", call_timeout=1.5)
    with Client(eager) as client:
        assert client.ask(post(f"{path}/batch/reset/", {})).status == 200
        pid = eventually(lambda: owner_of(eager, client))
        bad, good = ({"actions": ["", each]} for each in (action, ""))
        client.send(*(post(f"{path}/batch/step/", each) for each in (good, bad, good, good)))
        answers = client.answers(4)
        assert [each.status for each in answers] == [200, 504 if action == "hang" else 502, 410, 410]
        assert answers[1].message in answers[2].message
        assert is_served_on(eager, client)
        eventually(lambda: not psutil.pid_exists(pid))


def test_the_deaths_of_owners_leak_no_descriptor(eager: Server) -> None:
    """The server and the fork server hold as many as before, after many owners have died with a connection."""
    [fork_server] = psutil.Process(eager.process.pid).children()
    threads = 8
    everyone = threading.Barrier(threads)

    def die(number: int) -> int:
        if number < threads:
            everyone.wait()  # each thread keeps a connection, which belongs to what is held before
        env = eager.create(TROUBLE)
        with Client(eager) as client:
            client.ask(post(f"{env}/reset/", {}))
            status = client.ask(step(env, "exit 0")).status
        eager.request("DELETE", env)
        return status

    def held() -> tuple[int, int]:
        return psutil.Process(eager.process.pid).num_fds(), fork_server.num_fds()

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        assert set(pool.map(die, range(threads))) == {502}
        before = held()
        assert set(pool.map(die, range(threads, DEATHS))) == {502}
        eventually(lambda: held() <= before)
