"""Memory of a long recording: it does not grow with the number of steps, neither of the writer nor of the reader."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from gym_http_server.results.trajectories import open_trajectories
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served

pytestmark = pytest.mark.full

STEPS, PART = 20_000, 1000
MAX_GROWTH_BYTES = 3 << 20
"""Less than half of what the steps take as values."""


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def test_an_episode_of_many_steps_is_recorded_and_read_in_bounded_memory(tmp_path: Path) -> None:
    """After the tenth part of an episode the process is as large as at its end; so it is for who reads its columns."""
    served = open_served(CreateRequest("Pendulum-v1", max_episode_steps=10 * STEPS))
    served.call("monitor_start", {"directory": str(tmp_path), "trajectories": True})
    served.call("reset", {"seed": 1})
    sizes = []
    for _ in range(STEPS // PART):
        served.call("rollout", {"steps": PART, "limit": 1 << 26})
        sizes.append(resident())
    assert max(sizes) - sizes[len(sizes) // 10] < MAX_GROWTH_BYTES
    served.call("monitor_close", {})
    served.close()
    with open_trajectories(tmp_path) as recorded:
        [episode] = recorded
        before = resident()
        assert sum(1 for _ in episode.observations or ()) == STEPS + 1
        assert sum(1 for _ in episode.infos or ()) == STEPS + 1
        assert sum(episode.rewards) < 0
        assert resident() - before < MAX_GROWTH_BYTES
