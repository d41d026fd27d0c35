"""What descriptors of spaces say, and that a space can be rebuilt from one."""

from __future__ import annotations

import copy
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Text, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.runtime.values.spaces import describe, rebuild
from tests.support.sample_spaces import INF, SAMPLE_SPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def walk(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_a_descriptor_survives_json_and_rebuilds_the_space(space):
    """What a client reads from the wire is enough to rebuild the very same space, its kind, bounds and dtypes."""
    text = json.dumps(describe(space), allow_nan=False)
    rebuilt = rebuild(json.loads(text))
    assert rebuilt == space
    assert type(rebuilt) is type(space)
    # Gymnasium compares bounds approximately and not the dtype of every kind; the descriptor knows both exactly.
    assert json.dumps(describe(rebuilt)) == text


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_a_descriptor_holds_nothing_but_plain_json_types_and_no_null(space):
    """Numpy scalars, tuples and None would trip the encoders and the clients."""
    for value in walk(describe(space)):
        assert type(value) in (dict, list, str, int, float, bool)


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_a_descriptor_begins_with_the_name_of_the_kind(space):
    """The first key is `name`, which is the class name in Gymnasium."""
    descriptor = describe(space)
    assert next(iter(descriptor)) == "name"
    assert descriptor["name"] == type(space).__name__


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Discrete(2), {"name": "Discrete", "n": 2, "start": 0, "dtype": "int64"}),
        (
            Box(np.array([[0.5, -INF]]), np.array([[INF, 1.5]]), dtype=np.float64),
            {"name": "Box", "shape": [1, 2], "low": [0.5, -1e100], "high": [1e100, 1.5], "dtype": "float64"},
        ),
        (
            Box(0, 255, (2,), np.uint8),
            {"name": "Box", "shape": [2], "low": [0, 0], "high": [255, 255], "dtype": "uint8"},
        ),
        (Box(0, 1, (1,), np.bool_), {"name": "Box", "shape": [1], "low": [0], "high": [1], "dtype": "bool"}),
        (
            MultiDiscrete([[2, 3]], start=[[0, -1]]),
            {"name": "MultiDiscrete", "nvec": [2, 3], "shape": [1, 2], "start": [0, -1], "dtype": "int64"},
        ),
        (MultiBinary(3), {"name": "MultiBinary", "n": 3, "shape": [3], "dtype": "int8"}),
        (MultiBinary([3]), {"name": "MultiBinary", "n": 3, "n_is_list": True, "shape": [3], "dtype": "int8"}),
        (MultiBinary([3, 2]), {"name": "MultiBinary", "shape": [3, 2], "dtype": "int8"}),
        (Text(4, charset="cab"), {"name": "Text", "min_length": 1, "max_length": 4, "characters": "cab"}),
        (
            Sequence(MultiBinary([1, 1])),
            {
                "name": "Sequence",
                "space": {"name": "MultiBinary", "shape": [1, 1], "dtype": "int8"},
                "stacked": False,
            },
        ),
        (OneOf([Tuple([])]), {"name": "OneOf", "spaces": [{"name": "Tuple", "spaces": []}]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_descriptor_of_a_kind_is_exactly_this(space, expected):
    """Keys, their order and the types of their values are the contract; ints stay ints, floats floats."""
    assert json.dumps(describe(space)) == json.dumps(expected)


def test_a_graph_without_edges_has_no_edge_space():
    """A key that has nothing to say is absent, not null."""
    assert "edge_space" not in describe(Graph(Discrete(2), None))
    assert describe(Graph(Discrete(2), Discrete(3)))["edge_space"]["n"] == 3


def test_the_order_of_a_dict_is_told_twice_and_survives_a_library_that_sorts_keys():
    """`keys` repeats the order, and rebuilding follows it, whatever became of the object's own."""
    space = Dict([("z", Discrete(2)), ("a", Discrete(3))])
    descriptor = describe(space)
    assert descriptor["keys"] == list(descriptor["spaces"]) == ["z", "a"]
    assert list(rebuild(json.loads(json.dumps(descriptor, sort_keys=True)))) == ["z", "a"]


def test_a_bound_of_1e100_is_rebuilt_as_infinity_and_one_beyond_as_it_is():
    """±1e100 stands for an infinity alone, in the float dtypes that reach it and in those that do not."""
    wide = Box(-1e200, 1e300, (1,), np.float64)
    assert (describe(wide)["low"], describe(wide)["high"]) == ([-1e200], [1e300])
    assert rebuild(describe(wide)) == wide
    for dtype in ("float16", "float32", "float64"):
        rebuilt = rebuild({"name": "Box", "shape": [1], "low": [-1e100], "high": [1e100], "dtype": dtype})
        assert (rebuilt.low[0], rebuilt.high[0]) == (-INF, INF)


def test_bounds_given_as_integral_floats_rebuild_an_integer_box():
    """JSON libraries that know only one type of number write 255 as 255.0."""
    descriptor = {"name": "Box", "shape": [1], "low": [0.0], "high": [255.0], "dtype": "uint8"}
    assert rebuild(descriptor) == Box(0, 255, (1,), np.uint8)


def test_the_descriptor_of_a_screen_takes_no_longer_than_a_moment():
    """The 201,600 bounds of an Atari screen must not hold up a request for a visible time."""
    screen = Box(0, 255, (210, 160, 3), np.uint8)
    started = time.process_time()
    describe(screen)
    assert time.process_time() - started < 0.25


def test_a_subclass_is_described_as_the_kind_it_is():
    """A client knows Gymnasium's kinds, not the classes of some package."""

    class Joints(Box):
        pass

    assert describe(Joints(-1, 1, (2,)))["name"] == "Box"


class Manifold(gymnasium.Space[Any]):
    """A space of a package's own."""


def test_a_packages_own_space_is_told_by_its_class_name_as_opaque():
    """With shape and dtype where its values are arrays of numbers, and never by the name of a kind that clients know."""
    assert describe(Manifold(None, str)) == {"name": "Manifold", "opaque": True}
    assert describe(Manifold((2, 3), np.float32)) == {
        "name": "Manifold",
        "opaque": True,
        "shape": [2, 3],
        "dtype": "float32",
    }
    impostor = type("Box", (gymnasium.Space,), {"__module__": "mine"})
    assert describe(impostor()) == {"name": "mine.Box", "opaque": True}
    assert describe(type("Mine", (Discrete,), {})(2))["name"] == "Discrete"


def test_an_opaque_descriptor_is_rebuilt_inside_every_kind():
    """The rebuilt space is equal to another of the same descriptor, survives copies, and says that it has no owner."""
    space = Dict({"a": Tuple([Manifold(), OneOf([Manifold((2,), np.int8)])]), "b": Sequence(Manifold())})
    rebuilt = rebuild(describe(space))
    assert describe(rebuilt) == describe(space)
    assert rebuilt == copy.deepcopy(rebuilt) == rebuild(describe(space))
    assert pickle.loads(pickle.dumps(rebuilt)) == rebuilt  # noqa: S301 -- of this process
    with pytest.raises(RuntimeError, match="Manifold"):
        rebuilt.sample()


def test_what_is_no_space_has_no_descriptor():
    """It is refused by the name of its class."""
    with pytest.raises(TypeError, match="NoneType"):
        describe(None)


def test_every_bound_of_a_float_box_comes_back():
    """Those beyond 1e100, those of exactly ±1e100, the greatest numbers of the dtypes and infinities."""
    for dtype in (np.float16, np.float32, np.float64):
        most = np.finfo(dtype).max
        for low, high in ((-most, most), (-INF, INF), (-most, INF), (0, most)):
            box = Box(low, high, (2,), dtype)
            assert rebuild(json.loads(json.dumps(describe(box)))) == box
    mixed = Box(np.array([-1e100, -INF, -1.7e308]), np.array([1.7e308, 1e100, INF]), dtype=np.float64)
    assert rebuild(json.loads(json.dumps(describe(mixed)))) == mixed


BOX = {"name": "Box", "shape": [2], "low": [0, 0], "high": [1, 1], "dtype": "float32"}


@pytest.mark.parametrize(
    ("descriptor", "reason"),
    [
        (None, "name is None"),
        ([], "name is None"),
        ({}, "name is None"),
        ({"name": []}, "name is"),
        ({"name": "Sphere"}, "'Sphere', expected one of Box"),
        ({"name": "Discrete", "n": 2, "dtype": "int64"}, "Discrete lacks the key 'start'"),
        ({"name": "Discrete", "n": "2", "start": 0, "dtype": "int64"}, "Discrete: .*integer"),
        ({"name": "Discrete", "n": 0, "start": 0, "dtype": "int64"}, "Discrete: .*positive"),
        ({"name": "Discrete", "n": 2**70, "start": 0, "dtype": "int64"}, "Discrete: "),
        ({"name": "Discrete", "n": 2, "start": 0, "dtype": "float32"}, "Discrete: .*float32"),
        (BOX | {"dtype": "float33"}, "unknown dtype 'float33'"),
        (BOX | {"dtype": None}, "unknown dtype None"),
        (BOX | {"low": [0]}, "`low` is not a flat list of 2 values"),
        (BOX | {"low": [[0, 0]]}, "`low` is not a flat list of 2 values"),
        (BOX | {"low": "00"}, "`low` is not a flat list of 2 values"),
        (BOX | {"high": ["1", "1"]}, "`high` holds something other than numbers"),
        (BOX | {"high": [True, 1]}, "`high` holds something other than numbers"),
        (BOX | {"high": [1, -1]}, "Box: "),
        (BOX | {"high": [1, float("nan")]}, "Box: "),
        (BOX | {"dtype": "uint8", "high": [1.5, 1]}, "`high` holds fractions"),
        (BOX | {"dtype": "uint8", "high": [256, 1]}, "Box: .*256"),
        (BOX | {"dtype": "uint8", "high": [float("inf"), 1]}, "Box: "),
        (BOX | {"dtype": "bool", "high": [2, 1]}, "2, which bool does not"),
        (BOX | {"shape": 2}, "`shape` is 2"),
        (BOX | {"shape": [-2]}, "`shape` is"),
        (BOX | {"shape": [2.0]}, "`shape` is"),
        ({"name": "MultiBinary", "shape": [0], "dtype": "int8"}, "MultiBinary: .*positive"),
        ({"name": "MultiDiscrete", "nvec": [0], "start": [0], "shape": [1], "dtype": "int8"}, "MultiDiscrete: "),
        ({"name": "Text", "min_length": 3, "max_length": 1, "characters": "a"}, "Text: .*min_length"),
        ({"name": "Text", "min_length": 0, "max_length": 1, "characters": 5}, "Text: "),
        ({"name": "Tuple", "spaces": 5}, "Tuple: "),
        ({"name": "Tuple", "spaces": [BOX | {"low": [0]}]}, "Tuple: Box: `low`"),
        ({"name": "Dict", "spaces": [BOX]}, "Dict: "),
        ({"name": "Dict", "spaces": {"a": BOX}, "keys": ["b"]}, r"`keys` lists \['b'\]"),
        ({"name": "Dict", "spaces": {"a": BOX}, "keys": ["a", "a"]}, "`keys` lists"),
        ({"name": "Sequence", "space": None, "stacked": False}, "Sequence: not a descriptor"),
        ({"name": "Graph", "node_space": 1}, "Graph: not a descriptor"),
        ({"name": "OneOf", "spaces": []}, "OneOf: "),
    ],
)
def test_a_descriptor_that_cannot_be_read_is_refused_with_its_reason(descriptor, reason):
    """Whatever is wrong with a descriptor is a ValueError that says what."""
    with pytest.raises(ValueError, match=reason):
        rebuild(descriptor)


def test_a_descriptor_nested_beyond_the_stack_is_refused():
    """Depth is bad input like any other."""
    descriptor: dict[str, Any] = describe(Discrete(2))
    for _ in range(5000):
        descriptor = {"name": "Tuple", "spaces": [descriptor]}
    with pytest.raises(ValueError, match="recursion"):
        rebuild(descriptor)


@pytest.mark.parametrize("space", SAMPLE_SPACES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_damaged_descriptor_is_rebuilt_or_refused_with_a_value_error(space, data):
    """Whatever one key is replaced with, there is no other outcome."""
    descriptor = describe(space)
    key = data.draw(st.sampled_from([key for key in descriptor if key != "name"]))
    damaged = descriptor | {key: data.draw(JSON_VALUES)}
    try:
        space = rebuild(damaged)
    except ValueError:
        return
    assert isinstance(space, gymnasium.Space)
