"""Decides when an environment's process has taken too long and is killed; what is said of it then."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from ...errors import CallTimeoutError
from ...support.foreign_threads import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...runtime.shared.usage import Usage
    from .channel import Channel
    from .connections import Connections

CLOSE_SECONDS: Final = 5.0
"""Maximum time for an environment to close, or to give an idle connection back, before its process is killed."""
EXIT_SECONDS: Final = 2.0
"""Maximum time between the end of a process, or its kill, and the fork server's report of that."""
DRAIN_SECONDS: Final = 0.05
"""Maximum time to read what a process sent before its end: another process may have its end of the socket and go on."""
CLAIM: Final = "claim"
"""The operation that takes the key of a close: it takes no time and counts as part of the close."""


class Deadline:
    """The time-out of one process, at most one at a time.

    Args:
        call_timeout: maximum seconds of a call.
        usage: shows what the environment executes.
        channel: shows what the server waits for.
        connections: shows whether the process serves clients' connections.
        on_passed: called with the time-out once it has passed; it has to kill the process.

    Attributes:
        error: the time-out that has passed; None before.
        is_unread: the process left a request on a client's connection unread.
        lost_threads: names of threads that existed at the fork and that the process lacks.
    """

    def __init__(
        self,
        call_timeout: float,
        usage: Usage,
        channel: Channel,
        connections: Connections,
        on_passed: Callable[[CallTimeoutError], None],
    ) -> None:
        # Limits, in seconds
        self._call_timeout = call_timeout
        # What the process does, and for whom
        self._usage = usage
        self._channel = channel
        self._connections = connections
        # Since when the server waits, in seconds of the monotonic clock
        self._sent_at = 0.0
        self._recalled_at: float | None = None
        self._is_behind = False
        """Whether the call was sent while the process served clients' connections."""
        # The end
        self._timer: asyncio.TimerHandle | None = None
        self._on_passed: Callable[[CallTimeoutError], None] | None = on_passed
        self.error: CallTimeoutError | None = None
        self.is_unread = False
        self.lost_threads: list[str] = []

    def on_call(self, operation: str) -> None:
        """Begin to time a call that was sent."""
        self._sent_at = time.monotonic()
        self._is_behind = self._connections.is_held
        if operation == CLAIM:
            self._set_timer(self._close_timeout)
        elif self._timer is None:
            self._set_timer(self._call_timeout)

    def on_lend(self) -> None:
        """Begin to watch a client's connection that was handed over."""
        self._recalled_at = None
        if self._timer is None:
            self._set_timer(self._call_timeout)

    def on_recall(self) -> None:
        """Begin to time the return of the connections."""
        if self._recalled_at is None:
            self._recalled_at = time.monotonic()
            self._set_timer(self._close_timeout)

    @property
    def close_timeout(self) -> float:
        """Maximum seconds of a close that begins now: a request on the client's own connection has the time of a call."""
        is_serving = self._connections.is_held and self._usage.busy_since is not None
        return self._call_timeout if is_serving else self._close_timeout

    @property
    def _close_timeout(self) -> float:
        return min(CLOSE_SECONDS, self._call_timeout)

    def stop(self) -> None:
        """Stop the timer and drop `on_passed`, whose reference to the worker would be circular."""
        self._on_passed = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        # One timer serves many calls: starting and cancelling one for each would be most of the cost of a call here.
        self._timer = None
        now = time.monotonic()
        due = self._due(now)
        if due is None:
            return
        if due > now:
            self._set_timer(due - now)
        elif self._on_passed is not None:
            self.error = self._passed()
            self._on_passed(self.error)

    def _due(self, now: float) -> float | None:
        """Return when the process is to be killed if it does nothing until then; None if nothing is asked of it.

        The times that the process writes into the shared memory gain it none once the server or a client waits for it: no wait is
        longer than twice the time of a call, for the request in execution and for the one behind it.
        """
        is_waited_for = self._channel.is_waiting
        limit = self._limit
        if is_waited_for and not self._is_behind:
            return self._sent_at + limit
        if not (is_waited_for or self._connections.is_held):
            return None
        asked_at = self._sent_at if is_waited_for else self._recalled_at
        busy_since = self._usage.busy_since
        last_sign = self._connections.last_sign(now)
        if busy_since is not None and busy_since <= now:
            due = min(busy_since + self._call_timeout, last_sign + 2 * self._call_timeout)
        elif asked_at is None:
            due = last_sign + limit
        else:
            idle_since = max(asked_at, min(self._usage.idle_since, now))
            due = idle_since + (limit if is_waited_for else self._close_timeout)
        return due if asked_at is None else min(due, asked_at + 2 * self._call_timeout)

    @property
    def _limit(self) -> float:
        return self._close_timeout if self._channel.operation == CLAIM else self._call_timeout

    def _passed(self) -> CallTimeoutError:
        """Return the error that says what has taken too long."""
        usage, is_held = self._usage, self._connections.is_held
        seconds = self._call_timeout
        if not is_held:
            seconds = self._limit
            what = f"{self._channel.operation} took longer than"
        elif usage.busy_since is not None:
            what = f"{usage.operation} took longer than"
        elif self._recalled_at is not None and not self._channel.is_waiting:
            seconds = self._close_timeout
            what = "its process did not give a connection back within"
        else:
            what = "its process left a request unread for"
            self.is_unread = True
        facts: dict[str, Any] = {"seconds": seconds}
        done = ""
        if (taken := usage.of_rollout) is not None and (is_held or self._channel.operation == "rollout"):
            facts["steps"], facts["episodes"] = taken
            done = f" after {taken[0]} steps and {taken[1]} episodes of it"
        remedy = "raise --call-timeout, or call_timeout at createEnv"
        if self.lost_threads:
            remedy = (
                f"{described(self.lost_threads)} existed when its process was forked, which has none of them and may have waited for "
                f"one: start threads when an environment is made, not when a module is imported; if it is only slow, {remedy}"
            )
        why = f"{what} {seconds:g} s and the environment was killed{done}: {remedy}"
        return CallTimeoutError(why, **facts)
