"""What a server knows of instances that are no more."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from gym_http_server.instances.closed import MAX_CLOSED, ClosedInstances
from gym_http_server.instances.metadata import Metadata


def instance(number: int) -> Any:
    made = SimpleNamespace(env_id="CartPole-v1", num_envs=None)
    return SimpleNamespace(
        instance_id=f"{number:08x}", description=made, metadata=Metadata(), steps=number, episodes=0,
        created_at=datetime.now(UTC), loss=None,
    )  # fmt: skip


def test_the_latest_closed_instances_are_remembered() -> None:
    """Older ones are forgotten, so that a server that makes millions does not grow."""
    closed = ClosedInstances()
    for number in range(MAX_CLOSED + 1):
        closed.add(instance(number), "a client closed it")
    assert closed.find("00000000") is None
    assert [closed.find(f"{number:08x}").steps for number in (1, MAX_CLOSED)] == [1, MAX_CLOSED]  # type: ignore[union-attr]
