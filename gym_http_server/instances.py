"""The directory of live instances: create, look up, call in order, close."""

from __future__ import annotations

import asyncio
import collections
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .errors import InstanceLostError, TooManyLanesError, UnknownInstanceError
from .runtime.traffic import Traffic, tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .config import Settings
    from .engines.base import Engine, Returned, Worker
    from .runtime.messages import CreateRequest, Description, Reply
    from .runtime.traffic import Tally

logger = logging.getLogger(__name__)


class Instance:
    """One live environment, and how much it has been used.

    Args:
        instance_id: its name, 8 hex digits.
        engine: name of the engine that it runs in.
        worker: the handle on the environment.
        traffic: where to count how this process answers requests for it; None for memory of its own.

    Attributes:
        created_at: moment in UTC.
        traffic: how this process answered requests for it.
    """

    def __init__(self, instance_id: str, engine: str, worker: Worker, traffic: Traffic | None = None) -> None:
        self.instance_id = instance_id
        self.engine = engine
        self.created_at = datetime.now(UTC)
        self.traffic = traffic or Traffic()
        self._used = self.created_at.timestamp()
        self._worker = worker
        self._turn = Turn()
        self._closing = False

    @property
    def description(self) -> Description:
        """What was made."""
        return self._worker.description

    @property
    def steps(self) -> int:
        """Environment steps since it was made."""
        return self._worker.usage.steps

    @property
    def episodes(self) -> int:
        """Episodes that have ended since it was made."""
        return self._worker.usage.episodes

    @property
    def last_used_at(self) -> datetime:
        """When the last call ended, in UTC."""
        # The environment's own process writes the one, which is third-party code.
        return datetime.fromtimestamp(max(self._used, min(self._worker.usage.used_at, time.time())), UTC)

    @property
    def busy_since(self) -> datetime | None:
        """When the call under way began in the environment, in UTC, or None where there is none."""
        began = self._worker.usage.busy_since
        if began is None or self._worker.loss is not None:
            return None
        return datetime.fromtimestamp(time.time() - max(0.0, time.monotonic() - began), UTC)

    def tallies(self) -> list[Tally]:
        """Return how requests for it were answered, here and by its own process."""
        return list(tallies([each for each in (self.traffic, self._worker.traffic) if each is not None]))

    @property
    def state(self) -> str:
        """`ready`, `busy`, `closed` or `lost`."""
        if self._closing:
            return "closed"
        if self._worker.loss is not None:
            return "lost"
        return "busy" if self._turn.taken or self._worker.usage.busy_since is not None else "ready"

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Have the environment serve an operation, after all calls that came before.

        Raises:
            UnknownInstanceError: it was closed while this call waited for its turn.
            InstanceLostError: it died or was killed earlier.
            GymHttpServerError: what the environment's side answers.
        """
        if not self._turn.take_at_once():
            await self._turn.take()
        try:
            if self._closing:
                raise UnknownInstanceError.of(self.instance_id)
            if self._worker.loss is not None:
                raise InstanceLostError.of(self.instance_id, self._worker.loss)
            try:
                return await self._worker.call(operation, arguments)
            finally:
                self._used = time.time()
        finally:
            self._turn.pass_on()

    def hand_over(self, connection: int, data: bytes, back: Callable[[Returned | None], None]) -> bool:
        """Give a client's connection to the environment's own process; see `engines.base.Worker.hand_over`.

        Not while there are calls: they would have it given back at once.
        """
        return not (self._closing or self._turn.taken) and self._worker.hand_over(connection, data, back)

    def recall(self) -> None:
        """Have the connection that was handed over given back as soon as the environment can."""
        self._worker.recall()

    async def close(self, *, at_once: bool = False) -> None:
        """Close the environment after the calls that came before; those that come after find no instance.

        Args:
            at_once: not after one that the environment's own process serves.
        """
        await self._turn.take()
        try:
            self._closing = True
            await self._worker.close(at_once=at_once)
        finally:
            self._turn.pass_on()


class Turn:
    """Whose turn it is: a lock that is given to those who wait in their order, and in no time where nobody does."""

    def __init__(self) -> None:
        self.taken = False
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    def take_at_once(self) -> bool:
        """Take it where it is free; return whether it was."""
        if self.taken:
            return False
        self.taken = True
        return True

    async def take(self) -> None:
        """Wait for it, after all who wait already."""
        if self.take_at_once():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            # It may have been given just before.
            if place.done() and not place.cancelled():
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give it to who waits longest, or to nobody."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken = False


class Instances:
    """The live instances of a server.

    Args:
        settings: the server's settings.
        engine: where instances run.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self.engine = engine
        self._live: dict[str, Instance] = {}

    async def create(self, request: CreateRequest, call_timeout: float | None = None) -> Instance:
        """Make an environment and return its instance.

        Raises:
            TooManyLanesError: the batch is to have more lanes than the settings allow.
            GymHttpServerError: as `engines.base.Engine.create`.
        """
        if request.num_envs is not None and request.num_envs > self._settings.max_lanes:
            raise TooManyLanesError.of(request.num_envs, "max_lanes", self._settings.max_lanes)
        processes = request.num_envs if request.vectorization_mode == "async" else None
        if processes is not None and processes > self._settings.max_async_lanes:
            raise TooManyLanesError.of(processes, "max_async_lanes", self._settings.max_async_lanes)
        instance_id = self._new_id()
        worker = await self.engine.create(instance_id, request, call_timeout or self._settings.call_timeout)
        return self.add(instance_id, worker)

    def add(self, instance_id: str, worker: Worker, traffic: Traffic | None = None) -> Instance:
        """Add an environment that has been made, and return its instance; see there for the arguments."""
        instance = self._live[instance_id] = Instance(instance_id, self.engine.name, worker, traffic)
        return instance

    def traffic(self, instance_id: str) -> Traffic | None:
        """Return where requests for a live instance are counted in this process."""
        instance = self._live.get(instance_id)
        return None if instance is None else instance.traffic

    def find(self, instance_id: str) -> Instance | None:
        """Return a live instance, or None where there is none of that id."""
        return self._live.get(instance_id)

    def get(self, instance_id: str) -> Instance:
        """Return a live instance.

        Raises:
            UnknownInstanceError: there is none of that id.
        """
        try:
            return self._live[instance_id]
        except KeyError:
            raise UnknownInstanceError.of(instance_id) from None

    def all(self) -> list[Instance]:
        """Return the live instances, the oldest first."""
        return list(self._live.values())

    async def close(self, instance_id: str) -> None:
        """Close an instance and forget it.

        Raises:
            UnknownInstanceError: there is none of that id, or another call closed it first.
        """
        instance = self.get(instance_id)
        closed_here = False
        try:
            await instance.close()
        finally:
            # Not where the call was given up before its turn came: the environment lives on.
            if instance.state == "closed":
                closed_here = self._live.pop(instance_id, None) is not None
        if not closed_here:
            raise UnknownInstanceError.of(instance_id)

    async def close_all(self) -> None:
        """Close every instance, all at the same time, when clients have had their time."""
        instances, self._live = self.all(), {}
        closings = (instance.close(at_once=True) for instance in instances)
        for outcome in await asyncio.gather(*closings, return_exceptions=True):
            if isinstance(outcome, BaseException):
                logger.error("closing an instance failed", exc_info=outcome)

    def _new_id(self) -> str:
        while (instance_id := secrets.token_hex(4)) in self._live:
            pass
        return instance_id
