"""One live instance: an environment's handle, whose turn it is, and how much it has been used."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import CallTimeoutError, EnvironmentDiedError, GymHttpServerError, InstanceLostError, UnknownInstanceError
from ..runtime.idempotency import ONCE
from ..runtime.shared.traffic import Traffic, tallies
from .metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..engines.base import Returned, Worker
    from ..runtime.idempotency import IdempotencyKey
    from ..runtime.messages import Description, Reply
    from ..runtime.shared.traffic import Tally


class Instance:
    """One live environment, and how much it has been used.

    Args:
        instance_id: its name, 8 hex digits.
        engine: name of the engine that it runs in.
        worker: the handle on the environment.
        traffic: where to count how this process answers requests for it; None for memory of its own.
        metadata: what people call it.
        lease: seconds without a use or a renewal after which it is closed; None for any time.

    Attributes:
        created_at: moment in UTC.
        traffic: how this process answered requests for it.
        metadata: what people call it.
        lease: seconds without a use or a renewal after which it is closed; None for any time.
    """

    def __init__(
        self,
        instance_id: str,
        engine: str,
        worker: Worker,
        traffic: Traffic | None = None,
        metadata: Metadata | None = None,
        lease: float | None = None,
    ) -> None:
        self.instance_id = instance_id
        self.engine = engine
        self.created_at = datetime.now(UTC)
        self.traffic = traffic or Traffic()
        self.metadata = metadata or Metadata()
        self._used = self.created_at.timestamp()
        self.lease = lease
        self._made_at = self._renewed_at = self._idle_since = time.monotonic()
        self._worker = worker
        self._turn = Turn()
        self._closing = False
        self._last_words: tuple[IdempotencyKey, dict[str, Any]] | None = None
        self._was_lost = False

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
    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._made_at

    @property
    def last_used_at(self) -> datetime:
        """When the last call ended, in UTC."""
        # The environment's own process writes the one, which is third-party code.
        return datetime.fromtimestamp(max(self._used, min(self._worker.usage.used_at, time.time())), UTC)

    @property
    def idle_seconds(self) -> float:
        """How long nobody has used it; 0 while a call is under way or waits. A change of the clock does not count."""
        if self.state not in ("ready", "lost"):
            return 0.0
        now = time.monotonic()
        return now - max(self._idle_since, min(self._worker.usage.idle_since, now))

    @property
    def has_expired(self) -> bool:
        """Whether it has a lease that has run out."""
        return self.lease is not None and min(self.idle_seconds, time.monotonic() - self._renewed_at) >= self.lease

    def renew_lease(self) -> None:
        """Begin the time of its lease anew."""
        self._renewed_at = time.monotonic()

    @property
    def busy_since(self) -> datetime | None:
        """When the call under way began in the environment, in UTC, or None where there is none."""
        began = self._worker.usage.busy_since
        if began is None or self._worker.loss is not None:
            return None
        return datetime.fromtimestamp(time.time() - max(0.0, time.monotonic() - began), UTC)

    def tallies(self) -> list[Tally]:
        """Return how requests for it were answered, here and by its own process."""
        return list(tallies(self.counted))

    @property
    def counted(self) -> list[Traffic]:
        """Where requests for it are counted, here and by its own process."""
        return [each for each in (self.traffic, self._worker.traffic) if each is not None]

    @property
    def is_lost(self) -> bool:
        """Whether it died or was killed, but for its own closing."""
        return self._was_lost if self._closing else self._worker.loss is not None

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
                if self._last_words is not None and arguments.get(ONCE) == self._last_words[0]:
                    raise GymHttpServerError.from_wire(self._last_words[1])
                raise InstanceLostError.of(self.instance_id, self._worker.loss)
            try:
                return await self._worker.call(operation, arguments)
            except (EnvironmentDiedError, CallTimeoutError) as error:
                if ONCE in arguments:
                    self.note_loss(arguments[ONCE], error)
                raise
            finally:
                self._used = time.time()
                self._idle_since = time.monotonic()
        finally:
            self._turn.pass_on()

    def note_loss(self, once: IdempotencyKey, error: GymHttpServerError) -> None:
        """Note the keyed call that it was lost over, and what that is answered with, also when it comes again."""
        # In its plain form, because it would hold all that lived where it was raised.
        self._last_words = once, error.to_wire()

    def hand_over(self, connection: int, data: bytes, back: Callable[[Returned | None], None]) -> bool:
        """Give a client's connection to the environment's own process; see `engines.base.Worker.hand_over`.

        Not while there are calls: they would have it given back at once.
        """
        return not (self._closing or self._turn.taken) and self._worker.hand_over(connection, data, back)

    def recall(self) -> None:
        """Have the connection that was handed over given back as soon as the environment can."""
        self._worker.recall()

    async def close(self, *, at_once: bool = False, once: IdempotencyKey | None = None) -> None:
        """Close the environment after the calls that came before; those that come after find no instance.

        Args:
            at_once: not after one that the environment's own process serves.
            once: the request that this is for; None where it has no key.

        Raises:
            KeyReusedError: `once` has the key of one of those calls; the environment lives on.
        """
        await self._turn.take()
        try:
            if once is not None and not self._closing and self._worker.loss is None:
                # What its calls were answered is known beside it, as long as it lives.
                with contextlib.suppress(EnvironmentDiedError, CallTimeoutError, InstanceLostError):
                    await self._worker.call("claim", {ONCE: once})
            self._was_lost = self.is_lost
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
