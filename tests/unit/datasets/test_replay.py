"""A recording is repeated in the environment made again, and each episode gets a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_http_server.datasets.replay import EpisodeVerdict, replay
from gym_http_server.results.trajectories import open_trajectories
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.support.stepping import alter, record_steps


def verdicts(directory: Path, make: Callable[[], Any] | None = None) -> list[EpisodeVerdict]:
    with open_trajectories(directory) as trajectories:
        return list(replay(trajectories, make or (lambda: gymnasium.make(trajectories.env_id))))


@pytest.mark.parametrize("kept", [True, "actions"])
def test_what_was_recorded_comes_out_equal(tmp_path: Path, kept: Any) -> None:
    """Episodes after the first, which have no seed, and one that was cut short as well."""
    record_steps(tmp_path, episodes=3, extra_steps=2, kept=kept)
    found = verdicts(tmp_path)
    assert [each.result for each in found] == ["equal"] * 4
    assert [each.number for each in found] == [0, 1, 2, 3]
    assert found[3].steps == 2


@pytest.mark.parametrize(
    ("column", "change", "step", "text"),
    [
        ("observations", lambda value: value + np.float32(1e-6), 2, "observation[0]: "),
        ("observations", lambda value: value.astype(np.float64), 2, "now float32 of shape (4,)"),
        ("rewards", lambda value: value + 1, 3, "reward: 2.0 was recorded, now 1.0"),
        ("rewards", np.float32, 3, "of type float32 was recorded"),
        ("terminated", lambda value: not value, 3, "terminated: True was recorded, now False"),
        ("actions", lambda value: 1 - value, 3, "observation[1]: "),
    ],
)
def test_one_changed_value_is_found(tmp_path: Path, column: str, change: Any, step: int, text: str) -> None:
    """The verdict names the step and the value, and the episodes before and after it are equal."""
    record_steps(tmp_path, episodes=3)
    changed = []

    def alter_second(columns: dict[str, list[Any]]) -> None:
        changed.append(columns)
        if len(changed) == 2:
            columns[column][2] = change(columns[column][2])

    alter(tmp_path, alter_second)
    found = verdicts(tmp_path)
    assert found[0].result == "equal"
    assert (found[1].result, found[1].step) == ("different", step)
    assert text in found[1].detail
    assert f"different from step {step} on" in str(found[1])
    # The generator of CartPole is used by resets alone; another action may end the episode, after which a step is refused.
    assert found[2].result == "equal" or column == "actions"


def test_a_changed_reset_is_found(tmp_path: Path) -> None:
    """A seed that gives another first observation is a difference at the reset."""
    record_steps(tmp_path, episodes=1)
    alter(tmp_path, lambda columns: columns["start"].__setitem__(0, 8))
    [found] = verdicts(tmp_path)
    assert (found.result, found.step) == ("different", 0)
    assert "different at the reset" in str(found)


def test_what_cannot_be_repeated_says_why(tmp_path: Path) -> None:
    """After a restored snapshot come states that seeds and actions do not reach, until the next seed."""
    served = open_served(CreateRequest("CartPole-v1"), may_fork=False)
    served.monitor_start(str(tmp_path), trajectories=True)
    snapshot = ""
    for seed in (1, None, 2):
        served.reset(seed=seed)
        snapshot = json.loads(served.snapshot_create(1).body)["snapshot_id"] if seed == 1 else snapshot
        served.step(1)
        if seed == 1:
            served.snapshot_restore(snapshot)
    served.close()
    found = verdicts(tmp_path)
    assert [each.result for each in found] == ["equal", "impossible", "equal"]
    assert "snapshot" in found[1].detail


class _Failing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises in its second episode."""

    resets = 0

    def reset(self, **options: Any) -> Any:
        self.resets += 1
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        if self.resets == 2:
            raise RuntimeError("broken")
        return super().step(action)


def test_an_environment_that_raises_makes_it_impossible(tmp_path: Path) -> None:
    """So it does for the episodes that go on with its random generator."""
    record_steps(tmp_path, episodes=3)
    found = verdicts(tmp_path, lambda: _Failing(gymnasium.make("CartPole-v1")))
    assert [each.result for each in found] == ["equal", "impossible", "impossible"]
    assert "RuntimeError: broken" in found[1].detail
    assert "the episode before it could not be repeated" in found[2].detail


@pytest.mark.parametrize("num_envs", [2, 11])
def test_each_lane_of_a_batch_is_repeated_alone(tmp_path: Path, num_envs: int) -> None:
    """Lanes have environments of their own, of which eight are open at a time and all are closed."""
    served = open_served(CreateRequest("CartPole-v1", num_envs=num_envs, vectorization_mode="sync"), may_fork=False)
    served.monitor_start(str(tmp_path), trajectories=True)
    served.batch_reset(seed=5)
    for step in range(40):
        served.batch_step([(step + lane) % 2 for lane in range(num_envs)])
    served.close()
    is_open: list[Any] = []
    most = 0

    def make() -> Any:
        nonlocal most
        environment = gymnasium.make("CartPole-v1")
        is_open.append(environment)
        most = max(most, len(is_open))
        close = environment.close
        environment.close = lambda: (close(), is_open.remove(environment))
        return environment

    found = verdicts(tmp_path, make)
    assert {each.lane for each in found} == set(range(num_envs))
    assert {each.result for each in found} == {"equal"}
    assert len(found) > num_envs
    assert (most, is_open) == (min(num_envs, 8), [])


def test_lanes_with_one_generator_cannot_be_repeated_alone(tmp_path: Path) -> None:
    """CartPole's own vector environment draws the states of all lanes from one random generator."""
    request = CreateRequest("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point")
    served = open_served(request, may_fork=False)
    served.monitor_start(str(tmp_path), trajectories=True)
    served.batch_reset(seed=5)
    served.batch_step([0, 1])
    served.close()
    found = verdicts(tmp_path, lambda: pytest.fail("no environment is needed"))
    assert [each.result for each in found] == ["impossible", "impossible"]
    assert "one random generator" in found[0].detail
