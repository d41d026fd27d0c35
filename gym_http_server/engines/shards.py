"""The shards of a cluster, as a router sees them.

A shard is an ordinary server. The ids of its instances begin with its prefix, and it accepts the cluster's own key.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from typing import Final

PREFIX: Final = re.compile(r"[0-9a-f]{3}")
"""Matches the prefix of a shard, the first digits of the ids of its instances."""

PREFIX_CHARS: Final = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """One ordinary server of a cluster.

    Attributes:
        prefix: three hex digits, by which the ids of its instances begin; no other shard of the cluster ever had it.
        url: where routers and clients reach it, without a final slash.
        node: name of its node, for people.
        instances: number of its live instances, as last counted.
        room: maximum number of its instances (`max_envs`); 0 while it takes no new ones, because it ends.
    """

    prefix: str
    url: str
    node: str
    instances: int = 0
    room: int = 0

    @property
    def has_room(self) -> bool:
        """Whether it takes another instance, as far as is known."""
        return self.instances < self.room


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One machine of a cluster, for people.

    Attributes:
        name: its name.
        is_alive: whether it is.
        resources: what it has and what of that is free, as one line; empty if that is not known.
    """

    name: str
    is_alive: bool = True
    resources: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The state of a cluster, for the console, the metrics and `/v1/health`.

    Attributes:
        nodes: its machines.
        losses: why each shard that was there is gone, by prefix; not those that ended because they were idle.
        pending: number of shards that wait for a node with room.
        problem: why the cluster can take no new instance, in words for users, such as that its head ended; None if it can.
    """

    nodes: tuple[Node, ...] = ()
    losses: dict[str, str] = dataclasses.field(default_factory=dict)
    pending: int = 0
    problem: str | None = None


class Shards(abc.ABC):
    """The shards of one cluster. All methods run in the router's event loop; those that are not `async` do no I/O.

    **Room.** The limit of a shard is its own: it answers 429 where it is full and 503 where it ends, and the router then asks
    `place` again, without it. So that `place` chooses well, the router calls `count` with the number of places that are taken on a
    shard, which that tells each second, and after each creation. An implementation need not ask shards itself.

    **Loss.** The router finds out by itself that a shard does not answer, by its connections and by a request each second. It
    tells `report`, fails the calls under way, and goes on to ask `shards` and `loss` for what became of it. A shard is either in
    `shards()`, or has a `loss`, or is unknown, as one that ended because it was idle: then its instances are unknown, too.

    Args:
        key: the cluster's own key, which every shard accepts.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.counts: dict[str, int] = {}

    @abc.abstractmethod
    async def start(self) -> None:
        """Join the cluster; return when a router can serve, which may be before there is a shard.

        Raises:
            StartError: the cluster cannot be joined or started.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """Leave the cluster at the end of the router; idempotent. Whoever started it ends its shards, and they their instances."""

    @abc.abstractmethod
    def shards(self) -> list[Shard]:
        """Return the shards that are known and not known to be gone."""

    @abc.abstractmethod
    async def place(self, exclude: frozenset[str] = frozenset()) -> Shard:
        """Return a shard with room for another instance; start one where none has any.

        It also bounds its time, as the setting `call_timeout` bounds a creation.

        Args:
            exclude: prefixes of shards that refused this creation, or could not be reached.

        Raises:
            NoShardError: there is no room and none can be made, or the cluster has ended or is lost; it says which.
            GymHttpServerError: another reason, in words for the client.
        """

    @abc.abstractmethod
    def loss(self, prefix: str) -> str | None:
        """Return why a shard that was there is gone, as `node 10.0.0.7 was lost`; None for one that lives or never was."""

    @abc.abstractmethod
    async def report(self, prefix: str) -> None:
        """Take note that a shard did not answer the router, and find out whether it lives; return without waiting for long."""

    @abc.abstractmethod
    def status(self) -> ClusterStatus:
        """Return the state of the cluster."""

    def count(self, prefix: str, instances: int) -> None:
        """Take note of the number of places that are taken on a shard."""
        self.counts[prefix] = instances
