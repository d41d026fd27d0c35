"""A cluster of several nodes under load, of which one part after the other is killed."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import psutil
import pytest

from gym_http_server.client import Client, ServerConnectionError, ServerProblem

from ..support.ray_nodes import ENVIRONMENT, RayNodes
from ..support.serving import SECONDS, Server, eventually, living
from .crowd import ENV_ID, Crowd

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

NODES = 3
CLIENTS = 16
ROOM = 12
"""Instances of a shard where nodes are lost: two have room for all clients, and for what a broken connection left."""
BOUND_SECONDS = 20.0
"""Maximum time of a call: 5 s until a lost shard is noticed, and what a loaded machine takes besides."""
GONE_SECONDS = 5.0


def router(nodes, *options):
    arguments = ("--engine", "ray", "--ray-address", nodes.address, "--shard-envs", str(ROOM), *options)
    return Server(*arguments, environment=ENVIRONMENT)


def shards_of(nodes):
    """Return the processes of the shards."""
    found = []
    for pid in nodes.pids():
        with contextlib.suppress(psutil.Error):
            if "RayShard" in (process := psutil.Process(pid)).name():
                found.append(process)
    return found


def shard_at(nodes, url):
    """Return the process of the shard that listens at an address."""
    port = urlsplit(url).port
    for process in shards_of(nodes):
        if any(at.laddr.port == port for at in process.net_connections("tcp") if at.status == psutil.CONN_LISTEN):
            return process
    raise AssertionError(f"nothing listens at {url}")


def await_problem(status, call, *arguments):
    """Make a call until it ends with a problem of this status; return its message."""

    def attempt():
        try:
            call(*arguments)
        except ServerProblem as problem:
            return problem.status == status and problem.message
        except ServerConnectionError:
            pass
        return None

    return eventually(attempt, SECONDS)


def fill(url):
    """Make as many instances as it takes to have a shard on each node, and close them."""
    with Client(url) as client:
        envs = [client.create_env(ENV_ID)["instance_id"] for _ in range((NODES - 1) * ROOM + 1)]
        assert len({env[:3] for env in envs}) == NODES
        for env in envs:
            client.close_env(env)


def test_whatever_is_killed_replies_are_right_or_proper_problems_and_nothing_hangs_or_is_left():
    """A shard, a node, a router, and in the end the head."""
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(RayNodes(NODES))
        first = router(nodes)
        stack.callback(first.process.kill)  # if it fails before that
        fill(first.url)
        with Crowd(first.url, CLIENTS) as crowd, Client(first.url) as client:
            crowd.plays_on()
            assert crowd.problems() == []

            created = client.create_env(ENV_ID)
            shard_at(nodes, created["url"]).kill()
            assert "was killed" in await_problem(410, client.get_env, created["instance_id"])
            crowd.plays_on()

            nodes.kill(nodes.nodes[-1])
            crowd.plays_on()

            first.process.kill()
            first._finish()
            second = stack.enter_context(router(nodes, "--port", str(first.address[1])))
            crowd.plays_on()

            shards = shards_of(nodes)
            ours = [*shards, *(child for shard in shards for child in shard.children(recursive=True))]
            nodes.kill(nodes.nodes[0])
            assert "the head of the Ray cluster" in await_problem(503, client.create_env, ENV_ID)
            assert living(ours, SECONDS) == []
        assert crowd.wrong() == []
        assert crowd.longest < BOUND_SECONDS
        of_router = psutil.Process(second.process.pid).children(recursive=True)
    assert living(of_router, GONE_SECONDS) == []
