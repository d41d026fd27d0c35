"""The cluster as a router works with it: a pool of connections for each shard, their health, and what was seen of their instances."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from ..agents.shard_status import Load
from ..errors import (
    GymHttpServerError,
    InstanceLostError,
    ShardUnreachableError,
    UnknownInstanceError,
)
from ..support.instance_keys import instance_key
from .connections import ConnectionPool
from .exchanges import WholeReply, ask
from .looks import Looks, watch
from .shards import PREFIX_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Settings
    from .shards import Shard, Shards

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 1.0
"""Time after which shards that come or go are noticed without a request for one of them."""

SEEN_SECONDS: Final = 10.0
"""Minimum time between two looks at what instances a shard has, while requests change their number."""

MAX_IDLE_SECONDS: Final = 30.0
"""Time after which a connection to a shard without requests is closed, or half of what the shard keeps it (`keep_alive`)."""


class Cluster:
    """The shards of a cluster, with the connections to them.

    Args:
        settings: the router's settings.
        shards: the shards.

    Attributes:
        shards: the shards.
        key: the cluster's key, as it is sent.
        looks: asks the shards for their load.
    """

    def __init__(self, settings: Settings, shards: Shards) -> None:
        self.shards = shards
        self.key = b""
        self._idle_seconds = min(MAX_IDLE_SECONDS, settings.keep_alive / 2)
        self._pools: dict[str, ConnectionPool] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self.seen: dict[str, dict[str, Any]] = {}
        """What `listEnvs` of each shard told last, by prefix; it stays when the shard is lost."""
        self._seen_at: dict[str, float] = {}
        self._placed_at: dict[str, float] = {}
        self.looks = Looks(self.pools, lambda: self.key, self._answered)
        self._reports: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Join the cluster and watch its shards."""
        await self.shards.start()
        self.refresh()
        self._refreshing = asyncio.get_running_loop().create_task(self._keep_fresh())

    async def stop(self) -> None:
        """Close the connections and leave the cluster."""
        for task in (self._refreshing, *self._watches.values()):
            if task is not None:
                task.cancel()
        self._watches.clear()
        for pool in self._pools.values():
            pool.fail("the router stops")
        self._pools.clear()
        await self.shards.stop()

    def refresh(self) -> None:
        """Take up the shards that have come and drop those that are gone."""
        self.key = self.shards.key.encode()
        shards = {shard.prefix: shard for shard in self.shards.shards()}
        for prefix in [*self._pools]:
            if prefix not in shards or shards[prefix].url != self._pools[prefix].shard.url:
                reason = self.shards.loss(prefix) or "it has ended"
                self._pools.pop(prefix).fail(reason)
                if (task := self._watches.pop(prefix, None)) is not None:
                    task.cancel()
                if self.shards.loss(prefix) is None:
                    self.seen.pop(prefix, None)
        for prefix, shard in shards.items():
            if prefix in self._pools:
                self._pools[prefix].shard = shard
            else:
                self._pools[prefix] = ConnectionPool(shard)
                self._watches[prefix] = asyncio.get_running_loop().create_task(
                    watch(self._pools[prefix], self.key, self._answered, self._lose)
                )

    def pools(self) -> list[ConnectionPool]:
        """Return the pools of the shards that answer."""
        self.refresh()
        return [pool for pool in self._pools.values() if not pool.failure]

    def pool_of(self, instance_id: str) -> ConnectionPool:
        """Return the pool of the shard that an instance is on.

        Raises:
            UnknownInstanceError: no shard has or had its prefix.
            InstanceLostError: its shard is lost.
            ShardUnreachableError: its shard does not answer.
        """
        prefix = instance_id[:PREFIX_CHARS]
        pool = self._pools.get(prefix)
        if pool is None:
            self.refresh()
            pool = self._pools.get(prefix)
        if pool is None:
            loss = self.shards.loss(prefix)
            if loss is not None:
                raise InstanceLostError.of(instance_id, loss)
            raise UnknownInstanceError.of(instance_id)
        if pool.failure:
            raise ShardUnreachableError.of(prefix, pool.failure, was_sent=False)
        return pool

    async def any_pool(self, choice: str = "") -> ConnectionPool:
        """Return the pool of a shard that answers, the same for the same `choice`; start a shard if there is none.

        Raises:
            NoShardError: there is none, and none can be started.
        """
        pools = self.pools()
        if not pools:
            return self.pool_for(await self.shards.place())
        # Rendezvous hashing: most choices stay as they are when a shard comes or goes. Not Python's hash, which is salted.
        return max(pools, key=lambda pool: instance_key(choice or "any", pool.shard.prefix))

    def pool_for(self, shard: Shard) -> ConnectionPool:
        """Return the pool of a shard."""
        if shard.prefix not in self._pools:
            self.refresh()
        pool = self._pools.get(shard.prefix)
        if pool is None:
            raise ShardUnreachableError.of(shard.prefix, self.shards.loss(shard.prefix) or "it ended", was_sent=False)
        return pool

    def note_placed(self, prefix: str) -> None:
        """Take note that an instance is made on a shard: what that counted before is out of date."""
        self._placed_at[prefix] = asyncio.get_running_loop().time()

    def key_of(self, instance_id: str) -> bytes:
        """Return the key that a shard accepts for one instance alone: an environment's code may read what clients send it."""
        return instance_key(self.shards.key, instance_id).encode()

    async def ask_all(
        self, method: str, target: bytes, pools: Iterable[ConnectionPool] | None = None
    ) -> dict[str, WholeReply]:
        """Return the replies of all shards that answer, by prefix."""
        asked = list(self.pools() if pools is None else pools)
        replies = await asyncio.gather(*(self._ask(pool, method, target) for pool in asked))
        return {pool.shard.prefix: reply for pool, reply in zip(asked, replies, strict=True) if reply is not None}

    async def _ask(self, pool: ConnectionPool, method: str, target: bytes) -> WholeReply | None:
        try:
            return await ask(pool, method, target, key=self.key)
        except ShardUnreachableError:
            self.report(pool.shard.prefix)
            return None

    def report(self, prefix: str) -> None:
        """Have the cluster find out whether a shard lives that did not answer."""
        task = asyncio.get_running_loop().create_task(self._report(prefix))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, prefix: str) -> None:
        try:
            await self.shards.report(prefix)
        except GymHttpServerError as error:
            logger.warning("shard %s: %s", prefix, error.detail)
        self.refresh()

    async def list(self, pools: Iterable[ConnectionPool] | None = None) -> None:
        """Ask shards for their instances, and keep these in `seen`."""
        for prefix, reply in (await self.ask_all("GET", b"/v1/envs/", pools)).items():
            if reply.status == 200:
                self.seen[prefix] = json.loads(reply.body)
                self._seen_at[prefix] = time.monotonic()

    def lost(self) -> dict[str, dict[str, Any]]:
        """Return what was seen on the shards that are lost, by prefix."""
        losses = self.shards.status().losses
        return {prefix: seen for prefix, seen in self.seen.items() if prefix in losses and prefix not in self._pools}

    def forget(self, instance_id: str) -> None:
        """Forget a lost instance, because its client closed it."""
        seen = self.seen.get(instance_id[:PREFIX_CHARS], {})
        for members in seen.values():
            members.pop(instance_id, None)

    async def _keep_fresh(self) -> None:
        """Take up changes, and close connections that nobody uses."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self.refresh()
            for pool in self._pools.values():
                pool.close_idle(self._idle_seconds)

    def _answered(self, pool: ConnectionPool, reply: WholeReply, began: float) -> None:
        prefix = pool.shard.prefix
        if pool.failure:
            logger.info("shard %s answers again", prefix)
            pool.mend()
        if reply.status != 200:
            return
        with contextlib.suppress(ValueError, TypeError):
            load = Load(**json.loads(reply.body))
            instances = load.instances
            if self._placed_at.get(prefix, 0.0) < began:
                self.shards.count(prefix, load.taken)
            pool.load = load
            known = len(self.seen.get(prefix, {}).get("envs", ()))
            if known != instances and time.monotonic() > self._seen_at.get(prefix, 0.0) + SEEN_SECONDS:
                self._seen_at[prefix] = time.monotonic()
                task = asyncio.get_running_loop().create_task(self.list([pool]))
                self._reports.add(task)
                task.add_done_callback(self._reports.discard)

    def _lose(self, pool: ConnectionPool, reason: str) -> None:
        if not pool.failure:
            logger.warning("shard %s at %s does not answer: %s", pool.shard.prefix, pool.shard.url, reason)
            pool.fail(reason)
        self.report(pool.shard.prefix)
