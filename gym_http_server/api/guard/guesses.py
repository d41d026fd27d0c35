"""Rate limit for wrong keys: their answers are delayed, per address and in total, and logged.

The right key is never delayed, so nobody can lock out its owner by guessing from the same address.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

LOG_SECONDS: Final = 1.0
"""Minimum interval between log lines about wrong keys, so that guessing does not fill the log."""

MAX_DELAY_SECONDS: Final = 4.0
"""Maximum delay of an answer; a stopping server waits for it, too."""

MAX_ADDRESSES: Final = 4096
"""Maximum number of tracked addresses; the least recently seen one is dropped."""


class Pace:
    """A leaky bucket: a burst passes at once, then one event per interval.

    Args:
        burst: number of events without delay.
        interval: seconds between later events.
    """

    def __init__(self, burst: int, interval: float) -> None:
        self._lead = burst * interval
        self._interval = interval
        self._next = 0.0

    def delay(self, now: float) -> float:
        """Count an event; return its delay in seconds, at most `MAX_DELAY_SECONDS`."""
        self._next = max(self._next, now - self._lead) + self._interval
        self._next = min(self._next, now + MAX_DELAY_SECONDS)
        return max(0.0, self._next - now)


class Guesses:
    """Counts wrong keys by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Pace(50, 0.05)
        self._by_address: dict[str, Pace] = {}
        self._quiet_until = 0.0

    def note(self, client: str | None) -> float:
        """Note a wrong key from an address; return the delay of the answer in seconds."""
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_SECONDS
            logger.warning("a request of %s has a wrong key", client or "an unknown client")
        address = _network(client or "")
        # Moved to the end: the first is the least recently seen.
        pace = self._by_address[address] = self._by_address.pop(address, Pace(5, 1.0))
        if len(self._by_address) > MAX_ADDRESSES:
            del self._by_address[next(iter(self._by_address))]
        return max(self._all.delay(now), pace.delay(now))


def _network(client: str) -> str:
    """Return what counts as one address: for IPv6 the /64 network that one customer gets."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
