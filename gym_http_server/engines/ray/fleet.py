"""`Fleet`: the shards of a cluster, as their directory starts, counts and ends them, and the nodes that they are on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError
from ray.util import list_named_actors

from .deaths import death_words
from .shard import RayShard

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

NAMESPACE: Final = "gym-http-server"
"""Ray's namespace of all actors of this project."""
ACTOR_NAME: Final = "shard-"
"""Beginning of the names of shards' actors, before the prefix."""
PREFIXES: Final = 4096
"""Number of prefixes of three hex digits."""

TICK_SECONDS: Final = 1.0
PING_SECONDS: Final = 2.0
"""Time in which a shard answers, after which one that a router reported counts as lost."""
ADOPT_SECONDS: Final = 15.0
"""Time in which a shard answers a new directory, which would not know of it else."""
DRAIN_SECONDS: Final = 3.0
"""Time between the word that an idle shard ends and its end: routers hear of it meanwhile, and what they placed arrives."""
LEARN_SECONDS: Final = 40.0
"""Maximum time for Ray to say why a shard that does not answer is gone; it waits 14 s for a node."""
STOP_SECONDS: Final = 10.0
"""Time after --shutdown-timeout in which a shard has ended."""


@dataclass(eq=False)
class ShardEntry:
    """What the directory knows of a shard.

    Attributes:
        url: where it is reached; empty while it waits for a node or starts.
        node: its node; empty while it waits for one with room.
        is_draining: whether it takes no new instances, because it ends when it has none.
        is_ending: whether its server ends.
        changed: when its state began, which is pending, idle, in use or draining.
    """

    prefix: str
    actor: Any
    room: int
    url: str = ""
    node: str = ""
    instances: int = 0
    is_draining: bool = False
    is_ending: bool = False
    changed: float = field(default_factory=time.monotonic)


class Fleet:
    """The shards.

    Args:
        tell: called when something has changed that routers want to know.

    Attributes:
        key: the cluster's key.
        shards: the shards that are there, start, or wait for a node, by prefix.
        losses: why shards are gone, by prefix; not those that ended because they were idle.
        failure: why the latest shard could not be started; empty after one could.
        failures: number of shards that could not be started.
        failed_at: when the latest could not.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self.key = secrets.token_urlsafe(32)
        self._is_durable = bool(os.environ.get("RAY_REDIS_ADDRESS"))
        # Shards
        self.shards: dict[str, ShardEntry] = {}
        self._used: dict[str, None] = {}
        """Prefixes that were given, in their order."""
        self.losses: dict[str, str] = {}
        self.failure = ""
        self.failures = 0
        self.failed_at = -math.inf
        # Nodes, by id
        self._nodes: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def adopt(self) -> None:
        """Find the shards that are there, because the directory was started anew."""

        async def find(name: str) -> None:
            with contextlib.suppress(RayError, ValueError, TimeoutError):
                actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
                async with asyncio.timeout(ADOPT_SECONDS):
                    about = await actor.about.remote()
                self.key = about["key"]
                self._add(ShardEntry(about["prefix"], actor, about["room"], about["url"], about["node"]))

        actors = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        names = [each["name"] for each in actors if each["namespace"] == NAMESPACE]
        await asyncio.gather(*(find(name) for name in names if name.startswith(ACTOR_NAME)))
        await self.read_nodes()

    # Starting

    def start_shard(self, plan: dict[str, Any]) -> None:
        """Have Ray place and start a shard."""
        prefix = self._new_prefix()
        actor = (
            ray.remote(RayShard)
            .options(
                name=f"{ACTOR_NAME}{prefix}",
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=plan["cpus"],
                num_gpus=plan["gpus"],
                resources=plan["resources"],
                scheduling_strategy="SPREAD",
                max_restarts=0,
                max_concurrency=1000,
            )
            .remote(prefix, plan["options"], self.key, plan["directory"], is_durable=self._is_durable)
        )
        self._add(ShardEntry(prefix, actor, plan["envs"]))
        self._tell()

    def _new_prefix(self) -> str:
        free = [prefix for number in range(PREFIXES) if (prefix := f"{number:03x}") not in self._used]
        if free:
            prefix = secrets.choice(free)
        else:
            # All were used: the one whose shard has been gone for the longest time.
            prefix = next(prefix for prefix in self._used if prefix not in self.shards)
            del self._used[prefix]
        self.losses.pop(prefix, None)
        return prefix

    def _add(self, entry: ShardEntry) -> None:
        self.shards[entry.prefix] = entry
        self._used[entry.prefix] = None
        self._run(self._keep(entry))

    async def _keep(self, entry: ShardEntry) -> None:
        """Start a shard and wait for its end."""
        is_known = True
        try:
            # This returns when Ray has found a node with room.
            entry.node = (await entry.actor.about.remote())["node"]
            self._tell()
            about = await entry.actor.start.remote()
            if "error" in about:
                self._fail(entry, about["error"])
                return
            entry.url, entry.changed = about["url"], time.monotonic()
            self.failure = ""
            self._tell()
            words = await self._until_end(entry)
        except RayError as error:
            words, is_known = death_words(error, self.node_name(entry.node)), isinstance(error, ActorDiedError)
            if not entry.url:
                self._fail(entry, words)
                return
        if entry.is_draining:
            self._forget(entry)
        else:
            self._lose(entry, words, is_known=is_known)

    async def _until_end(self, entry: ShardEntry) -> str:
        """Wait for the end of a shard; a connection that breaks may be of one that lives."""
        while True:
            try:
                return str(await entry.actor.ended.remote())
            except ActorUnavailableError as error:
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        await entry.actor.ping.remote()
                except TimeoutError:
                    raise error from None

    def _fail(self, entry: ShardEntry, words: str) -> None:
        """Take note that a shard could not be started."""
        if self.shards.get(entry.prefix) is entry and not entry.is_draining:
            self.failure, self.failed_at = words, time.monotonic()
            self.failures += 1
            logger.warning("shard %s cannot be started: %s", entry.prefix, words)
        self._forget(entry)

    # Loss

    async def report(self, prefix: str) -> None:
        """Find out whether a shard lives that did not answer a router; it is lost if it does not answer here, too."""
        entry = self.shards.get(prefix)
        if entry is None or not entry.url:
            return
        node = self.node_name(entry.node)
        try:
            async with asyncio.timeout(PING_SECONDS):
                await entry.actor.ping.remote()
        except TimeoutError:
            self._lose(entry, f"node {node} does not answer", is_known=False)
        except RayError as error:
            self._lose(entry, death_words(error, node), is_known=isinstance(error, ActorDiedError))

    def _lose(self, entry: ShardEntry, words: str, *, is_known: bool) -> None:
        if self.shards.get(entry.prefix) is entry:
            self.losses[entry.prefix] = words
            logger.warning("shard %s is lost: %s", entry.prefix, words)
            del self.shards[entry.prefix]
            self._tell()
            if is_known:
                ray.kill(entry.actor)
            else:
                self._run(self._learn(entry))

    async def _learn(self, entry: ShardEntry) -> None:
        """Wait for what Ray says of a lost shard, which takes a while where a node is lost; then end what may be left of it."""
        end = time.monotonic() + LEARN_SECONDS
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await entry.actor.ping.remote()
            except ActorDiedError as error:
                self.losses[entry.prefix] = death_words(error, self.node_name(entry.node))
                self._tell()
                return
            except (RayError, TimeoutError):
                pass
            await asyncio.sleep(TICK_SECONDS)
        ray.kill(entry.actor)

    # Ending

    async def end(self, entry: ShardEntry, seconds: float) -> None:
        """Close the instances of a shard within some seconds, and end it."""
        entry.is_draining = entry.is_ending = True
        with contextlib.suppress(RayError, TimeoutError):
            if entry.url:
                async with asyncio.timeout(seconds + STOP_SECONDS):
                    await entry.actor.stop.remote()
        self._forget(entry)

    def end_idle(self, idle: float, kept: int) -> None:
        """End shards without instances and those that wait for a node although nobody asks for them, but keep some."""
        now = time.monotonic()
        staying = sum(not entry.is_draining for entry in self.shards.values())
        for entry in [entry for entry in self.shards.values() if not entry.is_ending]:
            quiet = now - entry.changed
            if not entry.is_draining:
                if idle and not entry.instances and quiet > idle and staying > kept:
                    staying -= 1
                    entry.is_draining, entry.changed = True, now
                    self._tell()
            elif entry.instances:
                entry.is_draining, entry.changed = False, now
                self._tell()
            elif quiet > DRAIN_SECONDS:
                self._run(self.end(entry, STOP_SECONDS))

    def _forget(self, entry: ShardEntry) -> None:
        if self.shards.get(entry.prefix) is entry:
            del self.shards[entry.prefix]
            self._tell()
            ray.kill(entry.actor)

    # Looking

    async def look(self) -> None:
        """Count the instances of each shard, and read the nodes."""
        await asyncio.gather(self.read_nodes(), *(self._count(entry) for entry in list(self.shards.values())))

    async def _count(self, entry: ShardEntry) -> None:
        if not entry.url:
            return
        try:
            async with asyncio.timeout(PING_SECONDS):
                instances = await entry.actor.ping.remote()
        except (RayError, TimeoutError):
            return
        if bool(instances) != bool(entry.instances):
            entry.changed = time.monotonic()
        entry.instances = instances

    async def read_nodes(self) -> None:
        """Read which nodes there are."""
        nodes = {each["NodeID"]: each for each in await asyncio.to_thread(ray.nodes)}
        if nodes != self._nodes:
            self._nodes = nodes
            self._tell()

    def node_name(self, node_id: str) -> str:
        """Return the name of a node; of several that are called alike, as on one machine, with the beginning of its id."""
        node = self._nodes.get(node_id)
        if node is None:
            return node_id[:8] or "of the shard"
        name = name_of(node)
        is_unique = [name_of(each) for each in self._nodes.values()].count(name) == 1
        return name if is_unique else f"{name} ({node_id[:8]})"

    def state(self) -> dict[str, Any]:
        """Return what routers are told."""
        return {
            "key": self.key,
            "durable": self._is_durable,
            "shards": [
                [
                    entry.prefix,
                    entry.url,
                    self.node_name(entry.node),
                    0 if entry.is_draining else entry.room,
                    entry.instances,
                ]
                for entry in self.shards.values()
                if entry.url
            ],
            "pending": sum(not entry.node for entry in self.shards.values()),
            "starting": sum(bool(entry.node) and not entry.url for entry in self.shards.values()),
            "losses": self.losses,
            "failure": self.failure,
            "failures": self.failures,
            "nodes": [
                [self.node_name(node_id), node["Alive"], {k: node["Resources"][k] for k in ("CPU", "GPU") if k in node["Resources"]}]
                for node_id, node in self._nodes.items()
            ],
        }  # fmt: skip

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def name_of(node: dict[str, Any]) -> str:
    """Return the name that a node was given, or its address."""
    return str(node.get("NodeName") or node["NodeManagerAddress"])
