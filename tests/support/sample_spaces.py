"""One published list of spaces of every kind, which every codec must carry there and back; and how to compare values."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Text,
    Tuple,
)

INF = np.inf

_HALF_BOUNDED = Box(np.array([-INF, 0, -1, -INF]), np.array([INF, INF, 1, 5]), dtype=np.float64)
_NESTED = Dict(
    {
        "camera": Box(0, 255, (2, 3, 3), np.uint8),
        "arm": Dict({"joints": Box(-1, 1, (3,)), "grip": Discrete(2)}),
        "log": Sequence(Dict({"word": Text(5), "at": Tuple([Discrete(3, start=1), Box(-INF, INF, (1,))])})),
        "goal": OneOf([Discrete(4), Dict({"map": Graph(Box(0, 1, (2,)), Discrete(3))})]),
    }
)

_SPACES: dict[str, Any] = {
    "discrete": Discrete(2),
    "discrete-one": Discrete(1),
    "discrete-start": Discrete(5, start=3),
    "discrete-negative-start": Discrete(5, start=-7),
    "box-float32": Box(-1, 1, (3,)),
    "box-float32-fractions": Box(np.array([-0.1, 1e-8], np.float32), np.array([0.1, 4.8], np.float32)),
    "box-float16": Box(-1, 1, (2, 2), np.float16),
    "box-float64": Box(-0.1, 0.3, (2,), np.float64),
    "box-longdouble": Box(-INF, INF, (2,), np.longdouble),
    "box-unbounded": Box(-INF, INF, (4,)),
    "box-unbounded-float16": Box(-INF, INF, (2,), np.float16),
    "box-half-bounded": _HALF_BOUNDED,
    "box-below-only": Box(0, INF, (2, 1)),
    "box-one-element": Box(-2, 2, (1,)),
    "box-one-element-deep": Box(-2, 2, (1, 1, 1)),
    "box-0d": Box(-1, 1, ()),
    "box-0d-uint8": Box(0, 9, (), np.uint8),
    "box-empty": Box(-1, 1, (0, 3)),
    "box-empty-inside": Box(-1, 1, (2, 0)),
    "box-many": Box(-1, 1, (5, 4, 3)),
    "box-uint8": Box(0, 255, (4, 3, 3), np.uint8),
    "box-int8": Box(-128, 127, (2,), np.int8),
    "box-int32-unbounded": Box(-INF, INF, (2,), np.int32),
    "box-int64": Box(-(2**53), 2**53, (3,), np.int64),
    "box-uint32": Box(0, 2**32 - 1, (2,), np.uint32),
    "box-bool": Box(0, 1, (2, 2), np.bool_),
    "multi-discrete": MultiDiscrete([3, 2, 5]),
    "multi-discrete-start": MultiDiscrete([3, 2], start=[-1, 10], dtype=np.int32),
    "multi-discrete-2d": MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[0, -3], [1, 100]])),
    "multi-discrete-uint8": MultiDiscrete([200, 200], start=[50, 0], dtype=np.uint8),
    "multi-binary": MultiBinary(4),
    "multi-binary-one": MultiBinary(1),
    "multi-binary-2d": MultiBinary([2, 3]),
    "text": Text(8),
    "text-may-be-empty": Text(3, min_length=0, charset="01"),
    "text-characters": Text(6, min_length=2, charset='zæ"\\/ \n\u2028🙂nul'),
    "tuple": Tuple([Discrete(3), Box(-1, 1, (2,))]),
    "tuple-empty": Tuple([]),
    "tuple-nested": Tuple([Tuple([Discrete(2), Tuple([Text(3)])]), MultiBinary(2)]),
    "dict": Dict({"position": Box(-1, 1, (2,)), "keys": MultiBinary(3)}),
    "dict-order": Dict([("z", Discrete(2)), ("a", Discrete(3)), ("m", Discrete(4))]),
    "dict-empty": Dict({}),
    "dict-odd-keys": Dict({"": Discrete(2), "a b/ü": Discrete(2), "name": Discrete(2)}),
    "dict-nested": _NESTED,
    "sequence-discrete": Sequence(Discrete(3, start=-1)),
    "sequence-box": Sequence(Box(-INF, INF, (2,))),
    "sequence-sequence": Sequence(Sequence(Text(2))),
    "sequence-stacked-discrete": Sequence(Discrete(3), stack=True),
    "sequence-stacked-box": Sequence(Box(0, 1, (2, 2)), stack=True),
    "sequence-stacked-0d": Sequence(Box(-1, 1, ()), stack=True),
    "sequence-stacked-multi-binary": Sequence(MultiBinary([2, 2]), stack=True),
    "sequence-stacked-multi-discrete": Sequence(MultiDiscrete([2, 3], start=[4, 5]), stack=True),
    "sequence-stacked-text": Sequence(Text(3), stack=True),
    "sequence-stacked-dict": Sequence(
        Dict({"a": Box(0, 1, (2,)), "b": Tuple([Discrete(3), Text(2), Dict({"c": MultiBinary(2)})])}), stack=True
    ),
    "graph": Graph(Box(-1, 1, (3,)), Discrete(4, start=1)),
    "graph-box-edges": Graph(Discrete(5), Box(-INF, INF, (2,), np.float64)),
    "graph-no-edges": Graph(Box(-1, 1, ()), None),
    "one-of": OneOf([Discrete(3), Box(-1, 1, (2,)), Text(3)]),
    "one-of-nested": OneOf([OneOf([Discrete(2), Tuple([Discrete(2)])]), Sequence(Discrete(2))]),
}


def _newer_spaces() -> dict[str, Any]:
    """Return spaces that only newer versions of Gymnasium take; the package serves older ones, too."""
    return {
        "discrete-int32": Discrete(5, start=-2, dtype=np.int32),
        "discrete-uint8": Discrete(200, start=50, dtype=np.uint8),
        "graph-dict-nodes": Graph(
            Dict({"x": Box(0, 1, (2,)), "kind": Discrete(3)}), Tuple([Discrete(2), Box(0, 1, (1,))])
        ),
    }


with contextlib.suppress(TypeError, AssertionError):
    _SPACES |= _newer_spaces()

SAMPLE_SPACES = [pytest.param(space, id=name) for name, space in _SPACES.items()]
"""Parameters for `pytest.mark.parametrize("space", SAMPLE_SPACES)`."""


def in_order(space, value):
    """Return an observation with the keys of its Dict space in their order, which is how one comes from a server."""
    return {key: value[key] for key in space.spaces} if isinstance(space, Dict) else value


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a space are the same bit by bit: type, dtype, shape, order of keys, signs, NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray) and one.dtype == object:
        return one.dtype == other.dtype and one.shape == other.shape and all(map(same, one.flat, other.flat))
    if isinstance(one, np.ndarray | np.generic):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
            and (one.dtype.kind != "f" or np.array_equal(np.signbit(one), np.signbit(other)))
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (type(one) is float and one != one and other != other)
