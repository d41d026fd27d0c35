"""The directory of live instances."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..errors import TooManyInstancesError, TooManyLanesError, UnknownInstanceError
from ..runtime.shared.traffic import Traffic
from ..support.instance_keys import digest_of, instance_key
from .census import Census, Totals
from .closed import ClosedInstances
from .instance import Instance

if TYPE_CHECKING:
    from ..config import Settings
    from ..engines.base import Engine, Worker
    from ..errors import GymHttpServerError
    from ..runtime.idempotency import IdempotencyKey
    from ..runtime.messages import CreateRequest
    from .metadata import Metadata

logger = logging.getLogger(__name__)

MAX_REMEMBERED_IDS: Final = 1024
"""Maximum number of ids of idle and expired instances that are remembered, to tell clients why they are closed."""


class Instances:
    """The live instances of a server.

    Attributes:
        shard: what the ids of all begin with; empty outside a cluster.
        closed: the instances that were closed last.
        totals: counters of closed instances; their `traffic` is that of requests for no live instance.
        making: number of instances that are being made.
        has_lease: set when an instance with a lease is added.
    """

    def __init__(self, settings: Settings, engine: Engine, traffic: Traffic | None = None) -> None:
        self._settings = settings
        self.shard = settings.shard
        self.engine = engine
        self.totals = Totals(traffic or Traffic())
        self.closed = ClosedInstances()
        self._live: dict[str, Instance] = {}
        self.making = 0
        # Fair: who waits longest is next.
        self._creations = asyncio.Semaphore(settings.max_creations)
        self.has_lease = asyncio.Event()
        self._reaped: dict[str, UnknownInstanceError] = {}
        self._censuses: set[Census] = set()

    async def create(
        self,
        request: CreateRequest,
        call_timeout: float | None = None,
        metadata: Metadata | None = None,
        lease: float | None = None,
    ) -> Instance:
        """Make an environment and return its instance; without a `call_timeout` that of the settings holds.

        Raises:
            TooManyLanesError: the batch has more lanes than the settings allow.
            TooManyInstancesError: the settings allow no further instance; instances in creation count.
            GymHttpServerError: as `engines.base.Engine.create`.
        """
        if request.num_envs is not None and request.num_envs > self._settings.max_lanes:
            raise TooManyLanesError.of(request.num_envs, "max_lanes", self._settings.max_lanes)
        processes = request.num_envs if request.vectorization_mode == "async" else None
        if processes is not None and processes > self._settings.max_async_lanes:
            raise TooManyLanesError.of(processes, "max_async_lanes", self._settings.max_async_lanes)
        if not self.has_room:
            raise TooManyInstancesError.of(self._settings.max_envs)
        self.making += 1
        try:
            async with self._creations:
                instance_id = self._new_id()
                if self._settings.shard:
                    digest = digest_of(instance_key(self._settings.api_key, instance_id))
                    request = replace(request, key_digest=digest)
                worker = await self.engine.create(instance_id, request, call_timeout or self._settings.call_timeout)
            if request.interpreter is not None:
                worker.description = replace(worker.description, interpreter=request.interpreter.name)
            return self.add(instance_id, worker, metadata=metadata, lease=lease)
        finally:
            self.making -= 1

    def add(
        self,
        instance_id: str,
        worker: Worker,
        traffic: Traffic | None = None,
        metadata: Metadata | None = None,
        lease: float | None = None,
    ) -> Instance:
        """Add an environment and return its instance; the arguments are those of `Instance`."""
        instance = self._live[instance_id] = Instance(instance_id, self.engine.name, worker, traffic, metadata, lease)
        self.totals.created += 1
        if lease is not None:
            self.has_lease.set()
        return instance

    def traffic(self, instance_id: str) -> Traffic:
        """Return this process's counters of requests for an instance."""
        instance = self._live.get(instance_id)
        return self.totals.traffic if instance is None else instance.traffic

    def note_loss(self, instance_id: str, once: IdempotencyKey, error: GymHttpServerError) -> None:
        """Record the call during which an instance was lost, if it is live; see `Instance.note_loss`."""
        instance = self._live.get(instance_id)
        if instance is not None:
            instance.note_loss(once, error)

    def find(self, instance_id: str) -> Instance | None:
        """Return a live instance; None if there is none with that id."""
        return self._live.get(instance_id)

    def get(self, instance_id: str) -> Instance:
        """Return a live instance.

        Raises:
            UnknownInstanceError: there is none with that id.
        """
        try:
            return self._live[instance_id]
        except KeyError:
            raise self._unknown(instance_id) from None

    @property
    def has_room(self) -> bool:
        """Whether another instance may be made; those in creation count."""
        return len(self._live) + self.making < self._settings.max_envs

    def all(self) -> list[Instance]:
        """Return the live instances, the oldest first."""
        return list(self._live.values())

    async def census(self) -> Census:
        """Return the sums over all instances, those that are closed included."""
        census = Census(self.totals, self._live.values())
        self._censuses.add(census)
        try:
            await census.complete()
        finally:
            self._censuses.discard(census)
        return census

    async def close(
        self, instance_id: str, once: IdempotencyKey | None = None, why: str = "a client closed it"
    ) -> None:
        """Close an instance and forget it; the reason is for the log.

        Raises:
            KeyReusedError: another request for the instance had the key.
            UnknownInstanceError: there is none with that id, or another call closed it first.
        """
        instance = self.get(instance_id)
        closed_here = False
        try:
            await instance.close(once=once)
        finally:
            # If the call was cancelled while it waited, the environment lives on.
            if instance.state == "closed":
                closed_here = self._forget(instance_id, why)
        if not closed_here:
            raise self._unknown(instance_id)

    async def reap(self, instance: Instance) -> None:
        """Close an instance that is idle or whose lease has run out, and remember its id and the reason."""
        instance_id = instance.instance_id
        has_expired = instance.has_expired
        if has_expired and instance.lease.seconds is not None:
            self._reaped[instance_id] = UnknownInstanceError.expired(instance_id, instance.lease.seconds)
        else:
            self._reaped[instance_id] = UnknownInstanceError.idle(instance_id, self._settings.idle_timeout)
        if len(self._reaped) > MAX_REMEMBERED_IDS:
            del self._reaped[next(iter(self._reaped))]
        with contextlib.suppress(UnknownInstanceError):
            why = f"nobody has used it for {self._settings.idle_timeout:g} s (--idle-timeout)"
            if has_expired:
                why = f"nobody has used it or renewed its lease for {instance.lease.seconds:g} s"
            await self.close(instance_id, why=why)
            self.totals.expired += has_expired
            self.totals.reaped += not has_expired

    async def close_all(self) -> None:
        """Close all instances concurrently, without waiting for requests on clients' own connections."""
        instances = self.all()
        closings = (instance.close(at_once=True) for instance in instances)
        for instance, outcome in zip(instances, await asyncio.gather(*closings, return_exceptions=True), strict=True):
            self._forget(instance.instance_id, "the server stops")
            if isinstance(outcome, BaseException):
                names = {"instance_id": instance.instance_id}
                logger.error("closing an instance failed", exc_info=outcome, extra=names)

    def _forget(self, instance_id: str, why: str) -> bool:
        """Move a closed instance to the totals; return False if that was done before."""
        instance = self._live.pop(instance_id, None)
        if instance is None:
            return False
        for census in self._censuses:
            census.read(instance)
        self.totals.take(instance)
        self.closed.add(instance, why)
        steps, episodes, age = instance.steps, instance.episodes, instance.age
        logger.info(
            "instance %s is closed: %s; %s, %d steps, %d episodes, lived %.4g s",
            *(instance_id, why, instance.description.env_id, steps, episodes, age),
            extra={"instance_id": instance_id, "steps": steps, "episodes": episodes, "age": round(age, 3)},
        )
        return True

    def _unknown(self, instance_id: str) -> UnknownInstanceError:
        reaped = self._reaped.get(instance_id)
        return UnknownInstanceError.of(instance_id) if reaped is None else copy.copy(reaped)

    def _new_id(self) -> str:
        while (instance_id := self.shard + secrets.token_hex(4)[len(self.shard) :]) in self._live:
            pass
        return instance_id
