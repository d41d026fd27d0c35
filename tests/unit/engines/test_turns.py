"""Calls that are given up: whose turn it is next, and whose the late reply is."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gym_http_server.config import Settings
from gym_http_server.engines import make_engine
from gym_http_server.instances.instance import Turn
from gym_http_server.runtime.messages import CreateRequest
from tests.support.handing import TROUBLE
from tests.support.serving import SECONDS, eventually
from tests.support.troublemakers import gate_of


async def test_a_waiter_that_gives_up_does_not_keep_the_turn() -> None:
    """Whether it had the turn already or still waited for it, the next in line gets it."""
    turn = Turn()
    assert turn.take_at_once()
    loop = asyncio.get_running_loop()
    first, second, third = (loop.create_task(turn.take()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    turn.pass_on()
    # The turn is the first one's now, which has not run yet.
    first.cancel()
    async with asyncio.timeout(SECONDS):
        await third
    assert (first.cancelled(), second.cancelled(), turn.taken) == (True, True, True)
    turn.pass_on()
    assert turn.take_at_once()


async def test_the_late_reply_of_a_call_that_was_given_up_is_nobodys() -> None:
    """The next call gets its own reply, after any number of those that nobody waits for."""
    engine = make_engine(Settings(engine="process", imports=("tests.support.troublemakers",)))
    await engine.start()
    try:
        worker = await engine.create("0" * 8, CreateRequest(TROUBLE, imports=("tests.support.troublemakers",)), SECONDS)
        await worker.call("reset", {})
        info = orjson.loads((await worker.call("step", {"action": "pid"})).body)["info"]
        gate = gate_of(info["pid"])
        for _ in range(2):
            call = asyncio.ensure_future(worker.call("step", {"action": "await"}))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        after = asyncio.ensure_future(worker.call("step", {"action": "x"}))
        for _ in range(2):
            gate.touch()
            await asyncio.to_thread(eventually, lambda: not gate.exists())
        assert orjson.loads((await after).body)["observation"] == 4
        await worker.close()
    finally:
        await engine.stop()
