"""One live instance: the order of its calls, its use, its lease and its end."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from ..errors import (
    CallTimeoutError,
    EnvironmentDiedError,
    EnvironmentRaisedError,
    GymHttpServerError,
    InstanceLostError,
    UnknownInstanceError,
)
from ..runtime.idempotency import ONCE
from ..runtime.messages import is_descriptor
from ..runtime.shared.traffic import Traffic
from .metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..engines.base import Lender, Worker
    from ..runtime.idempotency import IdempotencyKey
    from ..runtime.messages import Description, Reply
    from ..runtime.shared.usage import Usage


_SPACE_NAMES: Final = ("action_space", "observation_space")
_HOLD_MEMBERS: Final = {"mode": str, "name": str | None, "until": str, "seconds": float | int}
"""Members of an announced hold, with their types."""


class Instance:
    """A live environment.

    Args:
        instance_id: 8 hex digits.
        engine: name of the engine that it runs in.
        worker: the handle on the environment.
        traffic: counters of the requests that this process answers.
        metadata: its name and labels.
        lease: seconds, see `Lease`.
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
        # What it is
        self.instance_id = instance_id
        self.engine = engine
        self.metadata = metadata or Metadata()
        self._worker = worker
        # Its use; moments are seconds of Unix time and of the monotonic clock
        self.traffic = traffic or Traffic()
        self.lease = Lease(lease)
        self.hold = AnnouncedHold()
        self._made = self._used = time.time(), time.monotonic()
        self._turn = Turn()
        # Its end
        self._loss_before: str | None = None
        """Why it was lost before it was closed, empty if it was not; None until then."""
        self._last_words: tuple[IdempotencyKey, dict[str, Any]] | None = None

    @property
    def description(self) -> Description:
        """The environment."""
        return self._worker.description

    async def read_spaces(self) -> Description:
        """Return the description with the spaces of now, for which the environment is asked only if they have changed.

        Raises:
            GymHttpServerError: as `call`.
        """
        changes = self._worker.usage.space_changes
        if changes != self._worker.known_space_changes and self.loss is None:
            told = orjson.loads((await self.call("spaces", {})).body)
            # Third-party code runs in the process that answered.
            if not isinstance(told, dict) or not all(is_descriptor(told.get(name)) for name in _SPACE_NAMES):
                raise EnvironmentRaisedError("the environment's process described its spaces in an unknown form")
            spaces = {name: told[name] for name in _SPACE_NAMES}
            self._worker.description = replace(self.description, **spaces)
            self._worker.known_space_changes = changes
        return self.description

    @property
    def steps(self) -> int:
        """Number of environment steps."""
        return self._worker.usage.steps

    @property
    def episodes(self) -> int:
        """Number of ended episodes."""
        return self._worker.usage.episodes

    @property
    def created_at(self) -> datetime:
        """When it was created, in UTC."""
        return datetime.fromtimestamp(self._made[0], UTC)

    @property
    def age(self) -> float:
        """Seconds since it was created."""
        return time.monotonic() - self._made[1]

    @property
    def last_used_at(self) -> datetime:
        """When the last call ended, in UTC."""
        # The usage is written by the environment's process, which is third-party code.
        return datetime.fromtimestamp(max(self._used[0], min(self._worker.usage.used_at, time.time())), UTC)

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last call ended; 0 while a call is in execution or waits."""
        if self.state not in ("ready", "lost"):
            return 0.0
        now = time.monotonic()
        return now - max(self._used[1], min(self._worker.usage.idle_since, now))

    @property
    def has_expired(self) -> bool:
        """Whether its lease has run out."""
        return self.lease.seconds is not None and min(self.idle_seconds, self.lease.age) >= self.lease.seconds

    @property
    def busy_since(self) -> datetime | None:
        """When the call in execution began in the environment, in UTC; None if there is none."""
        began = self._worker.usage.busy_since
        if began is None or self._worker.loss is not None:
            return None
        return datetime.fromtimestamp(time.time() - max(0.0, time.monotonic() - began), UTC)

    @property
    def usage(self) -> Usage:
        """What its process counts."""
        return self._worker.usage

    @property
    def counted(self) -> list[Traffic]:
        """The counters of the server and, if there are any, of the environment's process."""
        return [traffic for traffic in (self.traffic, self._worker.traffic) if traffic is not None]

    @property
    def loss(self) -> str | None:
        """Why the environment died or was killed before it was closed; None if it did not."""
        return self._worker.loss if self._loss_before is None else self._loss_before or None

    @property
    def state(self) -> str:
        """`ready`, `busy`, `closed` or `lost`."""
        if self._loss_before is not None:
            return "closed"
        if self._worker.loss is not None:
            return "lost"
        return "busy" if self._turn.taken or self._worker.usage.busy_since is not None else "ready"

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Execute an operation, after all earlier calls.

        Raises:
            UnknownInstanceError: the instance was closed while this call waited.
            InstanceLostError: the environment died or was killed earlier.
            GymHttpServerError: as `engines.base.Worker.call`.
        """
        if not self._turn.take_at_once():
            await self._turn.take()
        try:
            if self._loss_before is not None:
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
                self._used = time.time(), time.monotonic()
        finally:
            self._turn.pass_on()

    def note_loss(self, once: IdempotencyKey, error: GymHttpServerError) -> None:
        """Record the error of the call during which the environment was lost: a retry with that key gets it again."""
        # As plain values: the traceback of the error would keep descriptors open.
        self._last_words = once, error.to_wire()

    def hand_over(self, connection: int, data: bytes, lender: Lender) -> bool:
        """Give a client's connection to the environment's process; see `engines.base.Worker.hand_over`."""
        return self._loss_before is None and self._worker.hand_over(connection, data, lender)

    def recall(self) -> None:
        """Ask the environment's process for clients' connections."""
        self._worker.recall()

    async def close(self, *, at_once: bool = False, once: IdempotencyKey | None = None) -> None:
        """Close the environment after all earlier calls; later calls find no instance.

        Args:
            at_once: do not wait for a request on a client's own connection.
            once: the idempotency key of the request; None without one.

        Raises:
            KeyReusedError: an earlier call had the key; the environment lives on.
        """
        await self._turn.take()
        try:
            if once is not None and self._loss_before is None and self._worker.loss is None:
                # The keys of calls are recorded in the environment's process.
                with contextlib.suppress(EnvironmentDiedError, CallTimeoutError, InstanceLostError):
                    await self._worker.call("claim", {ONCE: once})
            self._loss_before = self.loss or ""
            await self._worker.close(at_once=at_once)
        finally:
            self._turn.pass_on()


class Lease:
    """The seconds that an instance lives without a use or a renewal; None for no limit."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin the time anew."""
        self._renewed_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last renewal."""
        return time.monotonic() - self._renewed_at


class AnnouncedHold:
    """Who holds an instance, as its environment told with its last reply about it."""

    def __init__(self) -> None:
        self._state: Mapping[str, Any] | None = None
        self._ends_at = 0.0

    def note(self, announced: Any) -> None:
        """Note the `announced` of a reply: third-party code runs in the process that sent it."""
        is_right = isinstance(announced, dict) and all(
            isinstance(announced.get(name), kinds) for name, kinds in _HOLD_MEMBERS.items()
        )
        self._state = {name: announced[name] for name in ("mode", "name", "until")} if is_right else None
        self._ends_at = time.monotonic() + float(announced["seconds"]) if is_right else 0.0

    @property
    def state(self) -> Mapping[str, Any] | None:
        """`mode`, `name` and `until`; None if nobody holds it."""
        return self._state if time.monotonic() < self._ends_at else None


class Turn:
    """A fair lock that costs nearly nothing while nobody waits."""

    def __init__(self) -> None:
        self.taken = False
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    def take_at_once(self) -> bool:
        """Take the lock if it is free; return whether it was."""
        if self.taken:
            return False
        self.taken = True
        return True

    async def take(self) -> None:
        """Take the lock after everybody who waits already."""
        if self.take_at_once():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            # The lock may have been passed on here just before.
            if place.done() and not place.cancelled():
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Pass the lock to who waits longest, or release it."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken = False
