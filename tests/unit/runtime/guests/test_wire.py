"""Packed values come back as they were, and nothing that a guest sends breaks more than its instance."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import enum
import math
import socket
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gym_http_server.errors import EnvironmentDiedError, GymHttpServerError
from gym_http_server.runtime.guests.environment import make_lanes
from gym_http_server.runtime.guests.link import MALFORMED, GuestLink
from gym_http_server.runtime.guests.spawning import _source
from gym_http_server.runtime.guests.wire import (
    DTYPES,
    ERROR,
    HEADER,
    OUTCOME,
    RENDER,
    RESULT,
    frame,
    outcome,
    unpack,
    unpack_outcome,
)
from gym_http_server.runtime.messages import Interpreter

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()) | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.lists(parts, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), parts, max_size=4)
    ),
    max_leaves=12,
)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
)
DESCRIPTION = {
    "library": "gymnasium 1.0",
    "render_mode": None,
    "metadata": {},
    "max_episode_steps": None,
    "reward_threshold": None,
    "nondeterministic": False,
    "seeds": None,
    "spaces": [{"name": "Discrete", "n": 2, "start": 0, "dtype": "<i8"}] * 2,
}


def sent(value: Any) -> Any:
    """Return a value as it comes out on the other side."""
    data = bytes(frame(RESULT, 0, value))
    result, end = unpack(data, HEADER.size)
    assert end == len(data)
    return result


class Replies:
    """A guest that answers each request with the next of some bytes, and then closes its socket."""

    def __init__(self, *replies: bytes) -> None:
        ours, self.theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, args=(ours, replies))
        self._thread.start()
        self.link = GuestLink(Interpreter("fake", ("none",)), (self.theirs, None))

    def _serve(self, ours: socket.socket, replies: tuple[bytes, ...]) -> None:
        with ours:
            for reply in (bytes(frame(RESULT, 0, None)), *replies):
                if not ours.recv(1 << 20):
                    return
                ours.sendall(reply)

    def __enter__(self) -> GuestLink:
        return self.link

    def __exit__(self, *_: object) -> None:
        self.link.close()
        self._thread.join()


def test_the_text_that_is_sent_is_valid_python_3_7() -> None:
    """And imports numpy and the standard library only."""
    tree = ast.parse(_source(), feature_version=(3, 7))
    imports = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imports - sys.stdlib_module_names == {"numpy"}


@given(VALUES)
def test_plain_values_come_back(value: Any) -> None:
    """With their types."""
    assert sent(value) == value


@given(ARRAYS)
def test_arrays_come_back(value: np.ndarray[Any, Any]) -> None:
    """With dtype, shape and bits, and as arrays of their own; numbers of NumPy too."""
    result = sent({"a": value})["a"]
    assert (result.dtype, result.shape, result.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert result.flags.writeable
    assert result.flags.owndata
    for number in value.ravel()[:1]:
        if value.dtype.kind == "c":
            continue  # which JSON has as a text
        back = sent(number)
        assert type(back) is type(number)
        assert back.tobytes() == np.asarray(number, value.dtype.newbyteorder("=")).tobytes()


def test_other_values_cross_as_json_has_them() -> None:
    """Enumerations, sets, dataclasses, arrays of objects, and what has no form at all."""

    class Colour(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Point:
        x: int
        _hidden: int = 0

    class Odd:
        def __str__(self) -> str:
            raise ValueError

    endless: list[Any] = []
    endless.append(endless)
    assert sent([Colour.RED, {3, 1}, Point(2), Odd()]) == [1, [1, 3], {"x": 2}, "<Odd object>"]
    assert sent(np.array(["a", None], object)) == ["a", None]
    assert sent({(1, 2): 3}) == {"(1, 2)": 3}
    assert sent(endless) == ["[[...]]"]
    assert sent(10**30) == 10**30
    assert math.isnan(sent(math.nan))


@given(
    VALUES,
    st.floats(allow_nan=False),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.text(), st.integers(), max_size=1),
)
def test_a_step_has_a_short_form(observation: Any, reward: float, terminated: bool, truncated: bool, info: Any) -> None:
    """Where its values have the usual types and `info` is empty."""
    result = observation, reward, terminated, truncated, info
    data = bytes(outcome(result))
    kind = HEADER.unpack_from(data)[1]
    assert kind == (RESULT if info else OUTCOME)
    assert (unpack(data, HEADER.size)[0] if info else unpack_outcome(data, HEADER.size)) == result


@given(st.binary(max_size=60) | st.tuples(VALUES, st.integers(0, 60), st.binary(max_size=3)))
def test_a_malformed_value_is_refused(data: Any) -> None:
    """By one of the errors that are caught, whatever byte is wrong."""
    if isinstance(data, tuple):
        value, at, wrong = data
        packed = bytes(frame(RESULT, 0, value))[HEADER.size :]
        data = packed[:at] + wrong + packed[at + len(wrong) :]
    with contextlib.suppress(*MALFORMED):
        unpack(data)


@pytest.mark.parametrize(
    "value",
    [
        b"a\x0c<f4:999999999",
        b"a\x0d|u1:0,99999999",
        b"a\x06|O8:1,",
        b"a\x07<f4:-1," + bytes(8),
        b"l\xff\xff\xff\xff",
        b"I\x03\0\0\0xyz",
        b"d\x01\0\0\0l\0\0\0\0N",
        b"l\x01\0\0\0" * 3000 + b"N",
        b"",
    ],
)
def test_numbers_that_a_guest_sends_are_checked(value: bytes) -> None:
    """Sizes, shapes, dtypes, depths and keys."""
    with pytest.raises(MALFORMED):
        unpack(value)


@given(
    st.binary(min_size=1, max_size=40)
    | st.tuples(st.sampled_from([RESULT, ERROR, OUTCOME]), st.binary(max_size=40)).map(
        lambda told: HEADER.pack(len(told[1]), told[0], 0) + told[1]
    )
    | VALUES.map(lambda value: bytes(frame(ERROR, 0, value)))
)
def test_a_guest_that_sends_rubbish_is_lost_and_nothing_else(data: bytes) -> None:
    """The call says so, and so does every later one."""
    with Replies(data) as link:
        failures = []
        for _ in range(2):
            try:
                link.call(RENDER, 0, None)
            except Exception as error:  # noqa: BLE001 -- which one is what is tested
                failures.append(error)
        assert len(failures) == 2 or HEADER.unpack_from(data)[1] in (RESULT, OUTCOME)
        assert all(type(each) is EnvironmentDiedError for each in failures[-1:])


@given(st.sampled_from(sorted(DESCRIPTION)), VALUES)
def test_a_description_that_is_none_is_refused(name: str, value: Any) -> None:
    """Each of its members is checked."""
    with Replies(bytes(frame(RESULT, 0, {**DESCRIPTION, name: value}))) as link:
        try:
            [env], _ = make_lanes(link, {"env_id": "Fake-v0", "lanes": 1})
        except (GymHttpServerError, TypeError):
            return
        assert env.observation_space.contains(np.int64(1))
