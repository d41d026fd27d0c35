"""The checks of a WebSocket's client, with a clock that stands still between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gym_http_server.http1.heartbeat import CHECK_SECONDS, DEAD_SECONDS, Heartbeat


class Loop:
    """The clock and the timer of an event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Loop:
        self.due = [(self.now + seconds, call)]
        return self

    def cancel(self) -> None:
        self.due = []

    def run(self, until: float) -> None:
        while self.due and self.due[0][0] <= until:
            [(self.now, call)] = self.due
            self.due = []
            call()


@pytest.mark.parametrize(("elsewhere", "is_partial"), [(2.0, False), (2.0, True), (30.0, False)])
def test_time_limits_that_began_elsewhere_go_on(elsewhere: float, is_partial: bool) -> None:
    """A client that was silent in another process is dead, and its message late, when it would have been here."""
    loop, told = Loop(), []
    heartbeat = Heartbeat(
        loop,  # type: ignore[arg-type]  # what it calls
        20.0,
        lambda: told.append("ping"),
        lambda: told.append("dead"),
        lambda _: told.append("slow"),
    )
    since = loop.now
    loop.now += elsewhere
    heartbeat.go_on(since, is_partial=is_partial)
    loop.run(since + (20.0 if is_partial else DEAD_SECONDS) + CHECK_SECONDS)
    assert told[-1] == ("slow" if is_partial else "dead")
    assert told.count("ping") <= 2
