"""The counters of closed instances, and the census: sums over all instances, read a few at a time."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import time
from typing import TYPE_CHECKING, Final

from ..runtime.shared.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .instance import Instance

SLICE_SECONDS: Final = 0.001
"""Time for which instances are read before others are served."""


@dataclasses.dataclass(slots=True)
class Totals:
    """Counters since the server started, of closed instances but for `created`; they only grow.

    `traffic` includes requests for no instance. `lost` instances had been lost before, `reaped` ones were idle, and the lease
    of `expired` ones had run out. `open_websockets` shrinks, too.
    """

    traffic: Traffic
    created: int = 0
    closed: int = 0
    lost: int = 0
    reaped: int = 0
    expired: int = 0
    steps: int = 0
    episodes: int = 0
    websockets: int = 0
    websocket_messages: int = 0
    open_websockets: int = 0

    def copy(self) -> Totals:
        """Return counters of their own with the same values."""
        traffic = Traffic(operations=tuple(self.traffic.operations))
        traffic.add(self.traffic)
        return dataclasses.replace(self, traffic=traffic)

    def add(self, instance: Instance) -> None:
        """Add what an instance has counted."""
        self._add(instance, instance.counted)

    def take(self, instance: Instance) -> None:
        """Add a closed instance, and whatever it counts later."""
        self.closed += 1
        here, *elsewhere = instance.counted
        self._add(instance, elsewhere)
        # A request that waited for its turn is answered, and counted, after the end.
        here.join(self.traffic)

    def _add(self, instance: Instance, counted: Iterable[Traffic]) -> None:
        self.lost += instance.loss is not None
        self.steps += instance.steps
        self.episodes += instance.episodes
        self.websocket_messages += instance.usage.messages
        for traffic in counted:
            self.traffic.add(traffic)


class Census:
    """Sums over the instances that were closed before, and those that were live then, each of which is read once.

    An instance that is closed before its turn is read by who closes it, because it counts as the totals' afterwards.

    Args:
        totals: counters of the instances that are closed.
        live: the others.

    Attributes:
        totals: counters of all of them.
        states: number of live instances, by state.
    """

    def __init__(self, totals: Totals, live: Iterable[Instance]) -> None:
        self.totals = totals.copy()
        self.states: collections.Counter[str] = collections.Counter()
        self._unread = set(live)

    def read(self, instance: Instance) -> None:
        """Read an instance, if its turn is still to come."""
        if instance in self._unread:
            self._unread.remove(instance)
            state = instance.state
            self.states[state] += 1
            # One that is being closed counts as closed.
            self.totals.closed += state == "closed"
            self.totals.add(instance)

    async def complete(self) -> None:
        """Read all instances whose turn is still to come."""
        end = time.monotonic() + SLICE_SECONDS
        for instance in tuple(self._unread):
            self.read(instance)
            if time.monotonic() >= end:
                await asyncio.sleep(0)
                end = time.monotonic() + SLICE_SECONDS
