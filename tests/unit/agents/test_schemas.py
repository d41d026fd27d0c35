"""JSON Schemas of spaces: they accept the members of every kind of space and refuse what is outside, in old dialects, too."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import numpy as np
import orjson
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple

from gym_http_server.agents.schemas import schema_of, value_of
from gym_http_server.errors import InvalidActionError
from gym_http_server.runtime.values.codec import encode
from gym_http_server.runtime.values.encoding import json_bytes
from gym_http_server.runtime.values.opaque import OpaqueSpace
from gym_http_server.runtime.values.spaces import describe

from ...support.sample_spaces import SAMPLE_SPACES


def described(space: Space[Any]) -> Any:
    return orjson.loads(json_bytes(describe(space)))


def accepts(schema: Any, value: Any) -> bool:
    """Return whether a schema accepts a value, in the newest dialect and in one that does not know `prefixItems`."""
    [newest, older] = [
        kind(schema).is_valid(value) for kind in (jsonschema_rs.Draft202012Validator, jsonschema_rs.Draft7Validator)
    ]
    assert older or not newest
    return newest


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_a_schema_accepts_every_member_as_replies_write_it(space: Space[Any]) -> None:
    """Samples of every kind of space are valid."""
    schema = schema_of(described(space))
    space.seed(7)
    for _ in range(10):
        try:
            value = space.sample()
        except TypeError:
            pytest.skip("this NumPy does not sample a longdouble")
        assert accepts(schema, orjson.loads(json_bytes(encode(space, value)))), schema


@pytest.mark.parametrize(
    ("space", "refused"),
    [
        (Discrete(3, start=5), [4, 8, 5.5, "5"]),
        (Box(np.array([0, -1], np.float32), np.array([1, np.inf], np.float32)), [[2, 0], [0, -2], [0], [0, 0, 0], 0]),
        (Box(0, 255, (2, 2), np.uint8), [[[0, 1]], [[0, 1], [2, 256]], [[0, 1], [2, 0.5]]]),
        (MultiDiscrete([2, 3], start=[0, 10]), [[2, 10], [0, 13], [0]]),
        (MultiBinary(3), [[0, 1], [0, 1, 2]]),
        (Text(4, min_length=2, charset="]^-a"), ["a", "aaaaa", "ab"]),
        (Dict({"a": Discrete(2), "b": Text(3)}), [{"a": 1}, {"a": 1, "b": "x", "c": 1}, {"a": 2, "b": ""}]),
        (Tuple([Discrete(2), Text(3)]), [[1], ["x", 1], [1, "x", 1]]),
        (Sequence(Discrete(2)), [[0, 2], 1]),
        (Graph(Box(0, 1, (2,)), Discrete(3)), [{"nodes": [[0, 2]]}, {"nodes": [[0, 1]], "edge_links": [[0]]}, {}]),
        (OneOf([Discrete(2), Text(3)]), [[0, "x"], [2, 0], [0]]),
        (OpaqueSpace("Own", (2,), np.float32), [[1], ["x", 1]]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Space) else "",
)
def test_a_schema_refuses_what_is_outside(space: Space[Any], refused: list[Any]) -> None:
    """Numbers beyond the bounds, lists of another length, other keys and types."""
    schema = schema_of(described(space))
    newest = jsonschema_rs.Draft202012Validator(schema)
    assert [value for value in refused if newest.is_valid(value)] == []


def test_a_text_whose_author_named_no_characters_takes_all() -> None:
    """Gymnasium's default has no blank; a lenient server takes sentences, so the schema does, too."""
    assert accepts(schema_of(described(Text(20))), "go north")


def test_names_are_told_with_the_elements() -> None:
    """Names stand at the elements with bounds of their own, or at the list."""
    bounded = Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))
    items = schema_of(described(bounded), names=("x", "y"))["prefixItems"]
    assert [each["description"] for each in items] == ["x", "y"]
    assert schema_of(described(Box(-1, 1, (2,))), names=("x", "y"))["description"] == "x, y"


def test_a_meaning_stands_for_its_number() -> None:
    """A schema with meanings takes a word or the number, and `value_of` makes the number of both, and of JSON in a text."""
    space = described(Discrete(2, start=1))
    schema = schema_of(space, ("LEFT", "RIGHT"))
    assert schema["description"] == "1: LEFT, 2: RIGHT"
    assert accepts(schema, "RIGHT")
    assert accepts(schema, 2)
    assert not accepts(schema, "UP")
    assert [value_of(space, each, ("LEFT", "RIGHT")) for each in ("right", " LEFT ", "2", 2)] == [2, 1, 2, 2]
    assert value_of(described(Box(-1, 1, (2,))), "[0.5, 1]") == [0.5, 1]
    assert value_of(described(Text(3)), "1") == "1"
    with pytest.raises(InvalidActionError, match="'up' is a text, expected one of LEFT, RIGHT"):
        value_of(space, "up", ("LEFT", "RIGHT"))
