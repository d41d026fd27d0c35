"""Waiting for descriptors: awake for a moment, where that pays and takes the processor from nobody."""

from __future__ import annotations

import contextlib
import math
import select
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DELAY_SHARE: Final = 0.03
"""Maximum share of the time in which a thread may have waited for a processor, for it to stay awake."""

MIN_PAUSE_WAITS: Final = 32
MAX_PAUSE_WAITS: Final = 1024
"""Number of waits between two looks at that share; doubled while processors are scarce."""

MAX_SLEEP_SECONDS: Final = 3600.0
"""Maximum time of one sleep; the system takes no longer one than 24 days."""

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT


class Waiter:
    """Waits until one of several descriptors is ready.

    Waking up takes 50 µs, and longer with cold caches. It stays awake only if the last wait was shorter than `awake_seconds`, so a
    peer that takes longer costs no processor time; and only if processors are free, because otherwise the peer would wait for
    this one.

    Args:
        awake_seconds: maximum time that it polls before it sleeps.
    """

    def __init__(self, awake_seconds: float) -> None:
        self._awake_seconds = awake_seconds
        self._began = 0.0
        self._poll = select.poll()
        self._processors = Processors()
        self._is_quick = False
        self.watch = self._poll.register
        self.forget = self._poll.unregister

    def ready(self) -> list[tuple[int, int]]:
        """Return the descriptors that are ready now, with their events."""
        return self._poll.poll(0)

    def wait(self, seconds_left: Callable[[], float | None]) -> list[tuple[int, int]]:
        """Wait for descriptors and return them with their events.

        Args:
            seconds_left: returns the maximum time to sleep, after which, or earlier, the result is empty; None for no limit.
        """
        if ready := self.stay_awake():
            return ready
        seconds = seconds_left()
        ready = self._poll.poll(None if seconds is None else math.ceil(min(max(seconds, 0.0), MAX_SLEEP_SECONDS) * 1e3))
        self.end_sleep()
        return ready

    def stay_awake(self) -> list[tuple[int, int]]:
        """Poll for a moment, if that pays; return the descriptors that are ready, or nothing, before a sleep."""
        poll = self._poll.poll
        self._began = began = time.perf_counter()
        if self._is_quick and self._processors.are_free():
            end = began + self._awake_seconds
            while time.perf_counter() < end:
                if ready := poll(0):
                    # A look that takes long waited for the interpreter's lock, or for a processor.
                    self._is_quick = time.perf_counter() < end
                    return ready
        return []

    def end_sleep(self) -> None:
        """Note the end of the sleep after `stay_awake`."""
        self._is_quick = time.perf_counter() - self._began < self._awake_seconds


class Processors:
    """Whether there are as many processors as threads that want one, by how long this thread has waited for one.

    Linux: /proc/thread-self/schedstat (Documentation/scheduler/sched-stats.rst) has the nanoseconds on a processor and those of
    waiting for one. Elsewhere processors count as free.
    """

    def __init__(self) -> None:
        self._waits_left = 0
        self._pause = MIN_PAUSE_WAITS
        self._delay = 0.0
        self._looked_at = 0.0
        self._are_free = True

    def are_free(self) -> bool:
        """Return whether processors are free; called for each wait, it looks at few of them."""
        self._waits_left -= 1
        if self._waits_left < 0:
            self._look()
            self._waits_left = self._pause
        return self._are_free

    def _look(self) -> None:
        delay, now = self._read(), time.perf_counter()
        share = (delay - self._delay) / (now - self._looked_at)
        if self._looked_at:
            self._are_free = share <= MAX_DELAY_SHARE
            self._pause = MIN_PAUSE_WAITS if self._are_free else min(self._pause * 2, MAX_PAUSE_WAITS)
        self._delay, self._looked_at = delay, now

    def _read(self) -> float:
        """Return the seconds that this thread has waited for a processor."""
        # Not kept open: an environment may close what it did not open, and get the same descriptor for a file of its own.
        with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/thread-self/schedstat", "rb") as file:  # noqa: PTH123 -- no path to speak of
            return int(file.read().split()[1]) / 1e9
        return 0.0
