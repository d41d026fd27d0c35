"""Reading and writing a WebSocket's frames, beside the library that the server uses for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gym_http_server.http1.websocket_frames import (
    PING,
    PONG,
    TEXT,
    OtherFrameError,
    after_frames,
    frame_head,
    read_frame,
    read_frames,
    unfinished,
)

KINDS = {TEXT: Opcode.TEXT, PING: Opcode.PING, PONG: Opcode.PONG}
PAYLOADS = {
    TEXT: st.one_of(st.binary(max_size=300), st.integers(65_530, 65_540).map(bytes)),
    PING: st.binary(max_size=125),
    PONG: st.binary(max_size=125),
}
FRAMES = st.lists(
    st.sampled_from(list(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), PAYLOADS[kind])), max_size=6
)


def sent(kind: int, payload: bytes) -> bytes:
    """Return a frame as the library's client sends it, with a random mask."""
    return Frame(KINDS[kind], payload).serialize(mask=True)


@given(FRAMES)
def test_frames_of_the_librarys_client_are_read(frames: list[tuple[int, bytes]]) -> None:
    """Kinds, payloads and ends are found, and each beginning of the bytes is unfinished or ends with a frame."""
    parts = [sent(*each) for each in frames]
    data = b"".join(parts)
    assert [(each.kind, each.payload) for each in read_frames(data)] == frames
    for count in range(len(parts) + 1):
        assert after_frames(data, count) == b"".join(parts[count:])
    assert after_frames(data, len(parts) + 1) == b""
    assert unfinished(data) == b""


@given(FRAMES, st.sampled_from(list(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), PAYLOADS[kind])), st.data())
def test_a_part_of_a_frame_is_waited_for(
    frames: list[tuple[int, bytes]], last: tuple[int, bytes], data: st.DataObject
) -> None:
    """Wherever a frame is cut, what is before it is read, and its beginning is left."""
    whole = sent(*last)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    before = b"".join(sent(*each) for each in frames)
    assert [(each.kind, each.payload) for each in read_frames(before + part)] == frames
    assert unfinished(before + part) == part
    assert read_frame(before + part, len(before)) is None


@given(st.sampled_from(list(KINDS)), st.integers(0, 70_000))
def test_heads_are_those_of_the_library(kind: int, size: int) -> None:
    """A frame of the server has the bytes that the library would send."""
    size = size if kind == TEXT else size % 126
    assert frame_head(kind, size) + bytes(size) == Frame(KINDS[kind], bytes(size)).serialize(mask=False)


NOT_PLAIN = {
    "a close": Frame(Opcode.CLOSE, b"").serialize(mask=True),
    "a binary message": Frame(Opcode.BINARY, b"x").serialize(mask=True),
    "a fragment": Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True),
    "the last fragment": Frame(Opcode.CONT, b"x").serialize(mask=True),
    "compressed": b"\xc1\x81maskx",
    "without a mask": Frame(Opcode.TEXT, b"x").serialize(mask=False),
    "an endless length": b"\x81\xff" + b"\xff" * 8,
    "too large": Frame(Opcode.TEXT, bytes(1001)).serialize(mask=True),
    "a long ping": b"\x89\xfe\x01\x00",
    "HTTP": b"GET / HTTP/1.1\r\n",
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_whatever_is_not_plain_is_not_read(data: bytes) -> None:
    """It is refused by its head, the rest of it not being there, and what stands before it is read."""
    for size in range(1, len(data) + 1):
        try:
            assert read_frame(data[:size], 0, 1000) is None
        except OtherFrameError:
            break
    else:
        raise AssertionError("it was taken for plain")
    assert [each.payload for each in read_frames(sent(TEXT, b"one") + data[:2])] == [b"one"]
