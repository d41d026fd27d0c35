"""Guesses of the key: the answers to wrong keys are slowed for each address and in all, and logged.

The right key is never slowed, whoever else guesses at the same address, so nobody can lock out who has it.
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
"""Wrong keys are logged at most so often: who guesses keys should not fill the log as well."""

MAX_DELAY_SECONDS: Final = 4.0
"""Maximum seconds that an answer waits; a server that stops waits for it, too."""

MAX_ADDRESSES: Final = 4096
"""Maximum number of addresses that are told apart; the one that has been quiet for longest is forgotten."""


class Pace:
    """Lets a burst pass, and after that one in each interval.

    Args:
        burst: how many pass at once.
        interval: seconds between the others.
    """

    def __init__(self, burst: int, interval: float) -> None:
        self._lead = burst * interval
        self._interval = interval
        self._next = 0.0

    def delay(self, now: float) -> float:
        """Return how many seconds one more has to wait, at most `MAX_DELAY_SECONDS`."""
        self._next = max(self._next, now - self._lead) + self._interval
        self._next = min(self._next, now + MAX_DELAY_SECONDS)
        return max(0.0, self._next - now)


class Guesses:
    """What is known of wrong keys.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Pace(50, 0.05)
        self._by_address: dict[str, Pace] = {}
        self._quiet_until = 0.0

    def note(self, client: str | None) -> float:
        """Note a wrong key of a client at that address; return how many seconds its answer is to wait."""
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_SECONDS
            logger.warning("a request of %s has a wrong key", client or "an unknown client")
        address = _network(client or "")
        # Put last again: the first is the one that has been quiet for longest.
        pace = self._by_address[address] = self._by_address.pop(address, Pace(5, 1.0))
        if len(self._by_address) > MAX_ADDRESSES:
            del self._by_address[next(iter(self._by_address))]
        return max(self._all.delay(now), pace.delay(now))


def _network(client: str) -> str:
    """Return what counts as one address: of IPv6, the network that one customer gets."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
