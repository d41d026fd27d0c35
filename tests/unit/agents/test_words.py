"""Spaces, observations and episodes in words: with the names that environments tell, and short for large arrays."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import orjson
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Space, Text, Tuple

from gym_http_server.agents.words import Names, episode_in_words, reward_in_words, space_in_words, value_in_words
from gym_http_server.runtime.sharing.controls import controls
from gym_http_server.runtime.values.codec import encode
from gym_http_server.runtime.values.encoding import json_bytes
from gym_http_server.runtime.values.spaces import describe

from ...support.sample_spaces import SAMPLE_SPACES


def described(space: Space[Any]) -> Any:
    return orjson.loads(json_bytes(describe(space)))


def told(env_id: str) -> tuple[gymnasium.Env[Any, Any], Names]:
    environment = gymnasium.make(env_id)
    own = controls(environment, environment.action_space)
    return environment, Names.of(own, described(environment.action_space), described(environment.observation_space))


def test_an_observation_has_the_names_of_the_docstring_table() -> None:
    """CartPole documents its four numbers and its two actions."""
    environment, names = told("CartPole-v1")
    space = described(environment.observation_space)
    values = [-0.04362, 0.19, 0.0312, -0.2614181]
    assert (
        value_in_words(space, values, names.observation)
        == "cart position -0.0436, cart velocity 0.19, pole angle 0.0312, pole angular velocity -0.261"
    )
    assert space_in_words(space, names.observation).startswith(
        "a list of 4: cart position (-4.8 to 4.8), cart velocity (any"
    )
    assert names.meanings == ("push cart to the left", "push cart to the right")


@pytest.mark.parametrize(
    ("env_id", "part", "first"),
    [
        ("Pendulum-v1", "action", "torque"),
        ("Acrobot-v1", "meanings", "apply -1 torque to the actuated joint"),
        ("Blackjack-v1", "observation", "player current sum"),
        ("FrozenLake-v1", "meanings", "move left"),
        ("MountainCar-v0", "observation", "position of the car along the x-axis"),
    ],
)
def test_names_are_found_in_every_form_that_gymnasium_documents_them_in(env_id: str, part: str, first: str) -> None:
    """Tables with and without a column of numbers, lists of actions; of a space with as many parts only."""
    _, names = told(env_id)
    assert getattr(names, part)[0] == first


def test_names_that_do_not_fit_the_space_are_not_used() -> None:
    """A wrapper may change the space, and a docstring may be wrong."""
    environment, _ = told("CartPole-v1")
    own = controls(environment, environment.action_space)
    assert Names.of(own, described(Discrete(3)), described(Box(-1, 1, (5,)))) == ((), (), ())


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_every_space_and_its_values_have_words(space: Space[Any]) -> None:
    """Every kind is described, a sample is told, and so is a value that does not fit the space."""
    description = described(space)
    space.seed(3)
    if "longdouble" not in str(getattr(space, "dtype", "")) and "float128" not in str(getattr(space, "dtype", "")):
        value_in_words(description, orjson.loads(json_bytes(encode(space, space.sample()))))
    assert space_in_words(description)
    for odd in (None, [], {}, "x", 1.5, [[1], [2, 3]], {"a": None}, 1e100):
        assert isinstance(value_in_words(description, odd), str)


def test_an_image_is_told_by_its_shape() -> None:
    """Nobody reads 100,000 numbers: that it is an image, shape, smallest, greatest and mean stand for them."""
    space = Box(0, 255, (210, 160, 3), np.uint8)
    pixels = np.zeros((210, 160, 3), np.uint8)
    pixels[0] = 200
    words = value_in_words(described(space), pixels.tolist())
    assert words == "an image, 210 x 160 x 3 numbers from 0 to 200, 0.952 on average"
    assert space_in_words(described(space)) == "an image, nested lists of 210 x 160 x 3 numbers, each 0 to 255"


def test_words_of_language_environments_are_their_texts() -> None:
    """A Text is told as it is, a Dict by its keys, a Tuple as a list."""
    space = Dict({"mission": Text(30), "at": Tuple([Discrete(3), Discrete(3)])})
    words = value_in_words(described(space), {"mission": "go north", "at": [1, 2]})
    assert words == "mission go north; at (1, 2)"


def test_an_episode_and_its_rewards_have_words() -> None:
    """Steps, limit, how it ended; rewards as numbers, by component or by agent."""
    assert episode_in_words(12, 500) == "episode goes on (step 12 of 500)"
    assert (
        episode_in_words(3, 500, terminated=True, total=3.0)
        == "episode is over after 3 steps: terminated; total reward 3"
    )
    assert "time limit" in episode_in_words(1, truncated=True)
    assert [reward_in_words(each) for each in (1.0, 0.25, [1, 0.5], {"a": -1}, None)] == [
        "reward 1",
        "reward 0.25",
        "reward [1, 0.5]",
        "reward a -1",
        "no reward",
    ]
