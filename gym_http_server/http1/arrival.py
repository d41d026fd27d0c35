"""Requests that are arriving on a connection: limits on their time and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.problems import Problem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

    from .configuration import Configuration

NOTHING, HEAD, BODY = range(3)
"""The part of a request that is arriving."""

MAX_HEAD_BYTES = 1 << 16
"""Maximum bytes of a request head, and of chunk extensions and trailers between two parts of a body."""

GRACE_SECONDS = 0.001
"""Delay of the end of a time limit: bytes that arrived while a call blocked the event loop are read first."""


class WaitTimer:
    """A time limit that no request restarts: when its timer fires, it computes what is left.

    Args:
        loop: the event loop.
        seconds_left: returns the rest of the wait in seconds; None if nothing is waited for, which stops the timer.
        on_end: called when the wait is over.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds_left: Callable[[], float | None], on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds_left = seconds_left
        self._on_end = on_end
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Start the timer if it does not run."""
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, self.look)

    def look(self, is_grace_over: bool = False) -> None:
        """End the wait if its time is over, or start the timer for what is left."""
        self.stop()
        seconds = self._seconds_left()
        if seconds is None:
            return
        if seconds > 0:
            self.start(seconds)
        elif is_grace_over:
            self._on_end()
        else:
            self._handle = self._loop.call_later(GRACE_SECONDS, self.look, True)

    def stop(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Arrival:
    """The part of a request that is arriving on a connection.

    Its timer exists only while received bytes end within a request, so a step pays nothing for it.

    Args:
        protocol: the protocol of the connection.
        config: has the time limits.
        max_bytes: maximum bytes of a part without body data.
        complete_requests: returns the requests that have arrived and are not answered.
        on_excess: called with the problem of a part that takes too long or is too long.

    Attributes:
        part: `NOTHING`, `HEAD` or `BODY`.
        since: since when the client is waited for, by the loop's clock; None unless it is.
        size: received bytes of the part without body data; not counted in the piece in which the part begins.
        may_be_long: whether a head that is completed by these bytes may be too long.
    """

    def __init__(
        self,
        protocol: HttpToolsProtocol,
        config: Configuration,
        max_bytes: int,
        complete_requests: Callable[[], list[RequestResponseCycle]],
        on_excess: Callable[[Problem], None],
    ) -> None:
        self._protocol = protocol
        self._config = config
        self._max_bytes = max_bytes
        self._complete_requests = complete_requests
        self._on_excess = on_excess
        self._timer = WaitTimer(protocol.loop, self._seconds_left, self._end_late)

        self.part = NOTHING
        self.since: float | None = None
        self.size = 0
        self.may_be_long = False

    @property
    def is_too_long(self) -> bool:
        """Whether the part without body data is over the limit."""
        return self.size > self._max_bytes

    def count(self, size: int) -> None:
        """Count received bytes, before they are parsed."""
        if self.part:
            self.size += size
        self.may_be_long = self.part == HEAD or size > MAX_HEAD_BYTES

    def await_rest(self) -> None:
        """Limit the time and size of an incomplete request."""
        if not self.part or self._protocol.transport.is_closing():
            return
        if self.since is None:
            self.since = self._protocol.loop.time()
        if self.is_too_long:
            self._on_excess(self._too_long())
        if not self._protocol.transport.is_closing():
            self._timer.start(self._time_limit)

    def restart(self) -> None:
        """Wait anew: what delayed the rest until now was not the client."""
        if self.part:
            self.since = self._protocol.loop.time()

    def go_on_waiting(self, since: float) -> None:
        """Continue a wait that began in another process."""
        if self._is_waiting:
            self.since = since
            self._timer.look()

    def stop(self) -> None:
        """Stop the timer."""
        self._timer.stop()

    @property
    def _is_waiting(self) -> bool:
        """Whether only the client delays the rest: reading is not paused, and no earlier request is being served."""
        flow = self._protocol.flow
        return not (flow.read_paused or flow.write_paused or self._complete_requests())

    @property
    def _time_limit(self) -> float:
        return float(self._config.header_timeout if self.part == HEAD else self._config.body_timeout)

    def _seconds_left(self) -> float | None:
        if not self.part or self.since is None or self._protocol.transport.is_closing():
            return None
        if not self._is_waiting:
            self.restart()
        return self.since + self._time_limit - self._protocol.loop.time()

    def _end_late(self) -> None:
        what, setting = ("head", "header_timeout") if self.part == HEAD else ("body", "body_timeout")
        seconds = self._time_limit
        detail = (
            f"the {what} did not arrive within {seconds:g} s: send it faster, or start the server with a larger "
            f"--{setting.replace('_', '-')}"
        )
        self._on_excess(Problem(408, "request-timeout", detail, limit=seconds, setting=setting))

    def _too_long(self) -> Problem:
        if self.part == HEAD:
            detail = f"the head has more than {MAX_HEAD_BYTES} bytes: send fewer and shorter headers"
        else:
            detail = (
                f"the chunked body has more than {MAX_HEAD_BYTES} bytes of extensions or trailers at a time: send none of "
                "them, they are not read"
            )
        return Problem(431, "request-header-fields-too-large", detail, limit=MAX_HEAD_BYTES)


def head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """Return the bytes of URL and header lines, without method, version and optional white space."""
    return len(url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in headers)
