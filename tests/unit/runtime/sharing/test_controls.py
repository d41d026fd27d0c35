"""Controls: what an environment tells of its keys and actions, in the form of browsers, and nothing of what it tells wrongly."""

from __future__ import annotations

import enum
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from gym_http_server.runtime.sharing.controls import controls


class Told(gymnasium.Env[Any, Any]):
    def __init__(self, keys: Any, meanings: Any = None) -> None:
        self.get_keys_to_action = keys if callable(keys) else lambda: keys
        if meanings is not None:
            self.get_action_meanings = lambda: meanings


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ((), []),
        ((276,), ["ArrowLeft"]),
        ((1073741906, 32), ["ArrowUp", " "]),
        ("wd", ["w", "d"]),
        ((ord("w"), "d"), ["w", "d"]),
        (("e",), ["e"]),
        (13, ["Enter"]),
        (None, []),
    ],
    ids=repr,
)
def test_keys_have_the_names_of_browsers(key: Any, names: list[str]) -> None:
    """Letters, key codes of both versions of pygame, alone, in texts and in tuples; none for doing nothing."""
    assert controls(Told({key: 1}), Discrete(2))["keys"] == [{"keys": names, "action": 1}]


def test_actions_are_plain_values_of_the_action_space() -> None:
    """Numbers of NumPy and arrays are told as stepEnv takes them; one outside the space, as behind a wrapper, is left out."""
    assert controls(Told({"a": np.int64(1), "b": 2}), Discrete(2))["keys"] == [{"keys": ["a"], "action": 1}]
    [told] = controls(Told({"a": np.array([0.5, -1], np.float32)}), Box(-1, 1, (2,)))["keys"]
    assert list(told["action"]) == [0.5, -1.0]


@pytest.mark.parametrize(
    "wrong",
    [None, 3, [], {b"a": 0}, {999999: 0}, {"": 0, ("",): 0}, {"a": object()}, lambda: 1 / 0],
    ids=["nothing", "a number", "a list", "bytes", "no key", "empty texts", "no action", "it raises"],
)
def test_what_is_told_wrongly_is_left_out(wrong: Any) -> None:
    """Another form, keys that no keyboard has, an error: there are no keys then, and the environment is played by its space."""
    found = controls(Told(wrong), Discrete(2))
    assert [each for each in found["keys"] if each["keys"]] == []


@pytest.mark.parametrize(("meanings", "found"), [(["A", 2], ["A", "2"]), (["A"], []), ("AB", []), (7, [])])
def test_there_is_a_meaning_for_each_action_or_none(meanings: Any, found: list[str]) -> None:
    """A list of another length belongs to other actions."""
    assert controls(Told({}, meanings), Discrete(2))["meanings"] == found


def test_an_enumeration_of_actions_gives_their_meanings() -> None:
    """MiniGrid's environments have an IntEnum `actions`."""
    environment = Told({})
    environment.actions = enum.IntEnum("Actions", [("left", 0), ("right", 1)])
    assert controls(environment, Discrete(2))["meanings"] == ["left", "right"]
    assert controls(environment, Discrete(3))["meanings"] == []


def test_the_docstring_of_the_class_is_told() -> None:
    """Without its indentation; not the one of a base class, which says nothing of this environment."""

    class Documented(Told):
        """First line.

        Second.
        """

    assert controls(Documented({}), Discrete(2))["documentation"] == "First line.\n\nSecond."
    assert "documentation" not in controls(Told({}), Discrete(2))
