"""The fixed list of shards."""

from __future__ import annotations

import socket

import pytest

from gym_http_server.errors import NoShardError
from gym_http_server.router.shards import Shard, StaticShards


async def test_the_shard_with_the_fewest_instances_is_chosen() -> None:
    """Creations that come at once are spread, too."""
    shards = StaticShards(
        [Shard("001", "http://127.0.0.1:1", "a", 0, 4), Shard("002", "http://127.0.0.1:2", "b", 0, 4)], ""
    )
    placed = [(await shards.place()).prefix for _ in range(8)]
    assert placed.count("001") == placed.count("002") == 4
    with pytest.raises(NoShardError, match="as many instances as it may"):
        await shards.place()


async def test_a_shard_that_refused_is_left_out() -> None:
    """`exclude` has the prefixes of those that the router tried."""
    shards = StaticShards(
        [Shard("001", "http://127.0.0.1:1", "a", 0, 4), Shard("002", "http://127.0.0.1:2", "b", 3, 4)], ""
    )
    assert (await shards.place(frozenset(["001"]))).prefix == "002"


async def test_a_server_that_has_ended_is_lost_when_it_is_reported() -> None:
    """One that listens is not."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as ended:
        addresses = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (listening, ended)]
        ended.close()
        shards = StaticShards([Shard("001", addresses[0], "a", 0, 4), Shard("002", addresses[1], "b", 0, 4)], "")
        for prefix in ("001", "002", "003"):
            await shards.report(prefix)
    assert [shard.prefix for shard in shards.shards()] == ["001"]
    assert shards.loss("001") is None
    assert addresses[1] in (shards.loss("002") or "")
    assert [*shards.status().losses] == ["002"]
