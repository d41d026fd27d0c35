"""Which connections go to an environment's process, and that a client cannot tell where its connection is."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import threading
from collections.abc import Iterator

import psutil
import pytest

from gym_http_server.handover.receive_buffer import MAX_CONNECTIONS

from ..conftest import IMPORTS, KINDS, start
from ..support.handing import HEALTH, TROUBLE, Client, begin, get, handed, look, owner_of, post, release, settle, step
from ..support.serving import Server, eventually, threads

CONNECTIONS = 10_000
"""Connections that come and go while descriptors are counted."""


@pytest.fixture(scope="module")
def eager() -> Iterator[Server]:
    """A server that hands every connection over at once."""
    with start("handover") as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server as it is started by default."""
    with Server(*IMPORTS) as running:
        yield running


@pytest.fixture(scope="module")
def quick() -> Iterator[Server]:
    """A server that hands every connection over at once, keeps idle ones for a second and waits as long for a head."""
    with start("handover", "--keep-alive", "1", "--header-timeout", "1") as running:
        yield running


def test_a_connection_moves_with_the_second_request_in_a_row(plain: Server) -> None:
    """One request for an instance may be the only one; the next that follows it is served by the process."""
    env = plain.create(TROUBLE)
    with Client(plain) as client:
        assert client.ask(HEALTH).status == 200
        assert client.ask(post(f"{env}/reset/", {})).status == 200
        assert owner_of(plain, client) is None
        pid = client.ask(step(env, "pid")).json["info"]["pid"]
        assert owner_of(plain, client) == pid
        for count in range(2, 40):
            assert client.ask(step(env, "x")).json["observation"] == count
        assert owner_of(plain, client) == pid


def test_a_connection_that_comes_back_goes_again_more_reluctantly(plain: Server) -> None:
    """After each move that did not pay it takes twice as many requests in a row."""
    env = plain.create(TROUBLE)
    with Client(plain) as client:
        client.ask(post(f"{env}/reset/", {}))
        for patience in (1, 2, 4, 8):
            for _ in range(patience - 1):
                client.ask(step(env, "x"))
                assert owner_of(plain, client) is None
            client.ask(step(env, "x"))
            assert owner_of(plain, client) is not None
            assert client.ask(HEALTH).status == 200
            # The process lets go of it a moment after it has given it back.
            eventually(lambda: owner_of(plain, client) is None)


def test_a_connection_that_alternates_stays_with_the_server(plain: Server) -> None:
    """Who uses two instances in turns would have it moved for every request."""
    envs = [plain.create(TROUBLE) for _ in range(2)]
    with Client(plain) as client:
        for env in envs:
            client.ask(post(f"{env}/reset/", {}))
        for count, env in itertools.product(range(1, 30), envs):
            assert client.ask(step(env, "x")).json["observation"] == count
            assert owner_of(plain, client) is None


def test_two_connections_of_one_instance_are_both_served(plain: Server) -> None:
    """Both are served by the process, and each request of either is executed once."""
    env = plain.create(TROUBLE)
    with Client(plain) as first, Client(plain) as second:
        pid = settle_plainly(plain, first, env)
        for count in range(2, 30, 2):
            assert second.ask(step(env, "x")).json["observation"] == count
            assert first.ask(step(env, "x")).json["observation"] == count + 1
        assert owner_of(plain, first) == owner_of(plain, second) == pid


def test_as_many_connections_as_a_process_has_room_for_are_served_by_it(eager: Server) -> None:
    """The server serves those beyond, each request of all is executed once, and the room of one that ends is used again."""
    env = eager.create(TROUBLE)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(eager)) for _ in range(MAX_CONNECTIONS + 2)]
        pid = settle(eager, clients[0], env)
        seen = [client.ask(step(env, "x")).json["observation"] for _ in range(3) for client in clients]
        assert seen == list(range(2, len(seen) + 2))
        owners = [owner_of(eager, client) for client in clients]
        assert owners == [pid] * MAX_CONNECTIONS + [None] * 2
        clients[3].__exit__()
        eventually(lambda: owner_of(eager, clients[3]) is None)
        assert clients[-1].ask(step(env, "x")).status == 200
        assert owner_of(eager, clients[-1]) == pid


def test_the_servers_own_calls_leave_a_connection_where_it_is(eager: Server) -> None:
    """Others render, list, take snapshots and record while a client steps, and its connection stays in the process."""
    with handed(eager, render_mode="rgb_array") as (client, env, pid):
        for count in range(2, 20):
            assert client.ask(step(env, "x")).json["observation"] == count
            assert eager.get(f"{env}/render/").status == 200
            assert eager.get(f"{env}/").json["steps"] == count
            assert eager.get(f"{env}/snapshots/").status == 200
            assert owner_of(eager, client) == pid


def settle_plainly(server: Server, client: Client, env: str) -> int:
    client.ask(post(f"{env}/reset/", {}))
    pid: int = client.ask(step(env, "pid")).json["info"]["pid"]
    assert owner_of(server, client) == pid
    return pid


@pytest.mark.parametrize(
    "options",
    [("--no-handover",), ("--access-log",), ("--compression", "all"), ("--engine", "inline"),
     ("--handover", "--trusted-proxy", "127.0.0.1")],
)  # fmt: skip
def test_a_server_that_hands_nothing_over(options: tuple[str, ...]) -> None:
    """Not where it is switched off, each request logged or each reply compressed by the server, nor behind a proxy."""
    with start("handover", *options) as server:
        env = server.create(TROUBLE)
        with Client(server) as client:
            client.ask(post(f"{env}/reset/", {}))
            for count in range(1, 40):
                assert client.ask(step(env, "x")).json["observation"] == count
                assert owner_of(server, client) is None


def test_the_headers_of_a_reply_do_not_tell_who_sent_it(eager: Server) -> None:
    """A process's own reply has the server's headers in the server's order, whether it is a 200 or a problem."""
    with handed(eager) as (client, env, pid), Server(*KINDS["process"], *IMPORTS) as piped, Client(piped) as other:
        twin = piped.create(TROUBLE)
        other.ask(post(f"{twin}/reset/", {}))
        other.ask(step(twin, "x"))
        for request in ("step", "bad", "sample", "msgpack", "missing"):
            answers = []
            for each, path in ((client, env), (other, twin)):
                answers.append(each.ask({
                    "step": step(path, "x"),
                    "bad": step(path, 7),
                    "sample": get(f"{path}/action_space/sample"),
                    "msgpack": step(path, "x", b"Accept: application/msgpack\r\n"),
                    "missing": post(f"{path}/step/", {}),
                }[request]))  # fmt: skip
            mine, theirs = answers
            assert list(mine.headers) == list(theirs.headers)
            for name in ("server", "content-type"):
                assert mine.headers[name] == theirs.headers[name]
            assert "date" in mine.headers
            assert mine.status == theirs.status
            if request not in ("sample", "missing"):
                assert mine.body == theirs.body
                assert owner_of(eager, client) == pid


def test_what_is_not_of_the_hot_path_comes_back_and_goes_again(eager: Server) -> None:
    """Between steps a client renders, asks for the state and makes other environments, all on one connection."""
    env = eager.create(TROUBLE, render_mode="rgb_array")
    with Client(eager) as client:
        pid = settle(eager, client, env)
        for count in range(2, 20):
            assert client.ask(step(env, "x")).json["observation"] == count
            assert owner_of(eager, client) == pid
            picture = client.ask(get(f"{env}/render/"))
            assert picture.status == 200, picture.body
            assert client.ask(get(f"{env}/")).json["steps"] == count
            assert client.ask(get("/v1/envs/")).status == 200
            assert client.ask(post(f"{env}/step/", {})).status == 400
            assert client.ask(get("/v1/nowhere")).status == 404


def requests_for_the_server(server: Server, env: str) -> list[bytes]:
    """Return requests that the process of an instance does not serve."""
    other = server.create(TROUBLE)
    return [
        get(f"{env}/"),
        get("/v1/envs/"),
        HEALTH,
        post(f"{other}/reset/", {}),
        b"GET /v1/nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    ]


def test_a_request_for_the_server_does_not_wait_for_another_client(eager: Server) -> None:
    """While one client's step is in execution, others ask for the state, the list and other instances on kept connections."""
    with handed(eager) as (client, env, pid), contextlib.ExitStack() as stack:
        requests = requests_for_the_server(eager, env)
        others = [stack.enter_context(Client(eager)) for _ in requests]
        for count, other in enumerate(others):
            assert other.ask(step(env, "x")).json["observation"] == count + 2
            assert owner_of(eager, other) == pid
        for _ in range(2):
            begin(eager, client, env, pid, step(env, "await"))
            for other, request in zip(others, requests, strict=True):
                assert other.ask(request).status < 500
            release(pid)
            seen = client.answer().json["observation"]
            for count, other in enumerate(others):
                assert other.ask(step(env, "x")).json["observation"] == seen + count + 1
            assert owner_of(eager, others[0]) == pid


def test_a_request_for_the_server_does_not_wait_for_its_own_call(plain: Server) -> None:
    """While the server has the process execute a step, a client asks for the state on a connection that the process has."""
    env = plain.create(TROUBLE)
    with Client(plain) as client, Client(plain) as other:
        pid = settle_plainly(plain, client, env)
        other.send(step(env, "await"))
        eventually(lambda: look(plain, env)["state"] == "busy")
        assert owner_of(plain, client) == pid
        assert client.ask(get(f"{env}/")).json["state"] == "busy"
        release(pid)
        assert other.answer().json["observation"] == 2
        assert client.ask(step(env, "x")).json["observation"] == 3


def test_others_see_a_process_at_work(eager: Server) -> None:
    """The list and getEnv answer at once, with the state and the steps, while the environment is in a request."""
    with handed(eager) as (client, env, pid):
        assert [client.ask(step(env, "x")).status for _ in range(5)] == [200] * 5
        found = eager.get(f"{env}/").json
        assert (found["state"], found["steps"]) == ("ready", 6)
        begin(eager, client, env, pid, step(env, "await"))
        found = eager.get(f"{env}/").json
        assert (found["state"], found["steps"]) == ("busy", 6)
        assert env.rsplit("/", 1)[1] in eager.get("/v1/envs/").json["envs"]
        assert owner_of(eager, client) == pid
        release(pid)
        assert client.answer().json["observation"] == 7
        found = eager.get(f"{env}/").json
        assert (found["state"], found["steps"]) == ("ready", 7)


def test_an_environment_may_run_an_event_loop_of_its_own(eager: Server) -> None:
    """`asyncio.run` in a step works in the process as it does through the pipe, and the connection stays there."""
    with handed(eager) as (client, env, pid):
        client.send(step(env, "asyncio 0.01"), step(env, "asyncio 0"), step(env, "x"))
        assert [each.json["observation"] for each in client.answers(3)] == [2, 3, 4]
        assert owner_of(eager, client) == pid


def test_a_client_that_pipelines_does_not_keep_the_others_waiting(eager: Server) -> None:
    """Another client's request is executed before all that one has sent in advance."""
    with handed(eager) as (client, env, pid), Client(eager) as other:
        begin(eager, client, env, pid, *[step(env, "sleep 0.2")] * 20)
        assert other.ask(step(env, "x")).json["observation"] < 20
        assert [each.status for each in client.answers(20)] == [200] * 20


def test_clients_of_one_process_that_pipeline_are_served_in_turns(eager: Server) -> None:
    """None waits for all that another has sent in advance."""
    with handed(eager) as (client, env, pid), Client(eager) as other:
        assert other.ask(step(env, "x")).json["observation"] == 2
        assert owner_of(eager, other) == pid
        begin(eager, client, env, pid, step(env, "await"), *[step(env, "x")] * 10)
        other.send(*[step(env, "x")] * 10)
        release(pid)
        assert client.answer().json["observation"] == 3
        turns = [[each.json["observation"] for each in one.answers(10)] for one in (client, other)]
        assert sorted(itertools.chain(*turns)) == list(range(4, 24))
        assert all(abs(mine - theirs) <= 2 for mine, theirs in zip(*turns, strict=True))


def test_a_client_may_think_for_years() -> None:
    """Time limits that are longer than the system sleeps are no limits."""
    with start("handover", "--keep-alive", str(10**9)) as server, handed(server) as (client, env, pid):
        for count in range(2, 5):
            assert client.ask(step(env, "x")).json["observation"] == count
            # Asleep again, after its moment awake.
            eventually(lambda: psutil.Process(pid).status() == "sleeping")
        assert owner_of(server, client) == pid


def test_an_idle_connection_is_closed_by_the_process(quick: Server) -> None:
    """After `--keep-alive` the client sees the end of the stream, and neither side keeps a descriptor."""
    server = psutil.Process(quick.process.pid)
    with handed(quick) as (client, env, pid):
        assert owner_of(quick, client) == pid
        held = server.num_fds()
        assert client.is_at_end()
        eventually(lambda: owner_of(quick, client) is None and server.num_fds() < held)
        with Client(quick) as another:
            assert settle(quick, another, env) == pid


@pytest.mark.parametrize("sent", [1, 30, -1])
def test_a_connection_with_half_a_request_is_closed_by_the_process(quick: Server, sent: int) -> None:
    """Nobody holds a connection there with the beginning of a head: it is told so, and the connection ends."""
    with handed(quick) as (client, env, _):
        head = step(env, "x").partition(b"\r\n\r\n")[0]
        # On a busy machine the time may be over before the bytes are sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert client.ask(head[:sent]).status == 408
            assert client.is_at_end()


def test_a_request_may_take_longer_than_an_idle_connection(quick: Server) -> None:
    """`--keep-alive` begins anew with the reply, and a request that came in the meantime is served."""
    with handed(quick) as (client, env, pid):
        for count in range(2, 5):
            client.send(step(env, "sleep 1.3"))
            assert client.answer().json["observation"] == count
            assert client.ask(step(env, "pid")).json["info"]["pid"] == pid
            assert client.ask(post(f"{env}/reset/", {})).status == 200
            client.send(step(env, "x") * count)
            client.answers(count)
        assert owner_of(quick, client) == pid
        begin(quick, client, env, pid, step(env, "sleep 1.3"), step(env, "sleep 1.3"), step(env, "x"))
        assert [each.status for each in client.answers(3)] == [200] * 3
        assert client.is_at_end()


def test_connections_that_come_and_go_leak_no_descriptor(eager: Server) -> None:
    """Neither the server nor the fork server nor an environment's process holds more than before."""
    envs = [eager.create(TROUBLE) for _ in range(4)]
    here = threading.local()
    free = iter(envs)

    def use(count: int) -> int:
        if not hasattr(here, "env"):
            here.env = next(free)
        with Client(eager) as client:
            first = client.ask(post(f"{here.env}/reset/", {})).status
            ends = count % 2 == 0
            last = client.ask(step(here.env, "x", b"Connection: close\r\n" if ends else b""))
            assert first == last.status == 200
            assert not ends or client.is_at_end()
            if count % 500 == 1:
                assert owner_of(eager, client) is not None
        return client.port

    def held() -> list[int]:
        return [psutil.Process(each).num_fds() for each in sorted({eager.process.pid, *eager.pids()})]

    with concurrent.futures.ThreadPoolExecutor(len(envs)) as pool:
        list(pool.map(use, range(80)))
        before = held()
        assert len(list(pool.map(use, range(CONNECTIONS)))) == CONNECTIONS
        eventually(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))


def test_many_connections_of_many_instances_are_served_beside_each_other(eager: Server) -> None:
    """Each process has the connection of its own client, and the server counts them all."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(handed(eager)) for _ in range(12)]

        def use(client: Client, env: str) -> None:
            for count in range(2, 200):
                assert client.ask(step(env, "x")).json["observation"] == count

        with threads(*((lambda c=client, e=env: use(c, e)) for client, env, _ in made)):
            pass
        for client, env, pid in made:
            assert owner_of(eager, client) == pid
            assert eager.get(f"{env}/").json["steps"] == 199
