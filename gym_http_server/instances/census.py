"""A census: sums over all instances, read a few at a time, so that the event loop serves others in between."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .directory import Totals
    from .instance import Instance

SLICE_SECONDS: Final = 0.001
"""Time for which instances are read before others are served."""


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
