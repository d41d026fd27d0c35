"""Pings of a WebSocket, by which a dead peer is noticed, and the time limit of a message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK_SECONDS: Final = 5.0
"""Time between two checks of a connection."""

PING_SECONDS: Final = 15.0
"""Silence of a client after which it is sent a ping, and again."""

DEAD_SECONDS: Final = 35.0
"""Silence of a client after which its connection is cut; noticed one check later at the latest."""

PROBE_INTERVAL: Final = 0.05
"""Time between two looks for the answer to a ping that somebody waits for, in seconds."""


CLOCK_SECONDS: Final = 0.1
"""Time by which the loop's clock may be behind that of another process."""


class Heartbeat:
    """Checks a connection from `start` to `stop`.

    Any bytes are a sign of life: a pong waits behind a long message. A message pays an assignment, no timer.

    Args:
        loop: the event loop.
        message_seconds: time that a message may take to arrive.
        ping: sends a ping.
        on_dead: called once the client is dead.
        on_slow: called with the time limit once a message takes too long.

    Attributes:
        is_heard: set with each received byte.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        message_seconds: float,
        ping: Callable[[], None],
        on_dead: Callable[[], None],
        on_slow: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._message_seconds = message_seconds
        self._ping, self._on_dead, self._on_slow = ping, on_dead, on_slow
        self._timer: asyncio.TimerHandle | None = None
        self._pinged_at = 0.0
        self._heard_at = loop.time()
        self._partial_since: float | None = None
        self.is_heard = True

    def start(self) -> None:
        """Begin to check."""
        self._timer = self._loop.call_later(min(CHECK_SECONDS, self._message_seconds), self._check)

    def go_on(self, since: float, *, is_partial: bool) -> None:
        """Begin to check a connection whose client is waited for since a moment of the loop's clock."""
        # The loop's clock may stand a little behind, and a ping that is sent now has to be answered later than that.
        self.is_heard, self._heard_at = False, since - CLOCK_SECONDS
        self._partial_since = since if is_partial else None
        self.start()

    def stop(self) -> None:
        """Check no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note(self, *, is_partial: bool) -> None:
        """Note whether received bytes are the beginning of a message whose rest is to come."""
        if not is_partial:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self._loop.time()

    async def is_answered(self, seconds: float) -> bool:
        """Send a ping; return whether anything is heard within `seconds`."""
        began = self._loop.time()
        self.is_heard = False
        self._ping()
        while not self.is_heard and self._heard_at <= began:
            if self._loop.time() - began >= seconds:
                return False
            await asyncio.sleep(PROBE_INTERVAL)
        return True

    def _check(self) -> None:
        now = self._loop.time()
        if self.is_heard:
            self.is_heard, self._heard_at = False, now
        silence = now - self._heard_at
        since = self._partial_since
        if silence >= DEAD_SECONDS:
            self._on_dead()
            return
        if since is not None and now - since >= self._message_seconds:
            self._on_slow(self._message_seconds)
            return
        if silence >= PING_SECONDS - CHECK_SECONDS and now - self._pinged_at >= PING_SECONDS:
            self._pinged_at = now
            self._ping()
        self.start()
