"""How a client's values become an environment's, and an environment's a client's."""

from __future__ import annotations

import inspect
import json
import warnings
from collections import deque
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    GraphInstance,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Text,
    Tuple,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.runtime.values.codec import checker, contains, decode, decoder, encode, encoder
from gym_http_server.runtime.values.encoding import json_bytes
from tests.support.sample_spaces import INF, SAMPLE_SPACES, same

NAN = float("nan")
SEEDS = st.integers(0, 2**31 - 1)
NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 255, 256, 2**31, 2**63, 2**64, 10**400, 1.0, -0.0, 0.5, 1e39, 1e100, -1e300, NAN]
)
LEAVES = NUMBERS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("1")
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["nodes", "edges", "edge_links", "a", "b", "x"]), inner, max_size=4)
        | st.builds(lambda item, count: [item] * count, inner, st.integers(0, 5))
    ),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """Return `value` with lists for arrays, as JSON has them."""
    return json.loads(json_bytes(value))


def sample(space: Any, seed: int) -> Any:
    space.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = space.sample()
        except TypeError:  # Gymnasium cannot sample a Box of longdouble
            return np.random.default_rng(seed).normal(size=space.shape).astype(space.dtype)
    # Gymnasium samples a numpy scalar, not an array, for a 0-d Box of integers.
    return np.asarray(value) if isinstance(space, Box) else value


@pytest.mark.parametrize("space", SAMPLE_SPACES)
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_a_value_survives_json_bit_by_bit(space, seed):
    """What an environment returns, sent as JSON and decoded for the same space, is the same value and a member."""
    value = sample(space, seed)
    wire = json.loads(json_bytes(encode(space, value)))
    decoded = decode(space, wire)
    expected = value
    if isinstance(space, Dict):
        expected = {key: value[key] for key in space.spaces}
    if np.dtype(space.dtype) == np.longdouble:
        # JSON's numbers are doubles.
        expected = value.astype(np.float64).astype(np.longdouble)
    assert same(decoded, expected), f"{decoded!r} is not {expected!r}"
    assert checker(space)(decoded)
    assert contains(space, wire)


@pytest.mark.parametrize("space", SAMPLE_SPACES)
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_arrays_in_place_of_lists_decode_to_the_same_value(space, seed):
    """A binary format sends the arrays themselves; they need not become lists first."""
    value = sample(space, seed)
    encoded = encode(space, value)
    if np.dtype(space.dtype) != np.longdouble:
        assert same(decode(space, encoded), decode(space, plain(encoded)))


@pytest.mark.parametrize("space", SAMPLE_SPACES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_no_json_value_raises_more_than_a_value_error(space, data):
    """Decoding anything at all gives a value or a ValueError with a reason, and `contains` gives a bool."""
    value = data.draw(VALUES)
    try:
        decoded = decode(space, value)
    except ValueError:
        assert contains(space, value) is False
    else:
        assert contains(space, value) is checker(space)(decoded)


@pytest.mark.parametrize("space", SAMPLE_SPACES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_membership_is_what_gymnasium_says_it_is(space, data):
    """The compiled check of a decoded value agrees with the space's own, for members and for their neighbours."""
    wire = plain(encode(space, sample(space, data.draw(SEEDS))))
    wire = _disturb(wire, data)
    try:
        decoded = decode(space, wire)
    except ValueError:
        assert contains(space, wire) is False
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert checker(space)(decoded) is bool(space.contains(decoded))


def _disturb(wire: Any, data: Any) -> Any:
    if isinstance(wire, list) and wire:
        index = data.draw(st.integers(0, len(wire) - 1))
        return [*wire[:index], _disturb(wire[index], data), *wire[index + 1 :]]
    if isinstance(wire, dict) and wire:
        key = data.draw(st.sampled_from(sorted(wire)))
        return wire | {key: _disturb(wire[key], data)}
    if isinstance(wire, str):
        return wire + data.draw(st.sampled_from(["", "a", "0", "~", "aaaaaaaa"]))
    if isinstance(wire, int | float):
        return wire + data.draw(st.sampled_from([0, 1, -1, 3, -4, 300, 1e101]))
    return wire


@pytest.mark.skipif("dtype" not in inspect.signature(Discrete).parameters, reason="Gymnasium 1.1 has none")
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_a_discrete_value_has_the_dtype_of_its_space(kind):
    """Environment code gets a numpy integer, as from `sample`."""
    decoded = decode(Discrete(5, dtype=kind), 3)
    assert decoded == 3
    assert type(decoded) is kind


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (Box(-1, 1, (2,)), [0, 1], [0.0, 1.0]),
        (Box(-1, 1, (2,)), (0, 1), [0.0, 1.0]),
        (Box(-1, 1, (1,)), 0.5, [0.5]),
        (Box(-1, 1, (1,)), 1, [1.0]),
        (Box(-1, 1, (1, 1)), 0.5, [[0.5]]),
        (Box(-1, 1, (1, 1)), [0.5], [[0.5]]),
        (Box(-1, 1, ()), 0.5, 0.5),
        (Box(-1, 1, ()), [0.5], 0.5),
        (Box(0, 255, (1,), np.uint8), 7, [7]),
        (Box(0, 255, (2,), np.uint8), [7.0, 0], [7, 0]),
        (Box(0, 1, (2,), np.bool_), [True, 0], [True, False]),
        (MultiDiscrete([3, 3]), [1.0, 2], [1, 2]),
        (MultiDiscrete([3]), 2, [2]),
        (MultiBinary(3), [True, False, 1], [1, 0, 1]),
        (MultiBinary(1), True, [1]),
        (Discrete(3), 2.0, 2),
        (Discrete(3), np.array(2), 2),
        (Box(-INF, INF, (3,)), [1e100, -1e100, 1e300], [INF, -INF, INF]),
        (Box(-INF, INF, (2, 1), np.float64), [[1e100], [-1e200]], [[INF], [-1e200]]),
        (Box(-INF, INF, (3,), np.float64), [10**150, 10**400, -(10**400)], [1e150, INF, -INF]),
        (Box(-INF, INF, (2,), np.float64), [1e100, -1e100], [INF, -INF]),
        (Box(-INF, INF, (2,), np.float64), np.array([1e100, -1e100]), [INF, -INF]),
        (Box(-INF, INF, (2,)), np.array([1e39, NAN]), [INF, NAN]),
        (Box(-INF, INF, (2,)), [1e39, 1], [INF, 1]),
        (Box(-INF, INF, (2,), np.float64), [10**400, -(10**100)], [INF, -INF]),
        (Box(-INF, INF, (2,)), [None, 1], [NAN, 1]),
        (Box(-INF, INF, (2,)), [None, -(10**400)], [NAN, -INF]),
        (Box(-INF, INF, (1,), np.float16), [70000], [INF]),
    ],
)
def test_conversions_that_clients_rely_on_are_made(space, value, expected):
    """Integers for floats and integral floats for integers, a scalar for one element, ±1e100 and null."""
    decoded = decode(space, value)
    assert decoded.dtype == space.dtype
    assert decoded.shape == space.shape
    assert np.array_equal(decoded, np.array(expected), equal_nan=decoded.dtype.kind == "f")


GRAPH = Graph(Box(-1, 1, (2,)), Discrete(3))


@pytest.mark.parametrize(
    ("space", "value", "reason"),
    [
        (Discrete(3), True, "expected an integer, got True"),
        (Discrete(3), "1", "expected an integer, got '1'"),
        (Discrete(3), 1.5, "expected an integer, got 1.5"),
        (Discrete(3), NAN, "expected an integer, got nan"),
        (Discrete(3), INF, "expected an integer, got inf"),
        (Discrete(3), None, "expected an integer, got None"),
        (Discrete(3), [1], r"expected an integer, got \[1\]"),
        (Discrete(3), 2**64, "range of int64"),
        *(
            ((SAMPLE_SPACES["discrete-uint8"], 256, r"range of uint8 \(0 to 255\)"),)
            if "discrete-uint8" in SAMPLE_SPACES
            else ()
        ),
        pytest.param(Discrete(3), 10**5000, "range of int64", id="an integer of 5000 digits"),
        pytest.param(Text(3), 10**5000, "an integer of thousands of digits", id="one in place of a string"),
        (Box(-1, 1, (2,)), [0.5], r"expected shape \[2\], got \[1\]"),
        (Box(-1, 1, (2,)), [[0.5, 0.5]], r"expected shape \[2\], got \[1, 2\]"),
        (Box(-1, 1, (2,)), 0.5, r"expected shape \[2\], got \[\]"),
        (Box(-1, 1, (2, 2)), [1, 2, 3, 4], r"expected shape \[2, 2\], got \[4\]"),
        (Box(-1, 1, (2,)), [], r"expected shape \[2\], got \[0\]"),
        (Box(-1, 1, (2,)), np.zeros((2, 1)), r"expected shape \[2\], got \[2, 1\]"),
        (Box(-1, 1, (0, 3)), 0.5, r"expected shape \[0, 3\], got \[\]"),
        (Box(-1, 1, (0, 3)), [[]], r"expected shape \[0, 3\], got \[1, 0\]"),
        (Box(-1, 1, (2,)), ["0", "1"], "expected numbers, got '0'"),
        (Box(-1, 1, (2,)), "01", "expected numbers, got '01'"),
        (Box(-1, 1, (2,)), [True, 0.5], "expected numbers, got True"),
        (Box(-1, 1, (2,)), np.array([True, False]), "expected numbers, got True"),
        (Box(-1, 1, (2,)), np.array(["0", "1"]), "dtype <U1"),
        (Box(-1, 1, (2,)), np.array([1j, 0]), "dtype complex128"),
        (Box(-1, 1, (2,)), {"a": 1}, "expected numbers, got {'a': 1}"),
        (Box(-1, 1, (2,)), None, r"expected shape \[2\], got \[\]"),
        (Box(-1, 1, (2, 2)), [[1, 1], [1]], "ragged"),
        (Box(-1, 1, (2, 2)), [[1, 1], 1], "ragged"),
        (Box(-1, 1, (2,)), [[1], "ab"], "ragged"),
        (Box(0, 255, (1,), np.uint8), [256], r"range of uint8 \(0 to 255\)"),
        (Box(0, 255, (1,), np.uint8), [-1], "range of uint8"),
        (Box(0, 255, (1,), np.uint8), [10**400], "range of uint8"),
        (Box(0, 255, (1, 1), np.uint8), [[1e100]], "range of uint8"),
        (Box(0, 255, (1,), np.uint8), np.array([256]), "range of uint8"),
        (Box(0, 255, (1,), np.uint8), np.array([np.inf]), "expected an integer, got inf"),
        (Box(0, 255, (1,), np.uint8), [0.5], "expected an integer, got 0.5"),
        (Box(0, 255, (1,), np.uint8), [None], "expected integers, got None"),
        (Box(0, 255, (1,), np.uint8), [True], "expected integers, got True"),
        (Box(0, 1, (1,), np.bool_), [2], r"range of bool \(0 to 1\)"),
        (Box(-(2**63), 2**62, (1,), np.int64), np.array([2.0**63]), "range of int64"),
        (MultiDiscrete([3, 3]), [True, 1], "expected integers, got True"),
        (MultiBinary(2), ["1", "0"], "expected integers, got '1'"),
        (Text(3), 5, "expected a string, got 5"),
        (Text(3), None, "expected a string, got None"),
        (Tuple([Discrete(2), Text(2)]), [0], "expected 2 items, got 1"),
        (Tuple([Discrete(2), Text(2)]), {"0": 1}, "expected an array, got {'0': 1}"),
        (Tuple([Discrete(2), Text(2)]), "ab", "expected an array, got 'ab'"),
        (Tuple([Discrete(2), Text(2)]), [0, 1], "1: expected a string, got 1"),
        (Dict({"a": Discrete(2), "b": Discrete(2)}), {"a": 0}, r"missing \['b'\], unexpected \[\]"),
        (Dict({"a": Discrete(2)}), {"a": 0, "c": 1}, r"missing \[\], unexpected \['c'\]"),
        (Dict({"a": Discrete(2)}), [0], r"expected an object, got \[0\]"),
        (Dict({"a": Tuple([Discrete(2)])}), {"a": ["x"]}, "a: 0: expected an integer, got 'x'"),
        (Sequence(Discrete(2)), 1, "expected an array, got 1"),
        (Sequence(Discrete(2)), [0, "1"], "1: expected an integer, got '1'"),
        (Sequence(Box(0, 1, (2,)), stack=True), [[0, 0], [1]], "ragged"),
        (Sequence(Box(0, 1, (2,)), stack=True), [0, 0], r"expected shape \['n', 2\], got \[2\]"),
        (Sequence(Box(0, 1, ()), stack=True), 0.5, r"expected shape \['n'\], got \[\]"),
        (
            Sequence(Dict({"a": Discrete(2), "b": Text(2)}), stack=True),
            {"a": [0, 1], "b": ["x"]},
            r"different lengths: \[2, 1\]",
        ),
        (GRAPH, [], r"expected an object, got \[\]"),
        (GRAPH, {}, r"missing \['nodes'\]"),
        (GRAPH, {"nodes": [[0, 0]], "edges": [1]}, r"missing \['edge_links'\]"),
        (GRAPH, {"nodes": [[0, 0]], "links": 1}, r"unexpected \['links'\]"),
        (GRAPH, {"nodes": [[0]]}, r"nodes: expected shape \['n', 2\], got \[1, 1\]"),
        (GRAPH, {"nodes": [[0, 0]], "edges": [1], "edge_links": [[0]]}, "edge_links: expected shape"),
        (Graph(Discrete(2), None), {"nodes": [1], "edges": [1], "edge_links": [[0, 0]]}, "unexpected"),
        (OneOf([Discrete(2), Text(2)]), [2, "a"], "expected an index from 0 to 1, got 2"),
        (OneOf([Discrete(2), Text(2)]), [-1, "a"], "expected an index from 0 to 1, got -1"),
        (OneOf([Discrete(2), Text(2)]), [True, "a"], "index: expected an integer, got True"),
        (OneOf([Discrete(2), Text(2)]), [0], "expected an index and a value, got 1 items"),
        (OneOf([Discrete(2), Text(2)]), [0, "a"], "value: expected an integer, got 'a'"),
    ],
)
def test_a_value_that_cannot_be_the_spaces_is_refused_with_its_reason(space, value, reason):
    """Structure, type and range of the dtype are judged while decoding, in words a client can act on."""
    with pytest.raises(ValueError, match=reason):
        decode(space, value)
    assert contains(space, value) is False


@pytest.mark.parametrize("depth", [65, 100_000])
def test_nesting_beyond_numpys_limit_is_refused(depth):
    """Depth is bad input like any other, and exhausts no stack."""
    value: Any = 0.5
    for _ in range(depth):
        value = [value]
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        decode(Box(-1, 1, (1,)), value)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (Discrete(3, start=2), 1),
        (Discrete(3, start=2), 5),
        (Box(-1, 1, (2,)), [0, 1.5]),
        (Box(-1, 1, (2,)), [None, 0]),
        (Box(-1, 1, (2,)), [1e100, 0]),
        (Box(-1, 1, (40,)), [0] * 39 + [-2]),
        (Box(0, 10, (1,), np.uint8), [11]),
        (MultiDiscrete([3, 3], start=[1, 1]), [0, 1]),
        (MultiBinary(2), [0, 2]),
        (Text(2), "abc"),
        (Text(2), "ä"),
        (Tuple([Discrete(2)]), [2]),
        (Dict({"a": Discrete(2)}), {"a": 2}),
        (Sequence(Discrete(2)), [0, 1, 2]),
        (Sequence(Discrete(2), stack=True), [0, 1, 2]),
        (GRAPH, {"nodes": [[0, 2]]}),
        (GRAPH, {"nodes": [[0, 0]], "edges": [3], "edge_links": [[0, 0]]}),
        (GRAPH, {"nodes": [[0, 0]], "edges": [1], "edge_links": [[0, 1]]}),
        (GRAPH, {"nodes": [[0, 0]], "edges": [1, 1], "edge_links": [[0, 0]]}),
        (OneOf([Discrete(2), Text(2)]), [0, 2]),
    ],
)
def test_a_value_outside_the_space_decodes_and_is_no_member(space, value):
    """Decoding is not membership: what has the right form but lies outside is told apart from nonsense."""
    decoded = decode(space, value)
    assert checker(space)(decoded) is False
    assert space.contains(decoded) is False
    assert contains(space, value) is False


def test_a_sequence_of_scalar_boxes_is_checked_without_gymnasiums_warning():
    """Gymnasium warns about the numpy scalars of a stacked 0-d Box; warnings are errors in these tests."""
    assert contains(Sequence(Box(-1, 1, ()), stack=True), [0.5, -0.5]) is True
    assert contains(Sequence(Box(-1, 1, ()), stack=True), [0.5, 2]) is False


def test_a_decoded_array_is_the_environments_own():
    """An environment may write into an action without changing what the client's message held."""
    for dtype in (np.float32, np.int64):
        sent = np.zeros(3, dtype)
        sent.flags.writeable = False
        decoded = decode(Box(-1, 1, (3,), dtype), sent)
        decoded[0] = 1
        assert sent[0] == 0


def test_a_big_endian_array_becomes_native():
    """The byte order of a client's machine ends at the wire."""
    decoded = decode(Box(-9, 9, (2,)), np.array([1, 2], ">f4"))
    assert decoded.dtype == np.float32
    assert decoded.dtype.isnative
    assert decoded.tolist() == [1, 2]


def test_lists_that_hold_arrays_are_read_through():
    """A binary format may send a list of arrays, and numpy scalars within lists."""
    decoded = decode(Box(-9, 9, (2, 2)), [np.array([1, 2], np.float32), [np.float32(3), 4]])
    assert decoded.tolist() == [[1, 2], [3, 4]]


def test_a_dict_is_decoded_and_encoded_in_the_order_of_its_space():
    """Environment code and flattening wrappers rely on the order; a client's JSON library may not."""
    space = Dict([("z", Discrete(2)), ("a", Discrete(2))])
    assert list(decode(space, {"a": 0, "z": 1})) == ["z", "a"]
    assert list(encode(space, {"a": 0, "z": 1})) == ["z", "a"]


def test_keys_that_are_no_strings_are_strings_only_on_the_wire():
    """Gymnasium takes any key; JSON has none but strings."""
    space = Dict({0: Discrete(2), 1: Discrete(3)})
    assert encode(space, {0: np.int64(1), 1: np.int64(2)}) == {"0": 1, "1": 2}
    assert decode(space, {"0": 1, "1": 2}) == {0: 1, 1: 2}


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2), np.array(2), np.array([2]), 2.0, np.float32(2)])
def test_a_discrete_value_is_encoded_as_a_bare_int(value):
    """Clients in typed languages need `2`, not `2.0` or `[2]`, whatever the environment made of it."""
    encoded = encode(Discrete(3), value)
    assert encoded == 2
    assert type(encoded) is int


@pytest.mark.parametrize("value", [[1.5, 2.5], (1.5, 2.5), np.array([1.5, 2.5]), np.array([1.5, 2.5], np.float32)])
def test_a_box_value_is_encoded_as_an_array(value):
    """Lists and tuples that environments return in place of arrays become arrays; arrays keep their dtype."""
    encoded = encode(Box(-9, 9, (2,)), value)
    assert isinstance(encoded, np.ndarray)
    assert encoded.tolist() == [1.5, 2.5]
    assert encoded is value or not isinstance(value, np.ndarray)


def test_an_object_that_can_be_an_array_is_encoded_as_one():
    """Frame-stacking wrappers return lazy frames, which are arrays only when asked."""

    class LazyFrames:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 2), np.uint8)

    assert encode(Box(0, 255, (2, 2), np.uint8), LazyFrames()).tolist() == [[1, 1], [1, 1]]


def test_a_graph_is_encoded_without_the_parts_it_lacks():
    """Edges and links are absent, not null, in a graph without edges."""
    nodes = np.zeros((1, 2), np.float32)
    assert list(encode(GRAPH, GraphInstance(nodes, None, None))) == ["nodes"]
    full = encode(GRAPH, GraphInstance(nodes, np.array([1]), np.array([[0, 0]])))
    assert plain(full) == {"nodes": [[0.0, 0.0]], "edges": [1], "edge_links": [[0, 0]]}


def test_parts_are_encoded_each_by_its_own_space():
    """Nested spaces keep their kinds: an int stays bare within tuples, dicts, sequences and alternatives."""
    space = Tuple([Discrete(3), Dict({"a": Sequence(Discrete(3)), "b": OneOf([Text(3), Discrete(3)])})])
    value = (np.int64(1), {"a": (np.int64(0), np.int64(2)), "b": (np.int64(1), np.int64(2))})
    assert encode(space, value) == [1, {"a": [0, 2], "b": [1, 2]}]


class Hostile:
    """Raises at every look."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __len__(self):
        raise RuntimeError

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError

    def __index__(self):
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError


MISFITS = [
    *(None, True, 1.5, NAN, "text", b"bytes", [], {}, (), [[1], [1, 2]], {"a": 1}, {1: 2}, {1, 2}, [None], ("a", 1)),
    *(np.int64(3), np.array(2.5), np.array([1, 2]), np.array(["a"]), np.zeros((2, 0)), deque([1])),
    *(
        object(),
        int,
        Hostile(),
        [Hostile()],
        {"position": Hostile()},
        (5, 5),
        (-1, 0),
        ("x", 0),
        GraphInstance(1, 2, 3),
    ),
    *(GraphInstance(None, None, None), 10**30, [10**30], 1j),
]


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_a_value_that_does_not_fit_its_space_is_encoded_all_the_same(space):
    """An environment's mistake about its own space fails no step: the value goes out as it is."""
    encode_one = encoder(space)
    for misfit in MISFITS:
        json.loads(json_bytes(encode_one(misfit)))


@pytest.mark.parametrize("misfit", [None, "text", object(), [[1], [1, 2]], ["a"], {1}, 1j])
def test_what_is_no_array_of_numbers_is_not_made_one(misfit):
    """A value that numpy would wrap into an array of objects or texts goes out untouched."""
    assert encode(Box(-1, 1, (2,)), misfit) is misfit


def test_only_the_part_that_does_not_fit_stays_as_it_is():
    """A missing, additional or odd key of a Dict leaves the others encoded."""
    space = Dict({"a": Discrete(2), "b": Discrete(2), "c": Discrete(2)})
    assert encode(space, {"x": 5, "b": None, "a": np.array([1])}) == {"a": 1, "b": None, "x": 5}


def test_a_space_of_a_class_of_its_own_is_asked_itself():
    """A subclass that judges membership otherwise is believed."""

    class Even(Discrete):
        def contains(self, x):
            return super().contains(x) and int(x) % 2 == 0

    assert [contains(Even(4), number) for number in range(5)] == [True, False, True, False, False]
    assert contains(Tuple([Even(4)]), [1]) is False


def test_a_membership_test_that_raises_is_no_membership():
    """A third party's `contains` fails no request."""

    class Broken(Discrete):
        def contains(self, x):
            raise RuntimeError(x)

    assert contains(Broken(4), 1) is False


@pytest.mark.parametrize("compile_one", [decoder, encoder, checker])
def test_what_is_no_space_is_refused_by_the_name_of_its_class(compile_one):
    """It fails loudly when it is compiled, not at some later step."""
    for impostor, name in ((None, "NoneType"), (Fraction(1, 2), "Fraction")):
        with pytest.raises(TypeError, match=name):
            compile_one(impostor)


class Directions(gymnasium.Space[Any]):
    """A space of a package's own: tuples of two names."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def __repr__(self) -> str:
        return "Directions()"

    def sample(self, *_: Any) -> Any:
        return ("north", "west")

    def contains(self, x: Any) -> bool:
        return isinstance(x, tuple) and len(x) == 2


class Simplex(gymnasium.Space[Any]):
    """A space of a package's own that declares arrays."""

    def __init__(self) -> None:
        super().__init__((3,), np.float32)

    def __repr__(self) -> str:
        return "Simplex()"

    def sample(self, *_: Any) -> Any:
        return np.array([0.25, 0.25, 0.5], np.float32)

    def contains(self, x: Any) -> bool:
        return x.dtype == np.float32 and bool(x.sum() == 1)


@pytest.mark.parametrize(
    "space",
    [
        Directions(),
        Simplex(),
        Dict({"a": Directions(), "b": Discrete(2)}),
        Tuple([Simplex(), Discrete(2)]),
        OneOf([Directions(), Simplex()]),
        Sequence(Directions()),
        Sequence(Simplex(), stack=True),
    ],
    ids=str,
)
def test_a_value_of_a_packages_own_space_comes_back_from_json(space):
    """Its own `contains` decides which of JSON's possible meanings is a member."""
    for seed in range(5):
        given = sample(space, seed)
        decoded = decode(space, plain(encode(space, given)))
        assert same(decoded, given)
        assert checker(space)(decoded)


def test_a_packages_own_space_refuses_what_is_no_member_whatever_its_contains_raises():
    """Nothing of it reaches the client as an error of the server."""
    for value in (None, "x", [1, 2, 3], {"a": 1}, 10**400):
        assert not contains(Simplex(), value)
        assert not contains(Directions(), value)
