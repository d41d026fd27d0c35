"""How a request is counted: its time, its bytes, its status."""

from __future__ import annotations

from typing import Any

import pytest

from gym_http_server.api.telemetry import counting
from gym_http_server.api.telemetry.counting import Counting
from gym_http_server.runtime.shared.traffic import Traffic, tallies


async def test_the_time_of_a_request_begins_with_its_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the client takes to send it, what is counted is what the server took."""
    clock = iter((0.0, 10.0, 20.0, 20.5))
    monkeypatch.setattr(counting.time, "perf_counter", lambda: next(clock))
    parts = iter(
        (
            {"type": "http.request", "body": b"ab", "more_body": True},
            {"type": "http.request", "body": b"c", "more_body": False},
        )
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    traffic = Traffic()
    request = Counting(lambda: traffic, receive, send, "stepEnv")
    await request.receive()
    await request.receive()
    await request.send({"type": "http.response.start", "status": 400, "headers": []})
    await request.send({"type": "http.response.body", "body": b"reply"})
    [tally] = tallies([traffic])
    assert (tally.statuses, tally.received, tally.sent, tally.seconds) == ({"400": 1}, 3, 5, 0.5)
    assert len(sent) == 2
