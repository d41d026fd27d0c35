"""The shards that a router is given: a fixed list of servers."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..engines.shards import PREFIX, PREFIX_CHARS, ClusterStatus, Node, Shard, Shards
from ..errors import NoShardError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PREFIX", "PREFIX_CHARS", "ClusterStatus", "Node", "Shard", "Shards", "StaticShards"]


class StaticShards(Shards):
    """A fixed list of servers that somebody else starts and ends.

    Args:
        shards: the servers.
        key: the key that all of them accept.
    """

    def __init__(self, shards: Iterable[Shard], key: str) -> None:
        super().__init__(key)
        self._shards = {shard.prefix: shard for shard in shards}
        self._losses: dict[str, str] = {}

    async def start(self) -> None:
        """Do nothing: they run."""

    async def stop(self) -> None:
        """Do nothing: they run on."""

    def shards(self) -> list[Shard]:
        """Return the servers that are not lost."""
        counts = self.counts
        return [
            dataclasses.replace(shard, instances=counts.get(shard.prefix, shard.instances))
            for shard in self._shards.values()
        ]

    async def place(self, exclude: frozenset[str] = frozenset()) -> Shard:
        """Return the server with the fewest instances of those that have room."""
        open_ones = [shard for shard in self.shards() if shard.has_room and shard.prefix not in exclude]
        if not open_ones:
            raise NoShardError.of("every server has as many instances as it may, or does not answer")
        chosen = min(open_ones, key=lambda shard: shard.instances)
        # Before the reply of the shard: many are placed at once.
        self.count(chosen.prefix, chosen.instances + 1)
        return chosen

    def loss(self, prefix: str) -> str | None:
        """Return why a server is gone."""
        return self._losses.get(prefix)

    async def report(self, prefix: str) -> None:
        """Count the server as lost if nothing listens where it was."""
        shard = self._shards.get(prefix)
        if shard is None:
            return
        address = urlsplit(shard.url)
        try:
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection(address.hostname, address.port)
        except TimeoutError:
            return
        except OSError as error:
            self._shards.pop(prefix, None)
            self._losses[prefix] = f"the server at {shard.url} has ended ({error.strerror or error})"
        else:
            writer.close()

    def status(self) -> ClusterStatus:
        """Return the nodes of the servers, and what was lost."""
        names = dict.fromkeys(shard.node for shard in self._shards.values())
        return ClusterStatus(tuple(Node(name) for name in names), dict(self._losses))
