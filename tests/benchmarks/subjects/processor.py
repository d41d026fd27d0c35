"""The processor time that a server takes: user and system, its own and that of all processes below it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable

import psutil

from ..servers import Server

MICROSECOND = 1e-6


class ProcessorTime:
    """The processor time of servers from its making on.

    Args:
        servers: the servers; processes that they start later are not counted.
    """

    def __init__(self, servers: Iterable[Server]) -> None:
        self._processes = [each for server in servers for each in (server.seen, *server.seen.children(recursive=True))]
        self._begun = self._total()

    def per(self, count: int) -> float:
        """Return for each of so many requests what was taken since, in µs."""
        return (self._total() - self._begun) / MICROSECOND / count

    def _total(self) -> float:
        total = 0.0
        for each in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                total += _seconds(each)
        return total


def _ticks(process: psutil.Process) -> float:
    # By the system's tick, mostly 10 ms.
    times = process.cpu_times()
    return times.user + times.system


def _nanoseconds(process: psutil.Process) -> float:
    # Linux: the clock that clock_getcpuclockid(3) names. A client that thinks for 10 ms makes 50 steps in a chunk of
    # work, which take less than one tick.
    return time.clock_gettime(~process.pid << 3 | 2)


_seconds: Callable[[psutil.Process], float] = _nanoseconds if sys.platform == "linux" else _ticks
