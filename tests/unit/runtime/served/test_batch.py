"""A batch by itself, without a server."""

from __future__ import annotations

import psutil
import pytest

from gym_http_server.errors import EnvironmentDiedError
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.support.serving import living


def test_the_lanes_of_a_broken_batch_end_with_it() -> None:
    """A lane's process was killed; the close ends those of the others, whatever the batch was doing."""
    served = open_served(CreateRequest("CartPole-v1", num_envs=3, vectorization_mode="async"))
    lanes = [psutil.Process(each.pid) for each in served._environment.unwrapped.processes]
    served.call("batch_reset", {"seed": 1})
    lanes[1].kill()
    with pytest.raises(EnvironmentDiedError, match="the process of a lane ended during step"):
        served.call("batch_step", {"actions": [0, 0, 0]})
    served.close()
    assert not living(lanes)
