"""Instances that the client reaches directly, without the router that made them."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import threading

import numpy as np
import pytest

from gym_http_server.client import Client, InstanceHeld, RemoteEnv, RemoteVectorEnv, ServerConnectionError
from gym_http_server.client.http import direct
from gym_http_server.client.http.transport import Transport

from ..conftest import start
from ..support.loopback import WAIT_SECONDS, Loopback, reply
from ..support.relay import Relay
from ..support.reverse_proxy import ReverseProxy
from ..support.serving import eventually

KEY = "key-of-one-instance"


@pytest.fixture(scope="module")
def server():
    with start("process") as running:
        yield running


@pytest.fixture(autouse=True)
def _unknown_hosts(monkeypatch):
    monkeypatch.setattr(direct, "_hosts", {})


class Router(ReverseProxy):
    """Stands before a server as a router does, notes the paths of its requests, and says where instances are."""

    def __init__(self, server, direct_url):
        self.seen: list[tuple[str, str]] = []
        self.keys: list[str | None] = []
        self.direct_url = direct_url
        super().__init__(server.address, before=self._note, after=self._tell)

    def _note(self, passing):
        self.seen.append((passing.method, passing.path))
        self.keys.append(passing.headers.get("idempotency-key"))

    def _tell(self, passing):
        if (passing.method, passing.path, passing.status) == ("POST", "/v1/envs/", 200):
            passing.reply = json.dumps({**json.loads(passing.reply), "url": self.direct_url, "key": KEY}).encode()

    def instance_paths(self):
        return [path for _, path in self.seen if path.startswith("/v1/envs/") and path != "/v1/envs/"]


def is_step(request):
    return request.path.endswith("/step/")


def zeros(env):
    return [env.step(env.action_space.sample() * 0)[0] for _ in range(5)]


def steps(server, instance_id):
    return server.get(f"/v1/envs/{instance_id}/").json["steps"]


def test_operations_of_an_instance_go_to_its_server(server):
    """The router sees the creation and nothing of the instance; its server gets the key for the instance."""
    with Relay(server) as shard, Router(server, shard.url) as router, Client(router.url, "the-routers-key") as client:
        env = client.create_env("CartPole-v1", seed=1)["instance_id"]
        client.reset_env(env)
        client.step_env(env, 0)
        client.close_env(env)
        assert router.instance_paths() == []
        assert [request.path.rpartition(f"{env}/")[2] for request in shard.requests] == [
            "",
            "reset/",
            "step/",
            "close/",
        ]
        assert {request.headers["authorization"] for request in shard.requests} == {f"Bearer {KEY}"}
        assert client.list_envs() == {}
    assert router.seen[-1] == ("GET", "/v1/envs/")


def test_nothing_is_kept_of_closed_instances(server):
    """A client may make thousands, and its connections to a server that has none of them are closed."""
    with Router(server, server.url) as router, Client(router.url) as client:
        kept, closed = (client.create_env("CartPole-v1")["instance_id"] for _ in range(2))
        for env in (kept, closed):
            client.reset_env(env)
        client.close_env(closed)
        [transport] = client._direct._transports.values()
        assert list(transport._instance_fields) == list(client._direct._routes) == [f"/v1/envs/{kept}/"]
        client.close_env(kept)
        del transport
        assert not client._direct._transports


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_environments_of_gymnasium_step_directly(server, kind):
    """With the same trajectory as without a router."""
    make = {
        "single": lambda url: RemoteEnv(url, "CartPole-v1", seed=3),
        "batch": lambda url: RemoteVectorEnv(url, "CartPole-v1", 2, seed=3, vectorization_mode="sync"),
    }[kind]
    with Router(server, server.url) as router:
        env, plain = make(router.url), make(server.url)
        for observed in zip(*([each.reset()[0], *zeros(each)] for each in (env, plain)), strict=True):
            np.testing.assert_array_equal(*observed)
        assert router.instance_paths() == []
        copied = pickle.loads(pickle.dumps(env))  # noqa: S301 -- pickled here
        copied.reset()
        for each in (env, copied, plain):
            each.close()
        assert router.instance_paths() == []


def other_server(_request):
    return reply({"instance_id": "00000000"})


def refusing(_request):
    return reply({"title": "no"}, "403 Forbidden", "application/problem+json")


def page(_request):
    return reply(b"<h1>router of a home</h1>", media_type="text/html")


@pytest.mark.parametrize(
    "answer", [other_server, refusing, page, lambda _: None], ids=["other", "refusing", "page", "ends"]
)
def test_where_another_answers_requests_go_to_the_router_for_good(server, answer):
    """It is asked once."""
    with Loopback(answer) as wrong, Router(server, wrong.url) as router, Client(router.url) as client:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.reset_env(env)
        client.step_env(env, 0)
        client.close_env(env)
        assert len(wrong.requests) == 1
        assert len(router.instance_paths()) == 3


def test_where_nobody_answers_requests_go_to_the_router(server, unreachable):
    """Of which the program sees nothing."""
    with Router(server, unreachable) as router, RemoteEnv(router.url, "CartPole-v1") as env:
        env.reset()
        assert f"/v1/envs/{env.instance_id}/reset/" in router.instance_paths()


def test_a_host_that_drops_packets_is_tried_once(server, monkeypatch):
    """By all clients of a process."""
    monkeypatch.setattr(direct, "SILENCE_SECONDS", 0.3)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        for _ in range(2):  # nobody accepts these, so that no other fits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        router = stack.enter_context(Router(server, f"http://127.0.0.2:{full.getsockname()[1]}"))
        stack.enter_context(RemoteEnv(router.url, "CartPole-v1")).reset()
        shard = stack.enter_context(Relay(server, host="127.0.0.2"))
        router.direct_url = shard.url
        stack.enter_context(RemoteEnv(router.url, "CartPole-v1")).reset()
        assert shard.requests == []


@pytest.mark.parametrize("trouble", ["unanswered", "unauthorized", "unknown"])
def test_a_server_that_is_lost_is_left_for_the_router_and_no_step_is_taken_twice(server, trouble):
    """The step whose reply was lost is repeated with its key; one that another server refused was not taken."""
    replies = {
        "unanswered": None,
        "unauthorized": reply({"title": "no key"}, "401 Unauthorized", "application/problem+json"),
        "unknown": reply(
            {"type": "urn:gym-http-server:problem:unknown-instance"}, "400 Bad Request", "application/problem+json"
        ),
    }
    lost = threading.Event()

    def answer(request):
        return replies[trouble] if is_step(request) and lost.is_set() else b""

    with Relay(server, answer) as shard, Router(server, shard.url) as router, Client(router.url) as client:
        env = client.create_env("CartPole-v1", seed=1)["instance_id"]
        client.reset_env(env)
        client.step_env(env, 0)
        lost.set()
        client.step_env(env, 0)
        assert steps(server, env) == 2
        seen = len(shard.requests)
        client.step_env(env, 0)
        assert len(shard.requests) == seen
        assert steps(server, env) == 3
        client.close_env(env)


def test_without_repetitions_a_lost_step_is_told_and_the_next_goes_to_the_router(server):
    """Nobody knows whether it was taken."""
    with Relay(server, lambda request: None if is_step(request) else b"") as shard, Router(server, shard.url) as router:
        client = Client(router.url, retries=0)
        env = client.create_env("CartPole-v1", seed=1)["instance_id"]
        client.reset_env(env)
        with pytest.raises(ServerConnectionError, match="is not known"):
            client.step_env(env, 0)
        client.step_env(env, 0)
        assert steps(server, env) == 2
        client.close_env(env)
        client.close()


def test_a_router_behind_tls_is_not_left_for_a_server_without():
    """What was asked to be encrypted stays so."""
    kept = direct.DirectTransport(Transport("https://127.0.0.1", None, WAIT_SECONDS, 0))
    kept.add("/v1/envs/01f00001/", "http://127.0.0.1:1", None)
    assert kept._routes == {}


def test_who_holds_an_instance_holds_it_directly(server):
    """And others not."""
    with Router(server, server.url) as router, Client(router.url) as client, Client(router.url) as other:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.hold_env(env)
        client.reset_env(env)
        with pytest.raises(InstanceHeld):
            other.reset_env(env)
        client.release_env(env)
        other.reset_env(env)
        client.close_env(env)


def test_leases_are_renewed_through_the_router(server):
    """By one request for all servers."""
    with Router(server, server.url) as router, RemoteEnv(router.url, "CartPole-v1", lease=2) as env:
        eventually(lambda: ("POST", "/v1/leases/") in router.seen, WAIT_SECONDS)
        env.reset()
        assert router.instance_paths() == []


def test_threads_and_forks_reach_it_directly_over_connections_of_their_own(server):
    """As they reach any server."""
    with Router(server, server.url) as router, Client(router.url) as client:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.reset_env(env)
        threads = [threading.Thread(target=client.get_env, args=(env,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                client.step_env(env, 0)
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        client.step_env(env, 0)
        assert steps(server, env) == 2
        assert router.instance_paths() == []
        client.close_env(env)
