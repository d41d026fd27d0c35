"""MessagePack with arrays: the form, its bytes on the wire, and what is refused."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from typing import Any

import gymnasium
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gym_http_server.runtime.values.encoding import msgpack_bytes
from gym_http_server.runtime.values.packing import pack, packed_array, unpack, unpack_in_place
from tests.support.sample_spaces import same
from tests.support.serving import Server

PACKED = {"Accept": "application/msgpack"}
NUMBERS = ["b1", "i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", ">i8", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays of any dtype, byte order, shape and layout: 0-d, empty, transposed, strided, reversed."""
    shape = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = draw(npst.arrays(draw(st.sampled_from(NUMBERS)), shape))
    if array.ndim:
        array = array[(..., slice(None, None, draw(st.sampled_from([1, 2, -1]))))]
    return array.T if draw(st.booleans()) else array


@settings(deadline=None, max_examples=100)
@given(arrays())
def test_an_array_of_any_kind_comes_back_bit_for_bit(array: np.ndarray) -> None:
    """Little-endian, in C order, NaN and infinities and signed zeros as they were."""
    plain = msgpack.unpackb(pack({"x": array}))["x"]
    assert list(plain) == ["dtype", "shape", "data"]
    expected = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    assert (plain["dtype"], plain["shape"], plain["data"]) == (
        expected.dtype.str,
        list(array.shape),
        expected.tobytes(),
    )
    assert not plain["dtype"].startswith((">", "="))
    found = unpack(pack(array))
    assert found.dtype == expected.dtype
    assert found.shape == array.shape
    assert found.tobytes() == expected.tobytes()
    assert not found.flags.writeable


@settings(deadline=None, max_examples=50)
@given(arrays().filter(lambda array: array.ndim > 0))
def test_a_reply_has_the_same_form(array: np.ndarray) -> None:
    """What writes replies writes an array as what writes requests does, wherever it stands."""
    assert msgpack_bytes(array) == pack(array)
    assert same(unpack(msgpack_bytes({"a": [array, None]})), unpack(pack({"a": [array, None]})))


@settings(deadline=None, max_examples=80)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=3),
        arrays().filter(lambda array: array.ndim > 0) | st.booleans() | st.floats(allow_nan=False) | st.just({}),
        max_size=20,
    )
)
def test_members_of_a_reply_have_the_same_form(members: dict[str, Any]) -> None:
    """Arrays of any layout, booleans, floats and empty dicts, whatever their names and however many."""
    assert msgpack_bytes(members) == pack(members)


LARGE = np.arange(1 << 16, dtype=np.uint8)


def test_the_largest_array_is_a_view_of_the_data() -> None:
    """It can be made writable, and the small ones beside it do not keep the data."""
    data = bytearray(pack({"small": np.zeros(3), "large": LARGE, "reward": 1.5}))
    value = unpack_in_place(data)
    assert same(value, unpack(data))
    assert not value["large"].flags.writeable
    assert value["large"].base is data
    assert value["small"].base is not data
    value["large"].flags.writeable = True


LOOKALIKE = np.frombuffer((b"\xa4data\xc6\0\1\0\0" + bytes(1 << 16)), np.uint8)


@pytest.mark.parametrize(
    "value",
    [
        {"a": LARGE, "b": LARGE, "c": LARGE},
        {"a": LOOKALIKE},
        {"a": LOOKALIKE[: 1 << 15], "b": LARGE},
        [LOOKALIKE[:100], LOOKALIKE[:100]],
        {"a": "text"},
        {},
    ],
    ids=["no-largest", "lookalike", "lookalike-before", "lookalikes-cut-off", "no-array", "empty"],
)
def test_what_is_unpacked_in_place_is_what_is_unpacked(value: Any) -> None:
    """Also where there is no largest array, and where elements of one look like the beginning of another."""
    assert same(unpack_in_place(bytearray(pack(value))), value)


@pytest.mark.parametrize("data", [b"\xc1", b"\xa4data\xc6", b"\xa4data\xc6\0\1\0\0" + bytes(1 << 16), b"\xd4\x7f\0"])
def test_what_is_refused_is_refused_in_place(data: bytes) -> None:
    """A bin that is no array's, data that is cut off, and an extension like that which stands for elements."""
    for read in (unpack, unpack_in_place):
        with pytest.raises(ValueError, match=r"."):
            read(bytearray(data))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | arrays(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60)
@given(PLAIN)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    """Nothing but byte order is changed by being packed."""

    def little(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.astype(value.dtype.newbyteorder("<"))
        if isinstance(value, dict):
            return {key: little(item) for key, item in value.items()}
        return [little(item) for item in value] if isinstance(value, list) else value

    assert same(unpack(pack(value)), little(value))


@pytest.mark.full
@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60) | PLAIN.map(pack).flatmap(lambda data: st.integers(0, len(data)).map(lambda n: data[:n])))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    """Whatever comes, the one exception is ValueError."""
    with contextlib.suppress(ValueError):
        unpack(data)


def test_a_longdouble_becomes_a_double_and_a_scalar_a_number() -> None:
    """What the form has no name for is narrowed, and what overflows then is an infinity."""
    array = np.array(["0.5", "-1e4000"], np.longdouble)
    for packed in (pack(array), msgpack_bytes(array)):
        assert same(unpack(packed), np.array([0.5, -np.inf]))
    assert unpack(pack([np.float32(0.5), np.int8(3), np.bool_(True)])) == [0.5, 3, True]


@pytest.mark.parametrize(
    "value", [object(), 2**64, {"x": np.array(["a"])}, np.array([None]), np.array([1j]), {1, 2}, np.zeros(2, "m8[s]")]
)
def test_what_has_no_form_is_refused_when_packing(value: Any) -> None:
    """A client sees an exception rather than a request that says something else."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack(value)


FOUR = b"\0\0\x80?"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dtype": ">f4"}, "dtype"), ({"dtype": "f4"}, "dtype"), ({"dtype": "<f16"}, "dtype"), ({"dtype": "|O"}, "dtype"),
        ({"dtype": "<M8[s]"}, "dtype"), ({"dtype": "<U1"}, "dtype"), ({"dtype": "<c8"}, "dtype"), ({"dtype": ""}, "dtype"),
        ({"dtype": 4}, "dtype"), ({"dtype": None}, "dtype"), ({"dtype": "<f4\n"}, "dtype"), ({"dtype": "<f4,<f4"}, "dtype"),
        ({"dtype": "x" * 10**5}, "dtype"), ({"dtype": ["<f4"]}, "dtype"),
        ({"shape": 1}, "shape"), ({"shape": [-1]}, "shape"), ({"shape": [1.0]}, "shape"), ({"shape": [True]}, "shape"),
        ({"shape": ["1"]}, "shape"), ({"shape": None}, "shape"), ({"shape": {"0": 1}}, "shape"), ({"shape": [[1]]}, "shape"),
        ({"shape": [2]}, "bytes"), ({"shape": [0]}, "bytes"), ({"shape": [2**63, 2**63]}, "bytes"),
        ({"data": b""}, "bytes"), ({"data": b"12345"}, "bytes"), ({"shape": [0, 2**63], "data": b""}, "dimension"),
        ({"shape": [1] * 65}, "axes"), ({"shape": [0] * 70, "data": b""}, "axes"),
    ],
)  # fmt: skip
def test_a_map_that_is_to_be_an_array_and_is_not_one_is_refused(change: dict[str, Any], word: str) -> None:
    """The message says which of its three parts is wrong, in few words."""
    good = {"dtype": "<f4", "shape": [1], "data": FOUR}
    assert same(unpack(msgpack.packb(good)), np.array([1], np.float32))
    with pytest.raises(ValueError, match=word) as caught:
        unpack(msgpack.packb({"actions": [good | change]}))
    assert len(str(caught.value)) < 300


def test_a_shape_of_very_many_axes_is_refused_at_once() -> None:
    """The product of so many lengths would keep the server busy for minutes."""
    data = msgpack.packb({"dtype": "<f4", "shape": [2**63] * 500_000, "data": b""})
    began = time.perf_counter()
    with pytest.raises(ValueError, match="axes"):
        unpack(data)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("value", [{"dtype": "<f4", "shape": [1]}, {"dtype": "<f4", "shape": [1], "data": "text"}])
def test_a_map_without_the_bytes_is_a_map(value: dict[str, Any]) -> None:
    """An object of a space may have such names of its own, for none of its values is a bin."""
    assert unpack(msgpack.packb(value)) == value
    more = {"dtype": "<f4", "shape": [1], "data": FOUR, "more": 1}
    assert unpack(msgpack.packb(more)) == more


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "incomplete"),
        (b"\x92\x01", "incomplete"),
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\xc6\xff\xff\xff\xff", "incomplete"),
        (b"\xc1", "FormatError"),
        (b"\x01\x02", "after the value"),
        (b"\x91" * 100_000 + b"\xc0", "StackError"),
        (b"\xa1\xff", "utf-8"),
        (msgpack.packb({1: 2}), "key"),
        (msgpack.packb({b"a": 2}), "key"),
        (msgpack.packb({None: 2}), "key"),
        (b"\x81\x90\x01", "key"),
        (msgpack.packb({"a": [{1.5: 2}]}), "key"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "extension of type 5"),
        (b"\xc7\x03\xff\x01\x02\x03", "timestamp"),
        (b"\xd7\xff" + b"\xff" * 8, "nanoseconds"),
    ],
)
def test_what_is_no_messagepack_of_ours_is_refused(data: bytes, word: str) -> None:
    """Cut off, followed by more, too deep, no UTF-8, keys that are no strings, extensions."""
    with pytest.raises(ValueError, match=word) as caught:
        unpack(data)
    assert str(caught.value)


def test_a_timestamp_is_read_as_seconds() -> None:
    """The one extension that MessagePack itself defines has a meaning in plain values."""
    moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    assert unpack(msgpack.packb(moment, datetime=True)) == moment.timestamp()


@pytest.mark.parametrize("data", [b"\xc1", b"\x81\x01\x02", b"", msgpack.packb(msgpack.ExtType(1, b"")), pack([1])])
def test_a_body_that_is_refused_is_a_400_and_the_instance_goes_on(server: Server, data: bytes) -> None:
    """The server reads bodies with the same function, and nothing of a refused one is executed."""
    env = server.create("Pendulum-v1")
    server.post(f"{env}/reset/")
    headers = {"Content-Type": "application/msgpack", **PACKED}
    assert server.post(f"{env}/step/", data, headers=headers).status == 400
    action = pack({"action": np.array([0.5], ">f8")})
    assert server.post(f"{env}/step/", action, headers=headers).status == 200
    assert server.get(f"{env}/").json["steps"] == 1


def test_a_frame_of_pong_takes_hardly_more_than_its_bytes(server: Server) -> None:
    """A step's reply with 210x160x3 bytes is at most 200 larger, and holds the very frame of a local environment."""
    import ale_py

    gymnasium.register_envs(ale_py)
    # `frame_skip` and `repeat_action_probability` as registered, both sides.
    local = gymnasium.make("ALE/Pong-v5")
    env = server.create("ALE/Pong-v5", seed=3)
    local.reset(seed=3)
    server.post(f"{env}/reset/")
    for action in (2, 3, 0, 5):
        answer = server.post(f"{env}/step/", {"action": action}, headers=PACKED)
        assert 100_800 < len(answer.body) <= 100_800 + 200
        found, expected = unpack(answer.body), local.step(action)
        assert same(found["observation"], expected[0])
        assert found["observation"].shape == (210, 160, 3)
        assert (found["reward"], found["terminated"], found["truncated"]) == (float(expected[1]), *expected[2:4])
    local.close()


def test_a_frame_of_any_content_takes_hardly_more_than_its_bytes() -> None:
    """The map around the data is a few dozen bytes, whatever they are and however they lie in memory."""
    frame = np.random.default_rng(0).integers(0, 256, (3, 160, 210), np.uint8).T
    reply = {"observation": frame, "reward": 1.0, "done": False, "terminated": False, "truncated": False, "info": {}}
    data = msgpack_bytes(reply)
    assert 100_800 < len(data) <= 100_800 + 200
    assert same(unpack(data)["observation"], np.ascontiguousarray(frame))
    assert packed_array(frame)["dtype"] == "|u1"


def test_nan_and_infinities_of_an_environment_survive(server: Server) -> None:
    """What JSON writes as null and 1e100 comes as it is, in arrays and alone."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    info = unpack(server.post(f"{env}/step/", {"action": "weird_info"}, headers=PACKED).body)["info"]
    assert same(info["array"], np.array([1.5, np.nan, np.inf]))
    assert np.isnan(info["nan"])
    assert (info["inf"], info["minus_inf"], info["scalar"], info["huge"]) == (np.inf, -np.inf, 7, str(2**70))
