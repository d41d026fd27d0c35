"""Replies in MessagePack that are read by the layout of earlier ones."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.client.http.layout import LayoutReader
from gym_http_server.runtime.values.encoding import msgpack_bytes
from gym_http_server.runtime.values.packing import unpack
from tests.support.sample_spaces import same

STEP = {"observation": np.zeros(4, np.float32), "reward": 1.0, "done": False, "terminated": False, "info": {}}
BATCH = {"observations": np.zeros((3, 4)), "rewards": np.ones(3), "terminated": np.zeros(3, np.bool_), "infos": {}}
OTHERS = [{"reward": 2}, {"observation": np.zeros(5, np.float32)}, {"observation": [1, 2]}, {"info": {"lives": 300}}]


def learned(reply: dict[str, Any]) -> LayoutReader:
    """Return a reader that has the layout of a reply."""
    reader = LayoutReader()
    for _ in range(2):
        reader.read(msgpack_bytes(reply))
    assert reader._layout is not None
    return reader


@pytest.mark.parametrize("reply", [STEP, BATCH, {"observation": np.zeros(2), "types": {"/reward": "<f4"}}])
@pytest.mark.parametrize("change", [{}, {"reward": -0.5}, {"done": True}, {"types": {}}, {"more": 1}, *OTHERS])
def test_a_reply_is_read_as_without_its_layout(reply: dict[str, Any], change: dict[str, Any]) -> None:
    """Whether it is of the layout, or another member, type, dtype or shape stands in it."""
    content = msgpack_bytes(reply | change)
    value = learned(reply).read(content)
    assert same(value, unpack(content))
    assert all(not member.flags.writeable for member in value.values() if isinstance(member, np.ndarray))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_bytes_of_any_kind_are_read_or_refused_as_without_a_layout(data: st.DataObject) -> None:
    """A reply with any bytes changed, cut off or added."""
    content = bytearray(msgpack_bytes(STEP))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(content[: data.draw(st.integers(0, len(content)))]) + data.draw(st.binary(max_size=2))
    try:
        expected = unpack(changed)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            learned(STEP).read(changed)
    else:
        assert same(learned(STEP).read(changed), expected)


def test_a_layout_is_learned_anew() -> None:
    """A reader whose replies have changed learns them after a while, and after three times no more: it takes time."""
    reader = learned(STEP)
    first = reader._layout
    for _ in range(300):
        reader.read(msgpack_bytes(BATCH))
    assert reader._layout is not first
    second = reader._layout
    for _ in range(300):
        reader.read(msgpack_bytes(STEP))
    third = reader._layout
    assert third not in (first, second)
    assert reader._misses == 200
    for _ in range(300):
        reader.read(msgpack_bytes(BATCH))
    assert reader._layout is third


@pytest.mark.parametrize("value", [[], 1, {}, {"info": {"a": 1}, "reward": 1.0}, {str(at): True for at in range(16)}])
def test_what_has_no_layout_is_read(value: Any) -> None:
    """No map, a map with too many members, and one with another first member than an array or a number."""
    reader = LayoutReader()
    for _ in range(30):
        assert reader.read(msgpack.packb(value)) == value
    assert reader._layout is None
