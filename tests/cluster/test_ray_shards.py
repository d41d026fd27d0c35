"""Shards on a Ray cluster of three nodes: where they run, who sees them, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gym_http_server.config import Settings
from gym_http_server.engines.ray.shards import RayShards
from gym_http_server.engines.shards import Shard
from gym_http_server.errors import NoShardError, StartError

from ..support.ray_nodes import ENVIRONMENT, RayNodes
from ..support.serving import Server, eventually, living

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SECONDS = 90.0


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@contextlib.asynccontextmanager
async def router(nodes: RayNodes, **options: Any) -> AsyncIterator[RayShards]:
    settings = {"shard_envs": 2, "shard_idle": 0.0, "shard_timeout": 60.0, **options}
    shards = RayShards(Settings(engine="ray", ray_address=nodes.address, **settings))
    await shards.start()
    try:
        yield shards
    finally:
        await shards.stop()


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    return await asyncio.to_thread(eventually, condition, seconds)


async def request(shard: Shard, key: str, method: str, path: str, body: Any = None) -> Any:
    def send() -> Any:
        connection = http.client.HTTPConnection(urlsplit(shard.url).netloc, timeout=SECONDS)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read() or b"null")

    return await asyncio.to_thread(send)


async def create(shard: Shard, key: str) -> str:
    status, reply = await request(shard, key, "POST", "/v1/envs/", {"env_id": "CartPole-v1"})
    assert status == 200, reply
    return str(reply["instance_id"])


def process_of(shard: Shard) -> psutil.Process:
    """Return the process that listens where a shard is, which is that of its actor."""
    port = urlsplit(shard.url).port
    for each in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if "RayShard" in each.info["name"] and any(
                at.laddr.port == port for at in each.net_connections("tcp") if at.status == psutil.CONN_LISTEN
            ):
                return each
    raise AssertionError(f"nothing listens at {shard.url}")


async def test_shards_run_on_nodes_of_their_own_and_routers_see_the_same(nodes: RayNodes) -> None:
    """A shard's ids begin with its prefix, it opens to the cluster's key alone, and one that is killed leaves no process."""
    async with router(nodes) as first:
        shard = await first.place()
        assert (await create(shard, first.key)).startswith(shard.prefix)
        assert (await request(shard, "another", "GET", "/v1/envs/"))[0] == 401
        placed = [shard]
        while len(placed) < 3:
            placed.append(await first.place(frozenset(each.prefix for each in placed)))
        assert len({each.node for each in placed}) == 3

        async with router(nodes, router_only=True, shard_timeout=2.0) as second:
            assert {each.prefix: each.url for each in second.shards()} == {each.prefix: each.url for each in placed}
            assert second.key == first.key
            with pytest.raises(
                NoShardError, match=r"no node of the Ray cluster had room for another shard \(1 CPU\) for 2 s"
            ):
                await second.place(frozenset(each.prefix for each in placed))
            assert second.status().pending == 1

            process = process_of(shard)
            tree = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGKILL)
            words = [await until(lambda each=each: each.loss(shard.prefix), 5.0) for each in (first, second)]
            assert words[0] == words[1]
            assert f"its process on node {shard.node} was killed" in words[0]
            assert not living(tree)
        # The router that only routes has gone, and ended nothing.
        assert all(process_of(each).is_running() for each in placed[1:])
        # The shard that waited has a node now.
        later = await first.place(frozenset(each.prefix for each in placed))
        assert later.prefix not in {each.prefix for each in placed}
        shards = [process_of(each) for each in [*placed[1:], later]]
    # The last router that starts shards ends them.
    assert not living(shards)


async def test_a_shard_ends_when_it_is_idle_but_for_one(nodes: RayNodes) -> None:
    """Its instances are unknown then, not lost; while a router runs, one shard stays, because not all requests are of an instance."""
    async with router(nodes, shard_idle=1.0) as shards:
        first = await shards.place()
        instance_id = await create(first, shards.key)
        shards.count(first.prefix, 2)
        second = await shards.place()
        await until(lambda: [each.prefix for each in shards.shards()] == [first.prefix])
        assert shards.loss(second.prefix) is None
        assert (await request(first, shards.key, "DELETE", f"/v1/envs/{instance_id}/"))[0] == 200


async def test_a_shard_that_cannot_start_says_why(nodes: RayNodes) -> None:
    """The start of the router ends with the shard's own words."""
    with pytest.raises(StartError, match="no_such_module"):
        async with router(nodes, imports=("no_such_module",)):
            pass


async def test_a_router_that_only_routes_needs_another(nodes: RayNodes) -> None:
    """It says what to start."""
    with pytest.raises(StartError, match="no gym-http-server --engine ray runs in this Ray cluster"):
        async with router(nodes, router_only=True):
            pass


async def test_a_lost_node_and_then_the_head() -> None:
    """A router hears of both within five seconds, though Ray itself takes longer; with the head ends every process."""
    with RayNodes(2) as nodes:
        async with router(nodes) as shards:
            shard = await shards.place()
            shards.count(shard.prefix, 2)
            other = await shards.place()
            by_node = {each.node[-9:-1]: each for each in (shard, other)}
            lost, kept = by_node[nodes.nodes[1][:8]], by_node[nodes.nodes[0][:8]]
            tree = process_of(lost)
            nodes.kill(nodes.nodes[1])
            await asyncio.wait_for(shards.report(lost.prefix), 5.0)
            assert "node" in await until(lambda: shards.loss(lost.prefix), 5.0)
            assert not living([tree])

            await create(kept, shards.key)
            process = process_of(kept)
            tree = [process, *process.children(recursive=True)]
            nodes.kill(nodes.nodes[0])
            assert "has ended" in await until(lambda: shards.status().problem, 5.0)
            with pytest.raises(NoShardError, match=r"the head of the Ray cluster at .* has ended"):
                await shards.place()
            assert not living(tree, 10.0)
            await asyncio.wait_for(shards.report(kept.prefix), 5.0)
            assert "the head of the Ray cluster" in (shards.loss(kept.prefix) or "")


async def test_a_local_ray_ends_with_its_driver() -> None:
    """However that ends: what the driver started is gone when it was killed, too."""
    shards = RayShards(Settings(engine="ray", ray_address="local", shard_cpus=0.5))
    await shards.start()
    await create(await shards.place(), shards.key)
    (driver,) = [each for each in psutil.Process().children() if "gym_http_server.engines.ray.driver" in each.cmdline()]
    tree = driver.children(recursive=True)
    driver.kill()
    assert not await asyncio.to_thread(living, tree, 15.0)
    await shards.stop()


async def test_a_local_ray_ends_with_a_router_that_is_killed() -> None:
    """No process of it is left; the shards of a cluster that was joined would stay."""
    server = await asyncio.to_thread(Server, "--engine", "ray", "--ray-address", "local", "--shard-cpus", "0.5")
    try:
        await asyncio.to_thread(server.create)
        tree = psutil.Process(server.process.pid).children(recursive=True)
        assert any("RayShard" in each.name() for each in tree)
    finally:
        server.kill()
        server._finish()
    assert not await asyncio.to_thread(living, tree, 10.0)
