"""Sessions: they own instances, are bounded, and close what they own."""

from __future__ import annotations

import asyncio
import time

import pytest

from gym_http_server import errors
from gym_http_server.agents.sessions import AgentSessions
from gym_http_server.app import Application

CART_POLE = {"env_id": "CartPole-v1"}


async def test_the_end_of_a_session_closes_its_instances(app: Application) -> None:
    """Instances of a session are closed with it, once, though somebody else closed one before; others live on."""
    sessions = AgentSessions(app.in_process, 2, 0)
    session, other = sessions.open("127.0.0.1"), sessions.open(None)
    made = [await session.create(CART_POLE) for _ in range(2)]
    kept = await other.create(CART_POLE)
    assert sessions.find(session.session_id) is session
    await app.instances.close(made[0]["instance_id"])
    await session.end("a test")
    await session.end("a test again")
    assert [each.instance_id for each in app.instances.all()] == [kept["instance_id"]]
    assert sessions.all() == [other]


async def test_sessions_are_bounded(app: Application) -> None:
    """A session too many is refused with the limit; one that ends makes room."""
    sessions = AgentSessions(app.in_process, 1, 0)
    session = sessions.open(None)
    with pytest.raises(errors.TooManyInstancesError, match="--max-envs"):
        sessions.open(None)
    await session.end("a test")
    sessions.open(None)


async def test_a_session_closes_only_what_it_owns(app: Application) -> None:
    """An instance of somebody else is unknown to a session."""
    sessions = AgentSessions(app.in_process, 2, 0)
    session, other = sessions.open(None), sessions.open(None)
    instance_id = (await other.create(CART_POLE))["instance_id"]
    with pytest.raises(errors.UnknownInstanceError):
        await session.close(instance_id)
    await other.close(instance_id)
    assert app.instances.all() == []


async def test_an_instance_that_is_made_while_its_session_ends_is_closed(app: Application) -> None:
    """Neither the end of a session nor the cancellation of its caller leaves an instance behind."""
    sessions = AgentSessions(app.in_process, 2, 0)
    session, other = sessions.open(None), sessions.open(None)
    making, cancelled = (asyncio.create_task(each.create(CART_POLE)) for each in (session, other))
    await asyncio.sleep(0)
    cancelled.cancel()
    await session.end("a test")
    with pytest.raises(errors.UnknownInstanceError, match="ended"):
        await making
    deadline = time.monotonic() + 30
    while not other.instance_ids:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await other.end("a test")
    assert app.instances.all() == []


async def test_an_idle_session_ends(app: Application) -> None:
    """A session that nobody uses ends after the idle time, and its instances with it."""
    sessions = AgentSessions(app.in_process, 2, 0.2)
    session = sessions.open(None)
    await session.create(CART_POLE)
    deadline = time.monotonic() + 30
    while app.instances.all():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert "idle-timeout" in (session.why_ended or "")
    await sessions.stop()
