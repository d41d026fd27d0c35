"""Closes instances that are idle for the setting `idle_timeout`, or whose lease has run out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .directory import Instances
    from .instance import Instance

logger = logging.getLogger(__name__)

CHECKS_PER_TIMEOUT: Final = 10
"""Checks within the time-out or a lease: no instance is closed later than a tenth of it."""
MIN_CHECK_SECONDS: Final = 0.05
MAX_CHECK_SECONDS: Final = 60.0


class Reaper:
    """Checks the instances from `start` to `stop`; a lost instance is idle too. With a time-out of 0 none is idle."""

    def __init__(self, instances: Instances, timeout: float) -> None:
        self._instances = instances
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None
        self._closings: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to check."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop the checks and wait for the closings in execution; `at_once` cancels them."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        closings = list(self._closings.values())
        if at_once:
            for closing in closings:
                closing.cancel()
        await asyncio.gather(*closings, return_exceptions=True)

    async def _run(self) -> None:
        has_lease = self._instances.has_lease
        while True:
            leases = (instance.lease.seconds for instance in self._instances.all())
            limits = [seconds for seconds in leases if seconds is not None]
            if self._timeout:
                limits.append(self._timeout)
            has_lease.clear()
            with contextlib.suppress(TimeoutError):
                # A new lease may be shorter than this pause.
                async with asyncio.timeout(check_interval(min(limits)) if limits else None):
                    await has_lease.wait()
            self._check()

    def _check(self) -> None:
        # Not in `_run`, whose variables would keep the last instance, and its memory, until the next check.
        for instance in self._instances.all():
            if instance.instance_id not in self._closings and (instance.has_expired or self._is_idle(instance)):
                # In its own task, because an environment may be slow to close.
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


def check_interval(timeout: float) -> float:
    """Return the seconds between two checks for a time-out in seconds."""
    return min(max(timeout / CHECKS_PER_TIMEOUT, MIN_CHECK_SECONDS), MAX_CHECK_SECONDS)
