"""A Ray cluster of three nodes: where shards run, who sees them, and what becomes of them. The last test kills the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gym_http_server.client import Client, ServerConnectionError, ServerProblem
from gym_http_server.config import Settings
from gym_http_server.engines.ray.shards import RayShards
from gym_http_server.errors import NoShardError, StartError

from ..support.ray_nodes import ENVIRONMENT, RayNodes
from ..support.serving import SECONDS, Server, eventually, living
from .crowd import ENV_ID, Crowd
from .turnover import SLACK_MEGABYTES, memory, processes, turn_over

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

NODES = 3
CLIENTS = 16
ROOM = 20
"""Instances of a shard: one has room for all clients, and for what broken connections left."""
NOTICE_SECONDS = 5.0
BOUND_SECONDS = 30.0
"""Maximum time of a call: 5 s until a lost shard is noticed, 3 s until another has started, and what a loaded machine takes."""
GONE_SECONDS = 5.0
TURNED_OVER = 60


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with RayNodes(NODES, num_gpus=1, resources={"licence": 1}) as running:
        yield running


@pytest.fixture(scope="module")
def first(nodes: RayNodes) -> Iterator[Server]:
    """A router that starts shards, which ask for all that a node has."""
    with router(nodes, "--shard-gpus", "1", "--shard-resources", "licence=1") as running:
        yield running


def router(nodes: RayNodes, *options: str) -> Server:
    arguments = ("--engine", "ray", "--ray-address", nodes.address, "--shard-envs", str(ROOM), "--shard-idle", "0")
    return Server(*arguments, *options, environment=ENVIRONMENT)


@contextlib.asynccontextmanager
async def joined(nodes: RayNodes, **options: Any) -> AsyncIterator[RayShards]:
    """Join the cluster as another router does."""
    wants = {"shard_gpus": 1.0, "shard_resources": ("licence=1",)}
    settings = {"shard_envs": ROOM, "shard_idle": 0.0, "shard_timeout": 60.0, **wants, **options}
    shards = RayShards(Settings(engine="ray", ray_address=nodes.address, **settings))
    await shards.start()
    try:
        yield shards
    finally:
        await shards.stop()


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    return await asyncio.to_thread(eventually, condition, seconds)


def shards_of(nodes: RayNodes) -> list[psutil.Process]:
    """Return the processes of the shards, which are those of their actors."""
    found = []
    for pid in nodes.pids():
        with contextlib.suppress(psutil.Error):
            if "RayShard" in (process := psutil.Process(pid)).name():
                found.append(process)
    return found


def shard_at(nodes: RayNodes, url: str) -> psutil.Process:
    """Return the process of the shard that listens at an address."""
    port = urlsplit(url).port
    for process in shards_of(nodes):
        if any(at.laddr.port == port for at in process.net_connections("tcp") if at.status == psutil.CONN_LISTEN):
            return process
    raise AssertionError(f"nothing listens at {url}")


def with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [*processes, *(child for process in processes for child in process.children(recursive=True))]


async def test_a_router_that_only_routes_needs_another(nodes: RayNodes) -> None:
    """It says what to start."""
    with pytest.raises(StartError, match="no gym-http-server --engine ray runs in this Ray cluster"):
        async with joined(nodes, router_only=True):
            pass


async def test_shards_run_on_nodes_of_their_own_and_routers_see_the_same(nodes: RayNodes, first: Server) -> None:
    """A shard's ids begin with its prefix, it sees the GPU that it asked for, opens to the cluster's key alone, and one that is killed leaves no process."""
    async with joined(nodes) as second:
        placed = [await second.place()]
        while len(placed) < NODES:
            placed.append(await second.place(frozenset(each.prefix for each in placed)))
        assert len({each.node for each in placed}) == NODES
        (fork_server,) = shard_at(nodes, placed[0].url).children()
        assert fork_server.environ()["CUDA_VISIBLE_DEVICES"] == "0"
        await until(lambda: first.get("/metrics").body.count(b"\ngym_http_server_shard_room{") == NODES)
        paths = [await asyncio.to_thread(first.create) for _ in range(NODES)]
        assert {path.split("/")[3][:3] for path in paths} == {each.prefix for each in placed}
        with Client(placed[0].url, "another-key") as client, pytest.raises(ServerProblem, match="401"):
            await asyncio.to_thread(client.list_envs)

        async with joined(nodes, router_only=True, shard_timeout=1.0) as third:
            assert {each.prefix: each.url for each in third.shards()} == {each.prefix: each.url for each in placed}
            assert third.key == second.key
            with pytest.raises(
                NoShardError,
                match=r"no node of the Ray cluster had room for another shard \(1 CPU, 1 GPU, licence=1\) for 1 s",
            ):
                await third.place(frozenset(each.prefix for each in placed))
            assert third.status().pending == 1

            killed = placed[0]
            tree = with_children([shard_at(nodes, killed.url)])
            tree[0].kill()
            words = [
                await until(lambda each=each: each.loss(killed.prefix), NOTICE_SECONDS) for each in (second, third)
            ]
            assert words[0] == words[1]
            assert f"its process on node {killed.node} was killed" in words[0]
            assert not living(tree, GONE_SECONDS)
        # The shard that waited has a node now.
        later = await second.place(frozenset(each.prefix for each in placed))
        assert later.prefix not in {each.prefix for each in placed}
    for path in paths:
        first.request("DELETE", f"{path}/")


def test_memory_is_flat_while_instances_come_and_go(nodes: RayNodes, first: Server) -> None:
    """That of router, driver, directory and shards; `python -m tests.cluster.turnover` does it with 2,000."""
    turn_over(first.url, TURNED_OVER)
    ours = processes(first, nodes)
    before = memory(ours)
    turn_over(first.url, TURNED_OVER)
    assert {name: held for name, held in memory(ours).items() if held > before[name] + SLACK_MEGABYTES} == {}


async def test_shards_end_when_they_are_idle_but_for_one(nodes: RayNodes, first: Server) -> None:
    """Their instances are unknown then, not lost. The latest router says when; the last shard stays without instances, too."""
    path = await asyncio.to_thread(first.create)
    async with joined(nodes, shard_idle=1.0) as shards:
        others = {each.prefix for each in shards.shards()} - {path.split("/")[3][:3]}
        await until(lambda: [each.prefix for each in shards.shards()] == [path.split("/")[3][:3]])
        assert {shards.loss(prefix) for prefix in others} <= {None}
        assert first.request("DELETE", f"{path}/").status == 200


async def test_a_shard_that_cannot_start_says_why(nodes: RayNodes, first: Server) -> None:  # noqa: ARG001 -- it keeps the cluster
    """A creation that waits for it ends with the shard's own words."""
    async with joined(nodes, imports=("no_such_module",)) as shards:
        with pytest.raises(NoShardError, match=r"a shard cannot start: .*no_such_module"):
            await shards.place(frozenset(each.prefix for each in shards.shards()))


def test_the_last_router_that_stops_ends_the_shards(nodes: RayNodes, first: Server) -> None:
    """Instances and all, before it ends itself."""
    first.create()
    ours = with_children(shards_of(nodes))
    assert ours
    first.__exit__()
    assert not living(ours, GONE_SECONDS)


def await_problem(status: int, call: Callable[..., Any], *arguments: Any, seconds: float = SECONDS) -> str:
    """Make a call until it ends with a problem of this status; return its message."""

    def attempt() -> str | None:
        try:
            call(*arguments)
        except ServerProblem as problem:
            return problem.message if problem.status == status else None
        except ServerConnectionError:
            pass
        return None

    return str(eventually(attempt, seconds))


def create_on_each(client: Client) -> dict[str, str]:
    """Have a shard on each node; return an instance on each, with the address of its shard."""
    made = [client.create_env(ENV_ID) for _ in range((NODES - 1) * ROOM + 1)]
    kept = {reply["instance_id"][:3]: (reply["instance_id"], reply["url"]) for reply in made}
    assert len(kept) == NODES
    for reply in made:
        if (env := reply["instance_id"]) != kept[env[:3]][0]:
            client.close_env(env)
    return dict(kept.values())


def test_whatever_is_killed_replies_are_right_or_proper_problems_and_nothing_hangs_or_is_left(nodes: RayNodes) -> None:
    """A node, a shard, a router, and in the end the head, with which every process of the cluster ends."""
    with contextlib.ExitStack() as stack:
        one = router(nodes)
        stack.callback(one.process.kill)  # if it fails before that
        with Client(one.url) as client:
            on_each = create_on_each(client)
            processes = {env: shard_at(nodes, url) for env, url in on_each.items()}
            with Crowd(one.url, CLIENTS) as crowd:
                crowd.plays_on()
                assert crowd.problems() == []

                nodes.kill(nodes.nodes[-1])
                (lost,) = eventually(
                    lambda: [env for env in on_each if not living([processes[env]], 0.0)], GONE_SECONDS
                )
                assert "node" in await_problem(410, client.get_env, lost, seconds=NOTICE_SECONDS)
                crowd.plays_on()

                killed, kept = (env for env in on_each if env != lost)
                processes[killed].kill()
                assert "was killed" in await_problem(410, client.get_env, killed)
                crowd.plays_on()

                one.process.kill()
                one._finish()
                two = stack.enter_context(router(nodes, "--port", str(one.address[1])))
                crowd.plays_on()

                ours = with_children(shards_of(nodes))
                nodes.kill(nodes.nodes[0])
                assert living(ours, GONE_SECONDS) == []
                assert "the head of the Ray cluster" in await_problem(503, client.create_env, ENV_ID)
                # The shard may be missed before it is known why.
                assert re.search(
                    "the head of the Ray cluster|why is not known", await_problem(410, client.get_env, kept)
                )
            assert crowd.wrong() == []
            assert crowd.longest < BOUND_SECONDS
        of_router = psutil.Process(two.process.pid).children(recursive=True)
    assert living(of_router, GONE_SECONDS) == []


def test_a_local_ray_ends_with_its_driver_and_with_its_router() -> None:
    """However they end; a router whose driver was killed starts another Ray."""
    server = Server("--engine", "ray", "--ray-address", "local", "--shard-cpus", "0.5")
    try:
        server.create()
        (driver,) = psutil.Process(server.process.pid).children()
        tree = driver.children(recursive=True)
        assert any("RayShard" in each.name() for each in tree)
        driver.kill()
        assert not living(tree, GONE_SECONDS)
        eventually(lambda: server.post("/v1/envs/", {"env_id": ENV_ID}).status == 200, SECONDS)
        tree = psutil.Process(server.process.pid).children(recursive=True)
        assert any("RayShard" in each.name() for each in tree)
    finally:
        server.kill()
        server._finish()
    assert not living(tree, GONE_SECONDS)
