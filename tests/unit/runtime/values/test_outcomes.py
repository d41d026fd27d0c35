"""Outcomes of steps in the forms that packages give, reduced to a number and two flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gym_http_server.runtime.values.outcomes import components, reduced


@pytest.mark.parametrize(
    ("reward", "terminated", "truncated", "ends"),
    [
        # Of all agents, each by the one or the other.
        ({"a": 1, "b": 1}, {"a": True, "b": True}, {"a": False, "b": False}, (True, False)),
        ({"a": 1, "b": 1}, {"a": True, "b": False}, {"a": False, "b": True}, (False, True)),
        ({"a": 1, "b": 1}, {"a": True, "b": False}, {"a": False, "b": False}, (False, False)),
        # Agents that are not mentioned have not ended; where there are none any more, the episode has.
        ({"a": 1, "b": 1}, {"a": True}, {}, (False, False)),
        ({}, {}, {}, (True, False)),
        # RLlib says it of all.
        ({"a": 1}, {"__all__": True}, {"__all__": False}, (True, False)),
        ({"a": 1}, {"a": True, "__all__": False}, {"__all__": False}, (False, False)),
        # By position, and one of the two for all agents.
        ((1, 2), [True, False], np.array([False, True]), (False, True)),
        ((1, 2), [False, False], True, (False, True)),
        (1.0, np.array([True]), 0, (True, False)),
    ],
)
def test_an_episode_has_ended_when_all_agents_have(reward: Any, terminated: Any, truncated: Any, ends: Any) -> None:
    """Terminated if all have terminated, truncated if all have ended and one of them by truncation."""
    assert reduced(reward, terminated, truncated)[1:3] == ends


@pytest.mark.parametrize("reward", ["much", object(), np.array(["a", "b"])])
def test_a_reward_without_numbers_is_an_error_of_the_environment(reward: Any) -> None:
    """It is not served as if it were one of several components."""
    with pytest.raises((TypeError, ValueError)):
        reduced(reward, terminated=False, truncated=False)


def test_components_are_named_by_the_keys_and_positions_that_lead_to_them() -> None:
    """What is no number has no return."""
    rewards = {"a": np.array([1.0, -1.0]), "b": (2, None), 3: {"c": np.float32(0.5)}}
    assert components(rewards) == {"a/0": 1.0, "a/1": -1.0, "b/0": 2.0, "3/c": 0.5}
