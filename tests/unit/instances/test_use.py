"""For how long nobody has used an instance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import EnvironmentDiedError
from gym_http_server.instances.directory import Instances
from tests.support.fake_engine import FakeEngine, FakeWorker


async def test_an_instance_is_idle_from_the_end_of_the_call_that_it_was_lost_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its process has noted no end of that, and it is not closed at once for the time before."""

    async def die(self: FakeWorker, operation: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG001 -- the seam's signature
        self.loss = "it died"
        raise EnvironmentDiedError("it died")

    monkeypatch.setattr(FakeWorker, "call", die)
    instances = Instances(Settings(), FakeEngine())
    instance = await instances.create(FakeEngine.REQUEST)
    made_at = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr("time.monotonic", lambda: made_at + 1000.0)
        with pytest.raises(EnvironmentDiedError):
            await instance.call("step", {"action": 1})
        patch.setattr("time.monotonic", lambda: made_at + 1005.0)
        assert (instance.state, instance.idle_seconds) == ("lost", pytest.approx(5.0))
