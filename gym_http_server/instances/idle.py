"""Closes the instances that nobody has used for as long as the setting `idle_timeout` says, or whose lease has run out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .directory import Instances
    from .instance import Instance

logger = logging.getLogger(__name__)

LOOKS: Final = 10
"""How many looks there are within the time-out or a lease, so that none is closed later than a tenth of it."""
SHORTEST: Final = 0.05
LONGEST: Final = 60.0
"""Bounds of the seconds between two looks."""


class Reaper:
    """Looks for idle instances, and for leases that have run out, from `start` to `stop`. One that is lost counts as idle too.

    Args:
        instances: the live instances.
        timeout: seconds without use after which one is closed; 0 for never.
    """

    def __init__(self, instances: Instances, timeout: float) -> None:
        self._instances = instances
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None
        self._closings: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self, *, at_once: bool = False) -> None:
        """Look no more, and wait for the closings under way.

        Args:
            at_once: give them up instead.
        """
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        closings = list(self._closings.values())
        if at_once:
            for each in closings:
                each.cancel()
        await asyncio.gather(*closings, return_exceptions=True)

    async def _run(self) -> None:
        has_lease = self._instances.has_lease
        while True:
            limits = [each.lease for each in self._instances.all() if each.lease is not None]
            if self._timeout:
                limits.append(self._timeout)
            has_lease.clear()
            with contextlib.suppress(TimeoutError):
                # A new lease may be shorter than what is waited for.
                async with asyncio.timeout(seconds_between_looks(min(limits)) if limits else None):
                    await has_lease.wait()
            for instance in self._instances.all():
                if instance.instance_id not in self._closings and (instance.has_expired or self._is_idle(instance)):
                    # Each in a task of its own, for an environment may take its time to close.
                    closing = asyncio.get_running_loop().create_task(self._close(instance))
                    self._closings[instance.instance_id] = closing

    def _is_idle(self, instance: Instance) -> bool:
        return bool(self._timeout) and instance.idle_seconds >= self._timeout

    async def _close(self, instance: Instance) -> None:
        try:
            await self._instances.reap(instance)
        except Exception:
            logger.exception("closing the idle instance %s failed", instance.instance_id)
        finally:
            del self._closings[instance.instance_id]


def seconds_between_looks(timeout: float) -> float:
    """Return how often it is looked who is idle, for a time-out in seconds."""
    return min(max(timeout / LOOKS, SHORTEST), LONGEST)
