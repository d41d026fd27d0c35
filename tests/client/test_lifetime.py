"""What becomes of the client's instances: copies and pickles, garbage collection, the end of the process, forks, leases."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem, keeper

from ..conftest import start
from ..support.loopback import Loopback, reply
from ..support.serving import Server, eventually

REMOTE = "gym_http_server.client:gym_http_server/Remote-v0"
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def server():
    with start("process") as running:
        yield running


def live(server):
    return set(server.get("/v1/envs/").json["envs"])


MAKERS = {
    "single": lambda url: RemoteEnv(url, "CartPole-v1", seed=3, name="one", frames=True),
    "batch": lambda url: RemoteVectorEnv(url, "CartPole-v1", 2, seed=3, vectorization_mode="sync"),
    "by-id": lambda url: gymnasium.make(REMOTE, url=url, env_id="CartPole-v1", seed=3),
}
COPIES = {"pickle": lambda env: pickle.loads(pickle.dumps(env)), "deepcopy": copy.deepcopy, "copy": copy.copy}  # noqa: S301 -- pickled here


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_copy_is_another_instance_of_the_same_creation(server, make, again):
    """It begins as the first one did, and what happens to one does not happen to the other."""
    if (make, again) == (MAKERS["by-id"], copy.copy):
        pytest.skip("a copy of Gymnasium's wrappers is about the same environment")
    env = make(server.url)
    first, _ = env.reset()
    other = again(env)
    assert other.unwrapped.instance_id != env.unwrapped.instance_id
    one, two = (server.get(f"/v1/envs/{each.unwrapped.instance_id}/").json for each in (env, other))
    for member in ("env_id", "name", "num_envs", "vectorization_mode", "render_mode", "lease"):
        assert one[member] == two[member]
    np.testing.assert_array_equal(other.reset()[0], first)
    env.close()
    other.step(other.action_space.sample())
    other.close()


class Subclass(RemoteEnv):
    def __init__(self, url, length):
        super().__init__(url, "CartPole-v1", max_episode_steps=length)


def test_a_subclass_is_made_again_by_its_own_arguments(server):
    """Whatever they are."""
    with Subclass(server.url, 3) as env, pickle.loads(pickle.dumps(env)) as other:  # noqa: S301 -- pickled here
        other.reset()
        assert [other.step(0)[3] for _ in range(3)] == [False, False, True]


def test_a_client_that_is_pickled_is_one_of_the_same_server(server):
    """With its arguments."""
    with Client(server.url, timeout=7, packed=True) as client:
        for other in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client)):  # noqa: S301 -- pickled here
            with other:
                assert repr(other) == repr(client)
                assert other.get_health()["status"] == "ok"


@pytest.mark.parametrize("make", [lambda url, key: Client(url, key), lambda url, key: Client(url, api_key=key)])
def test_a_pickle_does_not_hold_the_key(make, monkeypatch):
    """It is that of the variable then, and the error names the variable where there is none; a copy keeps it."""
    client = make("http://127.0.0.1:1", "very-secret")
    pickled = pickle.dumps(client)
    assert b"very-secret" not in pickled
    monkeypatch.delenv("GYM_HTTP_SERVER_API_KEY", raising=False)
    with pytest.raises(pickle.UnpicklingError, match="GYM_HTTP_SERVER_API_KEY"):
        pickle.loads(pickled)  # noqa: S301 -- pickled here
    monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "other-secret")
    assert pickle.loads(pickled)._api_key == "other-secret"  # noqa: S301 -- pickled here
    assert copy.deepcopy(client)._api_key == "very-secret"


def _step_in_another_process(env, results):
    env.reset()
    results.put((env.instance_id, len(env.step(0))))


def test_spawn_takes_one_along_with_its_key(monkeypatch):
    """The spawned process has an instance of its own, which is closed with it."""
    monkeypatch.delenv("GYM_HTTP_SERVER_API_KEY", raising=False)
    context = multiprocessing.get_context("spawn")
    with start("process", environment={"GYM_HTTP_SERVER_API_KEY": "secret"}) as server:
        headers = {"Authorization": "Bearer secret"}
        with RemoteEnv(server.url, "CartPole-v1", api_key="secret") as env:
            results = context.SimpleQueue()
            process = context.Process(target=_step_in_another_process, args=(env, results))
            process.start()
            instance_id, members = results.get()
            process.join(WAIT_SECONDS)
            assert (process.exitcode, members) == (0, 5)
            assert instance_id != env.instance_id
            assert set(server.get("/v1/envs/", headers=headers).json["envs"]) == {env.instance_id}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_one_that_is_garbage_collected_is_closed(server, make):
    """Without a warning, and as soon as nothing refers to it."""
    env = make(server.url)
    instance_id = env.unwrapped.instance_id
    assert instance_id in live(server)
    cycle = [env]
    cycle.append(cycle)
    del env, cycle
    gc.collect()
    eventually(lambda: instance_id not in live(server))


@pytest.mark.parametrize("part", ["remote_space", "_metadata"])
@pytest.mark.parametrize("name", ["single", "batch"])
def test_one_whose_constructor_fails_leaves_no_instance(server, monkeypatch, name, part):
    """It is closed before the exception is raised, which keeps the object alive."""
    before = live(server)

    def fail(*_):
        assert live(server) != before
        raise ValueError("a space that is not known here")

    monkeypatch.setattr(f"gym_http_server.client.remote_instance.{part}", fail)
    with pytest.raises(ValueError, match="not known here"):
        MAKERS[name](server.url)
    assert live(server) == before


def run(program, *arguments, **options):
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


LEFT = """
import sys
from gym_http_server.client import RemoteEnv, RemoteVectorEnv
env, batch = RemoteEnv(sys.argv[1], "CartPole-v1"), RemoteVectorEnv(sys.argv[1], "CartPole-v1", 2)
env.reset()
print(env.instance_id, batch.instance_id, flush=True)
"""


@pytest.mark.parametrize(
    "end", ["", "raise SystemExit(0)", "import gc; gc.disable(); cycle = [env]; cycle.append(cycle)"]
)
def test_one_that_is_left_at_exit_is_closed(server, end):
    """However the program ends, and quietly."""
    done = run(LEFT + end, server.url)
    assert (done.stderr, done.returncode) == ("", 0)
    left = set(done.stdout.split())
    assert len(left) == 2
    assert not left & live(server)


def test_one_that_is_left_by_a_forked_worker_is_closed(server):
    """A process of multiprocessing ends without the functions of atexit."""
    program = """
import multiprocessing, sys
from gym_http_server.client import RemoteEnv
def work(url, pipe):
    global env
    env = RemoteEnv(url, "CartPole-v1")
    pipe.send(env.instance_id)
context = multiprocessing.get_context("fork")
here, there = context.Pipe()
process = context.Process(target=work, args=(sys.argv[1], there))
process.start()
print(here.recv())
process.join()
"""
    done = run(program, server.url)
    assert done.stderr == ""
    assert done.stdout.strip()
    assert done.stdout.strip() not in live(server)


@pytest.mark.parametrize("trouble", ["gone", "hangs"])
def test_a_server_that_is_gone_neither_holds_the_exit_up_nor_is_told_of(trouble):
    """The program ends within seconds, with nothing on stderr."""
    with Server() as server:
        command = [sys.executable, "-W", "error", "-c", LEFT + "input()", server.url]
        program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert program.stdout.readline()
        if trouble == "gone":
            server.kill()
        else:
            server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert program.communicate("\n", timeout=WAIT_SECONDS)[1] == ""
        assert time.monotonic() - began < 20
        if trouble == "hangs":
            server.process.send_signal(signal.SIGCONT)


def test_a_forked_process_does_not_close_what_is_its_parents(server):
    """Neither when it collects it nor when it ends; it can use it, and an explicit close is one."""
    env, batch = RemoteEnv(server.url, "CartPole-v1"), RemoteVectorEnv(server.url, "CartPole-v1", 2)
    ids = {env.instance_id, batch.instance_id}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            env.reset()
            keeper._close_all()
            del env, batch
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    env.reset()
    assert ids <= live(server)
    del env, batch
    eventually(lambda: not ids & live(server))


def test_forks_do_not_keep_leases_from_being_renewed(server):
    """However often a process forks, what it made lives on; the thread goes on after each."""
    with RemoteEnv(server.url, "CartPole-v1", lease=1) as env:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            time.sleep(0.05)  # so often does it fork
        assert env.instance_id in live(server)
        assert len(lease_threads()) >= 1


def _remote():
    return RemoteEnv(os.environ["TEST_URL"], "CartPole-v1")


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_gymnasium_close_theirs(server, context, monkeypatch):
    """AsyncVectorEnv makes its environments in processes of their own."""
    monkeypatch.setenv("TEST_URL", server.url)
    before = live(server)
    batch = AsyncVectorEnv([_remote, _remote], context=context)
    batch.reset(seed=1)
    batch.step(batch.action_space.sample())
    assert len(live(server) - before) == 2
    batch.close()
    eventually(lambda: live(server) <= before)


def test_the_instances_of_a_process_that_was_killed_are_closed(server):
    """When their lease has run out, and not as long as it lives."""
    program = LEFT.replace('"CartPole-v1"', '"CartPole-v1", lease=1')
    program = program.replace("1, 2)", "1, num_envs=2)").replace(", lease=1, 2)", ", 2, lease=1)")
    process = subprocess.Popen(
        [sys.executable, "-c", program + "input()", server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ids = set(process.stdout.readline().split())
    assert len(ids) == 2
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert ids <= live(server)
        time.sleep(0.1)  # while it lives
    process.kill()
    process.communicate()
    eventually(lambda: not ids & live(server))


def test_the_lease_is_so_long_that_five_minutes_are_enough(server):
    """The server sees it within a tenth of the lease."""
    with RemoteEnv(server.url, "CartPole-v1") as env, Client(server.url) as client:
        leases = [client.get_env(env.instance_id)["lease"]]
        other = client.create_env("CartPole-v1")["instance_id"]
        leases.append(client.get_env(other)["lease"])
        client.close_env(other)
        assert leases == [keeper.LEASE_SECONDS] * 2
        assert keeper.LEASE_SECONDS * 1.1 <= 300
        lasting = client.create_env("CartPole-v1", lease=None)["instance_id"]
        assert client.get_env(lasting)["lease"] is None
        client.close_env(lasting)


def lease_threads():
    return [each for each in threading.enumerate() if each.name == "gym-http-server leases"]


def test_all_leases_are_renewed_with_one_request():
    """Whatever their number; one that fails is made again, the unknown are forgotten, and the thread ends when none is left."""
    numbers = iter(range(1000))
    broken = iter([True, False, False])

    def answer(request):
        if request.path == "/v1/envs/":
            return reply({"instance_id": f"{next(numbers):08x}", "env_id": "A-v0", "library": "x"})
        if request.path == "/v1/leases/":
            if next(broken, False):
                return reply({"message": "not now"}, "503 Service Unavailable")
            return reply({"unknown": ["00000000"]})
        return reply()

    def renewals():
        return [request.json["instance_ids"] for request in loopback.requests if request.path == "/v1/leases/"]

    with Loopback(answer) as loopback, Client(loopback.url) as client:
        ids = [client.create_env("A-v0", lease=1)["instance_id"] for _ in range(3)]
        eventually(lambda: len(renewals()) >= 3)
        assert renewals()[:3] == [ids, ids, ids[1:]]
        assert client.keeper._leases.keys() == set(ids[1:])
        for each in ids:
            client.close_env(each)
        eventually(lambda: client.keeper._thread is None)


def test_a_lost_server_does_not_disturb_the_program(monkeypatch):
    """Renewals fail silently, and a use says what there is to say."""
    failures = []

    def renew_leases(client, instance_ids):
        try:
            return real(client, instance_ids)
        except ConnectionError as error:
            failures.append(error)
            raise

    real = Client.renew_leases
    monkeypatch.setattr(Client, "renew_leases", renew_leases)
    with Loopback(lambda _: reply({"instance_id": "a1", "env_id": "A-v0", "library": "x"})) as loopback:
        client = Client(loopback.url, retries=0)
        client.create_env("A-v0", lease=1)
    eventually(lambda: len(failures) >= 2)
    with pytest.raises(ConnectionError):
        client.get_health()
    client.keeper.forget("a1")


def test_a_lease_that_ran_out_while_the_server_was_lost_is_not_renewed_later():
    """The server has closed that instance; the leases of others are renewed as soon as it answers again."""
    is_lost = True
    numbers = iter(range(1000))

    def answer(request):
        if request.path == "/v1/envs/":
            return reply({"instance_id": f"{next(numbers):08x}", "env_id": "A-v0", "library": "x"})
        return reply({"message": "not now"}, "503 Service Unavailable") if is_lost else reply({"unknown": []})

    def renewals():
        return [request.json["instance_ids"] for request in loopback.requests if request.path == "/v1/leases/"]

    with Loopback(answer) as loopback, Client(loopback.url) as client:
        short = client.create_env("A-v0", lease=1)["instance_id"]
        long = client.create_env("A-v0", lease=60)["instance_id"]
        eventually(lambda: renewals()[-1:] == [[short, long]])
        eventually(lambda: short not in client.keeper._leases)
        is_lost = False
        client.keeper.renew("0000ffff", 1)
        eventually(lambda: renewals()[-1:] == [[long, "0000ffff"]])
        for each in (short, long, "0000ffff"):
            client.keeper.forget(each)


def test_a_lease_that_ran_out_is_told_by_the_next_use(server):
    """With the reason."""
    with Client(server.url) as client:
        instance_id = client.create_env("CartPole-v1", lease=1)["instance_id"]
        client.keeper.forget(instance_id)
        eventually(lambda: instance_id not in live(server))
        with pytest.raises(ServerProblem, match="renewed its lease for 1 s"):
            client.reset_env(instance_id)
