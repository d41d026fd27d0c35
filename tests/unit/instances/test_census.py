"""The sums over all instances while instances come, go and are used."""

from __future__ import annotations

import asyncio

import pytest

from gym_http_server.config import Settings
from gym_http_server.instances import census as module
from gym_http_server.instances.census import Census
from gym_http_server.instances.directory import Instances
from gym_http_server.runtime.shared.traffic import Traffic, tallies
from tests.support.fake_engine import FakeEngine

INSTANCES = 10


@pytest.fixture
async def instances(monkeypatch: pytest.MonkeyPatch) -> Instances:
    """Instances with two steps each, of which a census reads one before it lets others be served."""
    monkeypatch.setattr(module, "SLICE_SECONDS", 0.0)
    made = Instances(Settings(), FakeEngine(), Traffic(operations=("stepEnv",)))
    for _ in range(INSTANCES):
        instance = await made.create(FakeEngine.REQUEST)
        instance._worker.usage.count(2, 1)
        instance.traffic.count("stepEnv", 200, 0.25, 1, 1)
    return made


def sums(census: Census) -> tuple[int, ...]:
    """Return instances that live and that are closed, steps, episodes and requests."""
    [tally] = tallies([census.totals.traffic])
    totals = census.totals
    return census.states["ready"], totals.closed, totals.steps, totals.episodes, tally.statuses["200"]


async def test_others_are_served_during_a_census(instances: Instances) -> None:
    """The event loop turns once for each slice."""
    census = asyncio.ensure_future(instances.census())
    turns = 0
    while not census.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= INSTANCES
    assert sums(census.result()) == (INSTANCES, 0, 2 * INSTANCES, INSTANCES, INSTANCES)


async def test_instances_that_are_closed_during_a_census_count_once(instances: Instances) -> None:
    """Whether their turn has been or is still to come, nothing of them is missing or twice, and the next census has all."""
    census = asyncio.ensure_future(instances.census())
    for instance in instances.all():
        await asyncio.sleep(0)
        await instances.close(instance.instance_id)
    live, closed, *others = sums(await census)
    assert 0 < closed < INSTANCES
    assert (live + closed, *others) == (INSTANCES, 2 * INSTANCES, INSTANCES, INSTANCES)
    assert sums(await instances.census()) == (0, INSTANCES, 2 * INSTANCES, INSTANCES, INSTANCES)


async def test_instances_that_are_made_during_a_census_count_in_the_next(instances: Instances) -> None:
    """As live ones and as created ones alike, and what is closed before the end is no exception."""
    census = asyncio.ensure_future(instances.census())
    await asyncio.sleep(0)
    made = [await instances.create(FakeEngine.REQUEST) for _ in range(2)]
    await instances.close(made[0].instance_id)
    found = await census
    assert (found.states["ready"], found.totals.created, found.totals.closed) == (INSTANCES, INSTANCES, 0)
    found = await instances.census()
    assert (found.states["ready"], found.totals.created, found.totals.closed) == (INSTANCES + 1, INSTANCES + 2, 1)
