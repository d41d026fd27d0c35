"""Values are compared to the bit, and a difference says where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import GraphInstance

from gym_http_server.datasets.comparison import difference
from tests.support.typed_envs import told


def objects() -> Any:
    array = np.empty((1,), object)
    array[0] = np.float32(1)
    return array


@pytest.mark.parametrize(
    "value",
    [told(3), float("nan"), -0.0, [1, (2, {"a": np.zeros(2)})], GraphInstance(np.zeros((2, 2)), None, None), objects()],
)
def test_a_value_is_equal_to_its_twin(value: Any) -> None:
    """NaN is equal to NaN, in values nested in any way."""
    assert difference(value, value) is None


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (1.0, 1, "1.0 of type float was recorded, now 1 of type int"),
        (np.float32(1), np.float64(1), "of type float32"),
        (0.0, -0.0, ": 0.0 was recorded, now -0.0"),
        (True, np.True_, "of type bool"),
        (np.zeros(2, np.float32), np.zeros(2), "float32 of shape (2,) was recorded, now float64"),
        (np.zeros((2, 2)), np.eye(2), "[0, 0]: 0.0 was recorded, now 1.0 (2 of 4 numbers differ)"),
        (np.array(1.0), np.array(2.0), "1.0 was recorded, now 2.0"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "['a'][1]: 2 was recorded, now 3"),
        ({"a": 1}, {"b": 1}, "the keys ['a'] were recorded"),
        ((1, 2), [1, 2], "a tuple of 2 was recorded, now a list of 2"),
        ([1], [1, 2], "a list of 1 was recorded, now a list of 2"),
        ("a", "b", "'a' was recorded, now 'b'"),
        (objects(), np.array([1], object), "[(0,)]: 1.0 of type float32"),
    ],
)
def test_a_difference_says_where_it_is(one: Any, other: Any, text: str) -> None:
    """Types, dtypes, shapes, signs of zeros, keys and lengths count."""
    found = difference(one, other)
    assert found is not None
    assert text in found
