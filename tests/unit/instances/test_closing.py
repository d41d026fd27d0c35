"""An instance while it is being closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gym_http_server.api.telemetry.metrics import Metrics
from gym_http_server.config import Settings
from gym_http_server.errors import UnknownInstanceError
from gym_http_server.instances.directory import Instances
from tests.support.fake_engine import FakeEngine, FakeWorker


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What environments wait for before they are closed."""
    event = asyncio.Event()
    close = FakeWorker.close

    async def close_later(self: FakeWorker, *, at_once: bool = False) -> None:
        await event.wait()
        await close(self, at_once=at_once)

    monkeypatch.setattr(FakeWorker, "close", close_later)
    return event


async def test_a_call_that_waits_behind_the_close_finds_no_instance(gate: asyncio.Event) -> None:
    """It is not told that the environment was lost, and does not reach it."""
    instances = Instances(Settings(), FakeEngine())
    instance = await instances.create(FakeEngine.REQUEST)
    closing = asyncio.ensure_future(instances.close(instance.instance_id))
    await asyncio.sleep(0)
    arguments: Mapping[str, Any] = {"action": 1}
    behind = asyncio.ensure_future(instance.call("step", arguments))
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(UnknownInstanceError):
        await behind
    await closing


async def test_an_instance_that_takes_long_to_close_counts_as_closed_once(gate: asyncio.Event) -> None:
    """From the beginning of the close on it is no live one, and its end adds nothing."""

    async def counted() -> tuple[str, str]:
        lines = (await Metrics(instances).text()).decode().splitlines()
        names = ("gym_http_server_instances_closed_total", 'gym_http_server_instances{state="ready"}')
        closed, ready = (line.rpartition(" ")[2] for name in names for line in lines if line.startswith(f"{name} "))
        return closed, ready

    instances = Instances(Settings(), FakeEngine())
    instance = await instances.create(FakeEngine.REQUEST)
    assert await counted() == ("0.0", "1.0")
    closing = asyncio.ensure_future(instances.close(instance.instance_id))
    await asyncio.sleep(0)
    assert await counted() == ("1.0", "0.0")
    gate.set()
    await closing
    assert await counted() == ("1.0", "0.0")


async def test_a_close_that_is_given_up_before_its_turn_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance is there as before, and can be closed later."""
    may_end = asyncio.Event()

    async def call(self: FakeWorker, operation: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG001 -- the seam's signature
        await may_end.wait()

    monkeypatch.setattr(FakeWorker, "call", call)
    instances = Instances(Settings(), FakeEngine())
    instance = await instances.create(FakeEngine.REQUEST)
    step = asyncio.ensure_future(instance.call("step", {"action": 1}))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(instances.close(instance.instance_id))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert instances.all() == [instance]
    may_end.set()
    await step
    await instances.close(instance.instance_id)
    assert instances.all() == []
