"""`Directory`: the actor that routers ask which shards there are, and that has them started and ended.

There is one in a cluster, on the node of Ray's head, with whose end the cluster ends anyway. Ray starts it anew if its process
dies; it then asks the shards, which are named actors, what they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import time
from typing import Any, Final

import ray

from .fleet import STOP_SECONDS, TICK_SECONDS, Fleet

DIRECTORY_NAME: Final = "directory"
ROUTER_SECONDS: Final = 10.0
"""Time without a call after which a router counts as gone."""
RETRY_SECONDS: Final = 5.0
"""Time after a failed start before another shard is started unasked."""


class Directory:
    """The actor. What it returns is plain values, which `driver.py` passes on as JSON."""

    def __init__(self) -> None:
        # Shards
        self._fleet = Fleet(self._tell)
        self._plan: dict[str, Any] | None = None
        """How shards are started, as the latest router that starts any has it."""
        # Routers
        self._routers: dict[str, float] = {}
        self._last_router = time.monotonic()
        self._is_unwanted = False
        """Whether the latest router that stopped would have ended the shards."""
        # Who waits for news
        self._version = 1
        self._news = asyncio.Event()
        # Its own life
        self._begun: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._is_ending = False

    # What routers call

    async def join(self, router: str, plan: dict[str, Any] | None, version: str) -> dict[str, Any]:
        """Take note of a router, and of how shards are started if it starts any; return an `error` or the state."""
        await self._begin()
        if self._is_ending:
            return {"ending": True}
        if version != (own := own_version()):
            return {
                "error": f"the cluster runs gym-http-server {own}, and this is {version}: end one, or use another Ray"
            }
        if plan is None and self._plan is None and not self._fleet.shards:
            return {"error": "no gym-http-server --engine ray runs in this Ray cluster: start one, which starts shards"}
        self._plan = plan or self._plan
        self._is_unwanted = False
        self._heard(router)
        return self._state()

    async def watch(self, router: str, version: int, seconds: float) -> dict[str, Any]:
        """Return the state when it is newer than `version`, or after some time."""
        self._heard(router)
        if self._version == version:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        return self._state()

    async def grow(self, wanted: int) -> None:
        """Start shards for `wanted` instances that no shard has room for, unless as many are starting."""
        plan = self._plan
        if plan is None or self._is_ending:
            return
        pending = [entry for entry in self._fleet.shards.values() if not entry.url and not entry.is_draining]
        for entry in pending:
            entry.changed = time.monotonic()
        for _ in range(math.ceil(wanted / plan["envs"]) - len(pending)):
            self._fleet.start_shard(plan)

    async def report(self, prefix: str) -> None:
        """Find out whether a shard lives that did not answer a router."""
        await self._fleet.report(prefix)

    async def leave(self, router: str, ends: bool) -> None:
        """Take note that a router stops; if it was the last and `ends`, end all shards and wait for that."""
        await self._begin()
        self._routers.pop(router, None)
        self._is_unwanted = ends
        await self._end_unwanted()

    # Looking after

    async def _begin(self) -> None:
        """Find the shards that are there, once, and look after them."""
        if self._begun is None:
            self._begun = asyncio.ensure_future(self._fleet.adopt())
        await self._begun
        if self._tending is None:
            self._tending = asyncio.ensure_future(self._tend())

    async def _end_unwanted(self) -> None:
        """End all shards if the routers stopped; those that were only killed may be started again and find them."""
        if self._is_unwanted and not self._routers:
            self._is_ending = True
            seconds = STOP_SECONDS if self._plan is None else self._plan["options"]["shutdown_timeout"]
            await asyncio.gather(*(self._fleet.end(entry, seconds) for entry in list(self._fleet.shards.values())))

    async def _tend(self) -> None:
        """Once a second: count instances, end what is idle, start the first shard, and end with the last router."""
        while not (self._is_ending and not self._fleet.shards):
            await asyncio.sleep(TICK_SECONDS)
            await self._fleet.look()
            now = time.monotonic()
            self._routers = {router: heard for router, heard in self._routers.items() if now - heard <= ROUTER_SECONDS}
            await self._end_unwanted()
            if self._routers:
                self._last_router = now
            idle = 0.0 if self._plan is None else self._plan["idle"]
            if self._plan is not None and not self._is_ending:
                # Not all requests are of an instance: routers need a shard.
                self._fleet.end_idle(idle, kept=1 if self._routers else 0)
                if self._routers and not self._fleet.shards and now - self._fleet.failed_at > RETRY_SECONDS:
                    self._fleet.start_shard(self._plan)
            if not self._fleet.shards and now - self._last_router > max(ROUTER_SECONDS, idle):
                self._is_ending = True
        # Time for the last router to hear that all have ended.
        await asyncio.sleep(TICK_SECONDS)
        # Not `exit_actor`, which is for methods that Ray called. Its name is free for the next then.
        ray.kill(ray.get_runtime_context().current_actor)

    def _heard(self, router: str) -> None:
        self._routers[router] = self._last_router = time.monotonic()

    def _tell(self) -> None:
        self._version += 1
        self._news.set()
        self._news = asyncio.Event()

    def _state(self) -> dict[str, Any]:
        # One that was started anew knows nothing until a router joins it.
        is_ending = self._is_ending or self._tending is None
        return {"version": self._version, "ending": is_ending, **self._fleet.state()}


def own_version() -> str:
    """Return the version of this package."""
    return str(importlib.import_module(__package__.partition(".")[0]).__version__)
