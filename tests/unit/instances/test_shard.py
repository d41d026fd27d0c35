"""Ids of instances on a server that is one of several."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from gym_http_server.app import Application
from gym_http_server.config import Settings
from gym_http_server.instances.directory import Instances
from tests.support.fake_engine import FakeEngine


async def test_ids_begin_with_the_shard_and_differ() -> None:
    """A router knows by them whose an instance is."""
    instances = Instances(Settings(shard="01f"), FakeEngine())
    ids = {(await instances.create(FakeEngine.REQUEST)).instance_id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch("01f[0-9a-f]{5}", each) for each in ids)


@pytest.mark.parametrize("shard", ["01F", "1f", "01f0", "xyz"])
def test_what_is_no_shard_is_refused(shard: str) -> None:
    """The text says what one is."""
    with pytest.raises(ValueError, match="three hex digits, such as 01f"):
        Settings(shard=shard)


async def test_what_is_being_made_takes_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that asks meanwhile does not place the next one on the same shard for lack of a count."""
    application = Application(Settings(shard="01f", api_key="correct-horse-battery-staple", engine="inline"))
    create, may_end = application.engine.create, asyncio.Event()

    async def held(*arguments: Any) -> Any:
        await may_end.wait()
        return await create(*arguments)

    monkeypatch.setattr(application.engine, "create", held)
    making = asyncio.create_task(application.instances.create(FakeEngine.REQUEST))
    await asyncio.sleep(0)
    assert application.load()[:2] == (0, 1)
    assert application.load().taken == 1
    may_end.set()
    await making
    assert application.load()[:2] == (1, 0)
    assert application.load().taken == 1
    await application.instances.close_all()
