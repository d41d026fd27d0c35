"""`RayShards`: the shards of a Ray cluster, as the router's process knows them through the driver's."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ...errors import EngineUnavailableError, NoShardError, StartError
from ...runtime.making.dependencies import REQUIREMENTS, pip_command
from ..shards import ClusterStatus, Node, Shard, Shards
from .driver_process import SILENT_SECONDS, DriverProcess
from .plan import plan_of

if TYPE_CHECKING:
    from ...config import Settings

logger = logging.getLogger(__name__)

FULL_SECONDS: Final = 20.0
"""Time after which a router serves although no node had room for the first shard."""
START_SECONDS: Final = 120.0
"""Maximum time for the driver to join or start a cluster."""
SHARD_START_SECONDS: Final = 60.0
"""Maximum time for the server of a shard to start that has found a node; it imports what --import says."""
RETRY_SECONDS: Final = 2.5
MAX_RETRY_SECONDS: Final = 40.0
"""Time between attempts to join a cluster again, which doubles from one to the next."""
LEAVE_SECONDS: Final = 3.0
"""Maximum time for the driver to leave a cluster that does not answer."""
STOP_SECONDS: Final = 15.0
"""Time after --shutdown-timeout in which the driver has ended the shards, a local Ray and itself."""


JOINING: Final = {
    "": "joining the Ray cluster that runs here, or else starting one",
    "auto": "joining the Ray cluster that runs here",
    "local": "starting a Ray cluster here",
}
"""What a router does at its start, by its `--ray-address`."""


class Outage(NamedTuple):
    """Why the directory does not answer.

    Attributes:
        words: the reason.
        is_end: whether the cluster has ended, and with it its shards.
    """

    words: str
    is_end: bool


class RayShards(Shards):
    """The shards of a Ray cluster.

    Args:
        settings: the router's settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__("")
        self._settings = settings
        # The driver
        self._driver = DriverProcess(plan_of(settings), self._take)
        self._running: asyncio.Task[None] | None = None
        # What it told
        self._state: dict[str, Any] | None = None
        self._outage: Outage | None = None
        self._shards: dict[str, Shard] = {}
        self._losses: dict[str, str] = {}
        """Why shards are gone; the directory may have been started anew meanwhile."""
        self._news = asyncio.Event()
        self._reported: dict[str, asyncio.Event] = {}
        self._waiting = 0

    # Life

    async def start(self) -> None:
        """Start the driver, join the cluster, and wait for the first shard where this router starts any.

        Raises:
            EngineUnavailableError: Ray is not installed.
            StartError: the cluster cannot be joined or started, or a shard cannot.
        """
        if not is_installed():
            raise EngineUnavailableError(
                f"--engine ray needs a package that is not installed: install it with: {pip_command(REQUIREMENTS['ray'])}"
            )
        address = self._settings.ray_address
        logger.info("%s; this takes some seconds", JOINING.get(address, f"joining the Ray cluster at {address}"))
        self._running = asyncio.ensure_future(self._run())
        try:
            await self._begin()
        except BaseException:
            await self.stop()
            raise

    async def _begin(self) -> None:
        """Wait for the cluster, and for the first shard unless all nodes are full."""
        began = time.monotonic()
        while (state := self._state) is None:
            if self._problem is not None:
                raise StartError(f"cannot join or start a Ray cluster: {self._problem}")
            if time.monotonic() - began > START_SECONDS:
                raise StartError(f"cannot join or start a Ray cluster: it did not answer within {START_SECONDS:g} s")
            await self._wait()
        began, failures = time.monotonic(), state["failures"]
        while not self._settings.router_only and not self._shards and (state := self._state) is not None:
            if state["failures"] != failures:
                raise StartError(f"a shard cannot start: {state['failure']}")
            waited = time.monotonic() - began
            if waited > (SHARD_START_SECONDS if state["starting"] else FULL_SECONDS):
                logger.warning(
                    "no shard has started yet: no node of the Ray cluster has room for one (%s)", self._wants()
                )
                return
            self._driver.send({"grow": 1})
            await self._wait()

    async def stop(self) -> None:
        """Leave the cluster; the last router that starts shards ends them, and one that started a local Ray ends that."""
        # Nobody closes anything in a cluster that has ended.
        seconds = LEAVE_SECONDS if self._problem else self._settings.shutdown_timeout + STOP_SECONDS
        await self._driver.leave(seconds, ends=not self._settings.router_only)
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        """Keep a driver running: one that ends before the router does is started anew."""
        seconds = RETRY_SECONDS
        while not self._driver.is_leaving:
            began = time.monotonic()
            problem = await self._driver.run()
            if self._driver.is_leaving:
                break
            self._take({"problem": self._problem or problem})
            if self._settings.ray_address == "local":
                self._lose_all(problem)
            # Ray takes a second of processor time to find out that nothing is there.
            seconds = (
                RETRY_SECONDS if time.monotonic() - began > MAX_RETRY_SECONDS else min(2 * seconds, MAX_RETRY_SECONDS)
            )
            await asyncio.sleep(seconds)

    def _take(self, message: dict[str, Any]) -> None:
        """Take note of what the driver wrote."""
        if "reported" in message:
            if (event := self._reported.pop(message["reported"], None)) is not None:
                event.set()
            return
        if "problem" in message and self._has_ended:
            return
        had_problem, had_ended = self._problem is not None, self._has_ended
        self._outage = Outage(message["problem"], message.get("ended", False)) if "problem" in message else None
        if self._state is not None and (had_problem, had_ended) != (self._problem is not None, self._has_ended):
            how = "is lost" if self._has_ended else "starts and ends no shards"
            logger.warning("the Ray cluster %s", f"{how}: {self._problem}" if self._problem else "answers again")
        if "state" in message:
            self._take_state(message["state"])
        self._tell()

    def _take_state(self, state: dict[str, Any]) -> None:
        if state["key"] != self.key:
            self._lose_all("the Ray cluster that it was in has ended")
        self._state, self.key = state, state["key"]
        shards = (Shard(prefix, url, node, instances, room) for prefix, url, node, room, instances in state["shards"])
        self._shards = {shard.prefix: shard for shard in shards}
        self.counts = {prefix: count for prefix, count in self.counts.items() if prefix in self._shards}
        self._losses |= state["losses"]
        for prefix in self._shards:
            self._losses.pop(prefix, None)

    def _lose_all(self, words: str) -> None:
        self._losses |= dict.fromkeys(self._shards, words)
        self._shards = {}

    # What is known

    @property
    def _problem(self) -> str | None:
        return None if self._outage is None else self._outage.words

    @property
    def _has_ended(self) -> bool:
        return self._outage is not None and self._outage.is_end

    def shards(self) -> list[Shard]:
        """Return the live shards with their counts."""
        counts = self.counts
        return [
            dataclasses.replace(shard, instances=counts.get(shard.prefix, shard.instances))
            for shard in self._shards.values()
        ]

    def loss(self, prefix: str) -> str | None:
        """Return why a shard is gone, as Ray has it."""
        return self._losses.get(prefix)

    def status(self) -> ClusterStatus:
        """Return the state of the cluster."""
        state = self._state
        if state is None:
            return ClusterStatus(problem=self._problem)
        nodes = tuple(
            Node(name, is_alive, ", ".join(f"{number:g} {what}" for what, number in sorted(resources.items())))
            for name, is_alive, resources in state["nodes"]
        )
        return ClusterStatus(nodes, dict(self._losses), state["pending"], self._problem if self._has_ended else None)

    # What is done

    async def place(self, exclude: frozenset[str] = frozenset()) -> Shard:
        """Return the shard with the fewest instances of those that have room; have one started where none has."""
        began = time.monotonic()
        failed_at = None if self._state is None else self._state["failures"]
        self._waiting += 1
        try:
            while True:
                if (state := self._state) is None or self._has_ended:
                    raise NoShardError.of(self._problem or "the Ray cluster is not joined yet")
                if (chosen := self._choose(exclude)) is not None:
                    return chosen
                if state["failures"] != failed_at:
                    raise NoShardError.of(f"a shard cannot start: {state['failure']}")
                self._check_wait(time.monotonic() - began, is_starting=state["starting"] > 0)
                self._driver.send({"grow": self._waiting})
                await self._wait()
        finally:
            self._waiting -= 1

    def _check_wait(self, seconds: float, *, is_starting: bool) -> None:
        """Raise NoShardError when a creation has waited for long enough."""
        limit = self._settings.shard_timeout
        if is_starting and seconds > limit + SHARD_START_SECONDS:
            raise NoShardError.of(f"a new shard did not start within {seconds:.0f} s")
        if not is_starting and seconds > limit:
            raise NoShardError.of(
                self._problem
                or f"no node of the Ray cluster had room for another shard ({self._wants()}) for {limit:g} s (--shard-timeout)"
            )

    def _choose(self, exclude: frozenset[str]) -> Shard | None:
        open_ones = [shard for shard in self.shards() if shard.has_room and shard.prefix not in exclude]
        if not open_ones:
            return None
        chosen = min(open_ones, key=lambda shard: shard.instances)
        # Before the reply of the shard: many are placed at once.
        self.count(chosen.prefix, chosen.instances + 1)
        return chosen

    def _wants(self) -> str:
        """Return what a shard asks a node for."""
        settings = self._settings
        texts = [f"{settings.shard_cpus:g} CPU"] if settings.shard_cpus else []
        texts += [f"{settings.shard_gpus:g} GPU"] if settings.shard_gpus else []
        return ", ".join([*texts, *settings.shard_resources]) or "nothing"

    async def report(self, prefix: str) -> None:
        """Have the directory ask the shard; without a cluster, see whether anything listens where the shard was."""
        shard = self._shards.get(prefix)
        if shard is None:
            return
        if self._problem is None:
            event = self._reported.setdefault(prefix, asyncio.Event())
            self._driver.send({"report": prefix})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENT_SECONDS):
                    await event.wait()
        elif not await _listens(shard.url):
            ended = f"its process on node {shard.node} ended, and why is not known because {self._problem}"
            self._losses[prefix] = f"{self._problem}" if self._has_ended else ended
            self._shards.pop(prefix, None)

    async def _wait(self) -> None:
        """Wait for news, at most a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def is_installed() -> bool:
    """Return whether Ray is."""
    return importlib.util.find_spec("ray") is not None


async def _listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
