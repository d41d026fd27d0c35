"""Requests that make something: sent to a shard with room, and to the next one where that is full or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import ShardUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .cluster import Cluster
    from .connections import ConnectionPool
    from .exchanges import WholeReply
    from .shards import Shard

FULL: Final = (429, 503)
"""Statuses of a shard that has no room, or that ends."""


def is_full(reply: WholeReply) -> bool:
    """Return whether a shard has refused a request because it has no room."""
    return reply.status in FULL


async def choose(cluster: Cluster, exclude: frozenset[str] = frozenset()) -> Shard:
    """Return a shard with room, as `Shards.place`; where all are full, they are asked whether they still are."""
    if not any(shard.has_room and shard.prefix not in exclude for shard in cluster.shards.shards()):
        await cluster.looks.now()
    shard = await cluster.shards.place(exclude)
    cluster.note_placed(shard.prefix)
    return shard


async def place(
    cluster: Cluster,
    ask: Callable[[ConnectionPool], Awaitable[WholeReply]],
    *,
    is_refusal: Callable[[WholeReply], bool] = is_full,
    is_repeatable: bool = False,
) -> tuple[ConnectionPool, WholeReply]:
    """Return the reply of a shard with room, and the connections to it.

    Args:
        cluster: the cluster.
        ask: sends the request to a shard.
        is_refusal: whether a reply says that the shard is full.
        is_repeatable: whether the next shard is asked even where this one may have executed the request.

    Raises:
        NoShardError: no shard has room, and none can be started.
        ShardUnreachableError: the shard did not answer, and may have executed the request.
    """
    refused: set[str] = set()
    while True:
        shard = await choose(cluster, frozenset(refused))
        refused.add(shard.prefix)
        try:
            pool = cluster.pool_for(shard)
            if pool.failure:
                continue
            reply = await ask(pool)
            cluster.note_placed(shard.prefix)
        except ShardUnreachableError as error:
            cluster.report(shard.prefix)
            await cluster.shards.report(shard.prefix)
            # What it may have made is gone with it; if it lives, it may still be making it.
            if is_repeatable or "not executed" in error.detail or cluster.shards.loss(shard.prefix) is not None:
                continue
            raise
        if not is_refusal(reply):
            return pool, reply
