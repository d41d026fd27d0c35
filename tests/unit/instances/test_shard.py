"""Ids of instances on a server that is one of several."""

from __future__ import annotations

import re

import pytest

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
