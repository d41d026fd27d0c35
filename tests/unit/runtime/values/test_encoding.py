"""What becomes of whatever an environment returns when it is written as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import pathlib
import subprocess
import sys
import uuid
from collections import OrderedDict, defaultdict, deque, namedtuple
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gym_http_server.runtime.values import encoding
from gym_http_server.runtime.values.encoding import json_bytes, msgpack_bytes
from gym_http_server.runtime.values.packing import unpack

INF = math.inf
NAN = math.nan


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def read(value: Any) -> Any:
    """Return what a strict JSON parser makes of the encoded `value`."""
    return json.loads(json_bytes(value), parse_constant=refuse)


class Colour(enum.Enum):
    RED = "red"
    FAR = INF


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Pose:
    x: float
    frame: Any = None
    _cache: int = 5


class Speaks:
    def __str__(self):
        return "I am 5"


class Mute:
    def __str__(self):
        raise RuntimeError


class Liar:
    @property
    def __class__(self):
        raise RuntimeError

    def __str__(self):
        return 5


class Frames(np.ndarray):
    """An array of a class of its own."""


class Folded:
    """Answers to being asked for an array with one that holds itself, twice."""

    def __array__(self, dtype=None, copy=None):
        array = np.empty(2, object)
        array[0] = array[1] = self
        return array

    def __str__(self):
        return "folded"


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 -- the untyped kind is what is tested


FORMS = [
    (0, "0"),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (True, "true"),
    (None, "null"),
    ("é\n", '"é\\n"'),
    (NAN, "null"),
    (INF, "1e+100"),
    (-INF, "-1e+100"),
    (1e200, "1e+200"),
    (-1.5e-300, "-1.5e-300"),
    (2**64, "18446744073709551616"),
    (-(2**63) - 1, "-9223372036854775809"),
    ([10**100], f"[1{'0' * 100}]"),
    (np.float32(0.1), "0.1"),
    (np.float64(1), "1.0"),
    (np.float32(INF), "1e+100"),
    (np.float16(-INF), "-1e+100"),
    (np.float32(NAN), "null"),
    (np.longdouble(0.5), "0.5"),
    (np.longdouble("1e4000"), "1e+100"),
    (np.int8(-3), "-3"),
    (np.uint64(2**64 - 1), "18446744073709551615"),
    (np.bool_(True), "true"),
    (np.str_("a"), '"a"'),
    (np.bytes_(b"a"), '"a"'),
    (1 + 2j, '"(1+2j)"'),
    (np.complex64(1 + 2j), '"(1+2j)"'),
    (b"caf\xc3\xa9 \xff", '"café \\\\xff"'),
    (bytearray(b"a"), '"a"'),
    (memoryview(b"a"), '"a"'),
    ("\ud800", '"\\\\ud800"'),
    (pathlib.PurePosixPath("/tmp/x"), '"/tmp/x"'),  # noqa: S108 -- a value, not a file
    (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), '"2020-01-02T00:00:00+00:00"'),
    (dt.date(1970, 1, 1), '"1970-01-01"'),
    (dt.datetime(1970, 1, 1), '"1970-01-01T00:00:00"'),
    (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (np.datetime64("1970-01-01"), '"1970-01-01T00:00:00"'),
    (np.datetime64("2020-01-01T10"), '"2020-01-01T10:00:00"'),
    (np.datetime64(40000, "Y"), '"41970"'),
    (np.datetime64("NaT", "s"), "null"),
    (np.timedelta64(5, "s"), '"5 seconds"'),
    (np.timedelta64("NaT", "s"), "null"),
    (Colour.RED, '"red"'),
    (Colour.FAR, "1e+100"),
    (Level.HIGH, "3"),
    ((1, 2), "[1,2]"),
    (Pair(1, NAN), "[1,null]"),
    ({3, 1, 2}, "[1,2,3]"),
    (frozenset({"b", "a"}), '["a","b"]'),
    ({"a": 1}.keys(), '["a"]'),
    (deque([1, INF]), "[1,1e+100]"),
    (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    (defaultdict(int, a=1), '{"a":1}'),
    (MappingProxyType({"a": INF}), '{"a":1e+100}'),
    ({1: "i", 2.5: "f", None: "n", (1, 2): "t", np.int64(7): "np"},
     '{"1":"i","2.5":"f","None":"n","(1, 2)":"t","7":"np"}'),
    ({"\ud800": 1}, '{"\\\\ud800":1}'),
    (Pose(1.5), '{"x":1.5,"frame":null}'),
    (Pose(INF, Pose(2.0, 5)), '{"x":1e+100,"frame":{"x":2.0,"frame":5}}'),
    (Speaks(), '"I am 5"'),
    (int, '"<class \'int\'>"'),
    (Mute(), '"<Mute object>"'),
    (Liar(), '"<Liar object>"'),
    (SimpleNamespace(a=1), '"namespace(a=1)"'),
    (range(10**15), '"range(0, 1000000000000000)"'),
    (10**5000, json.dumps(hex(10**5000))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [pytest.param(*form, id=f"{number}-{type(form[0]).__name__}") for number, form in enumerate(FORMS)],
)
def test_a_value_is_written_as(value, text):
    """Every kind of value has its one form, on its own and beside a null, which takes the slower of the two ways."""
    assert json_bytes(value).decode() == text
    assert json_bytes([value, None]).decode() == f"[{text},null]"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
        (np.arange(6)[::-2], [5, 3, 1]),
        (np.asfortranarray([[1.0, INF], [NAN, 4.0]]), [[1.0, 1e100], [None, 4.0]]),
        (np.array([1, 258], ">i2"), [1, 258]),
        (np.array([1.5, -INF], ">f8"), [1.5, -1e100]),
        (np.array([True, False]), [True, False]),
        (np.array(5), 5),
        (np.array(2.5, np.float32), 2.5),
        (np.array(NAN), None),
        (np.array(-INF, np.float16), -1e100),
        (np.array(True), True),
        (np.array("text"), "text"),
        (np.array(None), None),
        (np.array(np.datetime64("2020-01-01")), "2020-01-01T00:00:00"),
        (np.zeros((2, 0)), [[], []]),
        (np.zeros((0, 2)), []),
        (np.array([2**64 - 1], np.uint64), [2**64 - 1]),
        (np.array([0.5, INF, NAN], np.longdouble), [0.5, 1e100, None]),
        (np.array(["1e4000"], np.longdouble), [1e100]),
        (np.array([1j, 2]), ["1j", "(2+0j)"]),
        (np.array(["ab", "ü"]), ["ab", "ü"]),
        (np.array([b"ab"]), ["ab"]),
        (np.array([None, INF, {1}, np.float32(0.1), "x", 2**70], object), [None, 1e100, [1], 0.1, "x", 2**70]),
        (np.array([(1, 0.5)], [("a", int), ("b", float)]), [[1, 0.5]]),
        (np.array([(1, INF)], [("a", int), ("b", float)])[0], [1, 1e100]),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), ["2020-01-01T00:00:00", None]),
        (np.array([["NaT", "1970-01-01"]], "datetime64[ns]"), [[None, "1970-01-01T00:00:00"]]),
        (np.array([[1 << 62], [3]], "datetime64[Y]"), [[str((1 << 62) + 1970)], ["1973-01-01T00:00:00"]]),
        (np.array([5, "NaT"], "timedelta64[s]"), ["5 seconds", None]),
        (np.ma.masked_array([1.0, 2.0, INF], [False, True, False]), [1.0, None, 1e100]),
        (np.array([[1, INF]]).view(Frames), [[1.0, 1e100]]),
        (np.rec.array([(1, 2)]), [[1, 2]]),
    ],
)  # fmt: skip
def test_an_array_is_written_as_nested_lists(array, expected):
    """Any dtype, byte order, memory layout and shape, on its own and among other things."""
    assert json.dumps(read(array)) == json.dumps(expected)
    assert json.dumps(read({"a": [array, None]})) == json.dumps({"a": [expected, None]})


@settings(deadline=None)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
        lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_side=4))
    )
)
def test_a_float_reads_back_as_the_same_number_of_its_dtype(array):
    """Shortest forms lose no bit, whatever stands beside them; only NaN and infinities are replaced."""
    parsed = np.array(read(array), float)
    finite, infinite = np.isfinite(array), np.isinf(array)
    assert np.array_equal(parsed[finite].astype(array.dtype), array[finite])
    assert np.array_equal(np.signbit(parsed[finite]), np.signbit(array[finite]))
    assert np.array_equal(parsed[infinite], np.copysign(1e100, array[infinite].astype(float)))
    assert np.array_equal(np.isnan(parsed), np.isnan(array))


def test_a_float32_is_written_in_its_own_shortest_form_beside_an_infinity():
    """0.1 stays `0.1`, not the seventeen digits of the double nearest to it."""
    array = np.array([[0.1, INF], [NAN, -INF], [1e10, 16777216]], np.float32)
    text = "[[0.1,1e+100],[null,-1e+100],[10000000000.0,16777216.0]]"
    assert json_bytes(array).decode() == text
    assert json_bytes({"x": array, "y": None}).decode() == f'{{"x":{text},"y":null}}'


def test_what_contains_itself_is_written_once():
    """The place where a value would begin to repeat holds its text."""
    row: list[Any] = [1]
    row.append(row)
    assert read(row) == [1, "[1, [...]]"]
    table: dict[str, Any] = {}
    table["self"] = {"again": table}
    assert read(table) == {"self": {"again": "{'self': {'again': {...}}}"}}
    array = np.empty(2, object)
    array[:] = [array, array]
    assert isinstance(read(array)[1], str)
    pose = Pose(1.0)
    pose.frame = pose
    assert read(pose)["frame"].startswith("Pose(")
    assert read(Folded()) == ["folded", "folded"]


def test_the_same_value_twice_is_written_twice():
    """Only what contains itself repeats; what is merely shared does not."""
    shared = [1, None]
    assert read([shared, shared, {"a": shared}]) == [[1, None], [1, None], {"a": [1, None]}]


@pytest.mark.parametrize("limit", [1000, 50_000])
@pytest.mark.parametrize("levels", [100, 300, 100_000])
def test_depth_ends_in_text(levels, limit, request):
    """A hundred levels are written, more become text at some depth, however much of the stack Python allows."""
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(limit)
    value: Any = None
    for _ in range(levels):
        value = [value]
    depth, found = 0, read({"deep": value, "beside": 1})
    assert found["beside"] == 1
    found = found["deep"]
    while isinstance(found, list):
        depth, found = depth + 1, found[0]
    assert depth == 100 if levels == 100 else 100 < depth < 254
    assert found is None if levels == 100 else isinstance(found, str)


def test_one_broken_entry_leaves_the_others_as_they_are():
    """An `info` that holds something impossible is written for the rest."""

    class Broken(dict):
        def items(self):
            raise RuntimeError

    info = {"good": np.float32(0.5), "mute": Mute(), "liar": Liar(), "broken": Broken(a=1), "mock": Mock(), "set": {1}}
    found = read({"reward": 1.0, "info": info})
    assert found["reward"] == 1.0
    assert found["info"]["good"] == 0.5
    assert found["info"]["set"] == [1]
    assert (found["info"]["mute"], found["info"]["liar"]) == ("<Mute object>", "<Liar object>")
    assert found["info"]["broken"] == "{'a': 1}"
    assert found["info"]["mock"].startswith("<Mock ")


def test_the_reply_of_a_step_keeps_its_order_and_types():
    """Reward has a fraction, done is a bool, info an object: what clients in typed languages need."""
    step = {
        "observation": np.array([0.1, -4.8], np.float32),
        "reward": np.float64(1),
        "done": np.bool_(False),
        "terminated": False,
        "truncated": False,
        "info": {},
    }
    rest = '"done":false,"terminated":false,"truncated":false,"info":{}}'
    assert json_bytes(step).decode() == f'{{"observation":[0.1,-4.8],"reward":1.0,{rest}'


def test_what_a_step_usually_returns_takes_the_way_without_a_walk(monkeypatch):
    """Arrays, numbers and texts are orjson's alone, and the walk is for what it cannot do."""

    def fail(_):
        raise AssertionError("walked")

    monkeypatch.setattr(encoding, "_plain_bytes", fail)
    json_bytes(
        {"observation": np.zeros((3, 3), np.uint8), "reward": 0.5, "done": False, "info": {"lives": np.int64(3)}}
    )
    with pytest.raises(AssertionError, match="walked"):
        json_bytes({"observation": np.array([INF])})


def test_encoding_loads_no_environment_library():
    """The server encodes its own replies too, and needs neither Gymnasium nor gym for it."""
    code = "import sys, gym_http_server.runtime.values.encoding; print(sorted({'gym', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class Odd(str):
    __slots__ = ()


ARRAYS = st.sampled_from(
    ["b1", "i1", "u2", ">i4", "<u8", "f2", ">f4", "f8", "g", "c8", "U3", "S2", "O", "M8[s]", "m8[D]", "i4,f4"]
).flatmap(
    lambda dtype: (
        npst.arrays(object, npst.array_shapes(min_dims=0), elements=st.none() | st.integers() | st.text())
        if dtype == "O"
        else npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3))
    )
)
ODDITIES = [
    object(), Mute(), Speaks(), Folded(), Mock(), Colour.FAR, Level.HIGH, Pose(NAN), int, json, len, NotImplemented,
    Odd("x"), 10**5000, -(10**30), np.float16(INF), np.void(b"ab"), np.datetime64("NaT", "s"), slice(1), iter([1]), "\udcff",
]  # fmt: skip
KEYS = st.text(max_size=3) | st.integers() | st.floats() | st.none() | st.binary(max_size=2) | st.tuples(st.integers())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    | st.datetimes() | st.dates() | st.timedeltas() | st.uuids() | st.fractions() | st.decimals() | ARRAYS
    # By number: Hypothesis would look at the things themselves, which some of them do not bear.
    | st.sampled_from(range(len(ODDITIES))).map(lambda number: ODDITIES[number]),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner)
    | st.sets(st.integers() | st.text()) | st.lists(inner).map(deque) | st.builds(Pose, st.floats(), inner),
    max_leaves=15,
)  # fmt: skip


@pytest.mark.full
@settings(deadline=None, max_examples=130)
@given(ANYTHING)
def test_nothing_at_all_fails_to_be_written(value):
    """Whatever an environment returns, the reply is UTF-8 JSON that strict parsers read."""
    read(value)
    read({"observation": value, "info": [value, None]})


@settings(deadline=None, max_examples=80)
@given(ANYTHING)
def test_both_ways_write_the_same(value):
    """Whether a null stands elsewhere in the reply changes nothing about how a value is written."""
    alone = json_bytes(value)
    if not isinstance(value, set | frozenset):
        assert json_bytes([value, None]) == b"[" + alone + b",null]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, (2.5, None), True], 7: {3}}, {"a": [1, [2.5, None], True], "7": [3]}),
        ([INF, np.float32("-inf"), np.float16(0.5), np.int8(-1), np.bool_(True)], [INF, -INF, 0.5, -1, True]),
        ([2**64 - 1, -(2**63), 2**64, -(2**63) - 1], [2**64 - 1, -(2**63), str(2**64), str(-(2**63) - 1)]),
        ([np.array(5), np.array(0.5), np.array("text"), np.array(True)], [5, 0.5, "text", True]),
        (np.array([None, {1}, "x", 2**70], object), [None, [1], "x", str(2**70)]),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), ["2020-01-01T00:00:00", None]),
        (np.ma.masked_array([1.0, 2.0], [False, True]), [1.0, None]),
        (np.array(["ab", "ü"]), ["ab", "ü"]),
        ([b"raw", "\ud800", Colour.RED, Pose(1.5), Mute()],
         ["raw", "\\ud800", "red", {"x": 1.5, "frame": None}, "<Mute object>"]),
        ({"dtype": "<f4", "shape": [1], "data": b"\0\0\0\0"}, {"dtype": "<f4", "shape": [1], "data": "\0\0\0\0"}),
    ],
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_packed_as_it_is_written_in_json(value, expected):
    """But for infinities and integers beyond 64 bits the two formats hold the same; no object is taken for an array."""
    assert unpack(msgpack_bytes(value)) == expected


@pytest.mark.full
@settings(deadline=None, max_examples=100)
@given(ANYTHING)
def test_nothing_at_all_fails_to_be_packed(value):
    """Whatever an environment returns, the reply is MessagePack that a reader of ours takes."""
    found = unpack(msgpack_bytes({"observation": value, "info": [value, None]}))
    assert list(found) == ["observation", "info"]
    assert len(found["info"]) == 2


@pytest.mark.parametrize("levels", [100, 300, 100_000])
def test_depth_ends_in_text_when_packed(levels):
    """A value nested however deep is packed, and what stands beside it stays whole."""
    value: Any = None
    for _ in range(levels):
        value = [value]
    found = unpack(msgpack_bytes({"deep": value, "beside": 1}))
    assert found["beside"] == 1
    depth, deep = 0, found["deep"]
    while isinstance(deep, list):
        depth, deep = depth + 1, deep[0]
    assert depth == 100 if levels == 100 else 100 < depth < 254
    assert deep is None if levels == 100 else isinstance(deep, str)
