"""What a router makes of its driver's words, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gym_http_server.config import Settings
from gym_http_server.engines.ray import driver_process, shards
from gym_http_server.engines.ray.deaths import death_words
from gym_http_server.engines.ray.plan import plan_of
from gym_http_server.engines.ray.shards import RayShards
from gym_http_server.errors import EngineUnavailableError, NoShardError, StartError


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_process, "DRIVER", "tests.support.fake_driver")
    monkeypatch.setattr(shards, "is_installed", lambda: True)
    monkeypatch.setattr(shards, "FULL_SECONDS", 0.1)


@contextlib.asynccontextmanager
async def cluster(how: str, **options: Any) -> AsyncIterator[RayShards]:
    running = RayShards(Settings(engine="ray", ray_address=how, **options))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def test_creations_that_find_no_room_wait_for_new_shards() -> None:
    """A shard that refused a creation is not tried again for it."""
    async with cluster("room") as running:
        placed = await asyncio.gather(*(running.place() for _ in range(3)))
        assert sorted(each.prefix for each in placed) == ["000", "001", "002"]
        later = await running.place(frozenset({"000", "001", "002"}))
        assert (later.prefix, later.url) == ("003", "http://10.0.0.1:8003")


async def test_a_reported_shard_is_lost_when_the_report_returns() -> None:
    """Its loss is remembered."""
    async with cluster("room") as running:
        shard = await running.place()
        assert running.loss(shard.prefix) is None
        await running.report(shard.prefix)
        assert running.loss(shard.prefix) == "node 10.0.0.1 was lost"
        assert shard.prefix not in {each.prefix for each in running.shards()}
        assert running.status().losses == {shard.prefix: "node 10.0.0.1 was lost"}
        (node,) = running.status().nodes
        assert (node.name, node.resources) == ("10.0.0.1", "4 CPU")


async def test_a_creation_without_room_says_what_a_shard_asks_for() -> None:
    """And for how long it waited."""
    async with cluster("full", shard_timeout=0.2, shard_gpus=1, shard_resources=("licence=1",)) as running:
        with pytest.raises(
            NoShardError, match=r"room for another shard \(1 CPU, 1 GPU, licence=1\) for 0.2 s \(--shard-timeout\)"
        ):
            await running.place()
        assert running.status().pending == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [("failing", "cannot join or start a Ray cluster: no Ray listens there"), ("broken", "a shard cannot start: no module named no_such_module")],
)  # fmt: skip
async def test_a_start_that_fails_says_why(how: str, words: str) -> None:
    """In the words of Ray or of the shard."""
    with pytest.raises(StartError, match=words):
        async with cluster(how):
            pass


async def test_a_cluster_that_has_ended_takes_no_instance() -> None:
    """The reason is that of the driver."""
    async with cluster("ended", router_only=True) as running:
        with pytest.raises(NoShardError, match="the cluster takes no further instance: the head has ended"):
            await running.place()
        assert running.status().problem == "the head has ended"


async def test_a_cluster_whose_directory_is_silent_goes_on_with_the_shards_that_it_has() -> None:
    """As while a head restarts; a creation that needs another shard waits, and says why that did not come."""
    async with cluster("silent", shard_timeout=0.2) as running:
        assert (await running.place()).prefix == "000"
        with pytest.raises(NoShardError, match="the directory does not answer"):
            await running.place()
        running.count("000", 0)
        assert (await running.place()).prefix == "000"
        assert running.status().problem is None


async def test_a_missing_ray_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr(shards, "is_installed", lambda: False)
    with pytest.raises(EngineUnavailableError, match=r"--engine ray needs .* python -m pip install 'ray>="):
        await RayShards(Settings(engine="ray")).start()


def test_shards_have_the_settings_of_environments_and_not_those_of_clients() -> None:
    """What is reached by clients, and who may reach it, is the router's."""
    settings = Settings(
        engine="ray",
        imports=("ale_py",),
        call_timeout=7.0,
        shard_envs=3,
        api_key="a key of clients",
        tls_cert="cert.pem",
        shard_resources=("licence=0.5",),
        mcp_mode="play",
        openenv=("lake=FrozenLake-v1",),
        openenv_grace=7.0,
    )
    plan = plan_of(settings)["shards"]
    options = plan["options"]
    assert (options["imports"], options["call_timeout"], options["max_envs"]) == (("ale_py",), 7.0, 3)
    assert (options["mcp_mode"], options["openenv"], options["openenv_grace"]) == ("play", ("lake=FrozenLake-v1",), 7.0)
    assert not {"api_key", "tls_cert", "listen", "cors_origin", "ray_address", "shard_envs", "direct"} & set(options)
    assert Settings(**options).engine != "ray"
    assert plan["resources"] == {"licence": 0.5}
    assert plan_of(Settings(engine="ray", router_only=True))["shards"] is None


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: RayShard\n\tip: 10.0.0.7\nThe actor is dead because "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            DIED + "its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a "
            "connection error code 2. End of file. Some common causes include: (1) the process was killed by the OOM killer",
            "its process on node 10.0.0.7 was killed, by SIGKILL or for want of memory, or crashed (Ray: The actor is dead because its "
            "worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection "
            "error code 2. End of file.)",
        ),
        (
            DIED + "its node has died. Node Id: 76da",
            "node 10.0.0.7 was lost (Ray: The actor is dead because its node has died. Node Id: 76da)",
        ),
        ("Task was killed due to the node running low on memory.", "Ray ended it because node 10.0.0.7 ran low on memory"),
        (DIED + "it was killed by `ray.kill`.", "it was ended by Ray (ray.kill) on node 10.0.0.7"),
        ("The actor 69a3 is unavailable: RpcError: RPC error: Socket closed rpc_code: 14.", "node 10.0.0.7 does not answer"),
    ],
    ids=["killed", "node", "memory", "kill", "unavailable"],
)  # fmt: skip
def test_a_death_is_told_in_words(text: str, words: str) -> None:
    """Ray's own reason is quoted, without what may be the cause in general."""
    assert death_words(text, "10.0.0.7").startswith(words)
