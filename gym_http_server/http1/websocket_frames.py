"""Frames of WebSockets (RFC 6455) as bytes, for connections that no library reads: whole frames, and plain ones only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT: Final = 0x81
PING: Final = 0x89
PONG: Final = 0x8A
"""First bytes of plain frames: whole texts, pings and pongs, without extensions."""

_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_NO_MASK: Final = bytes(_MASK_BYTES)
_SHORT, _LONG = 126, 127
"""Lengths that say that the length follows in two or in eight bytes."""


class OtherFrameError(Exception):
    """The bytes begin a frame that is not plain."""


class PlainFrame(NamedTuple):
    """A frame of a client.

    Attributes:
        kind: `TEXT`, `PING` or `PONG`.
        payload: its bytes, unmasked.
        end: the position after it.
    """

    kind: int
    payload: bytes
    end: int


def read_frame(data: bytes, start: int = 0, max_bytes: int = sys.maxsize) -> PlainFrame | None:
    """Return the frame at a position; None where its rest has not arrived.

    Args:
        data: received bytes.
        start: the position.
        max_bytes: maximum size of a payload.

    Raises:
        OtherFrameError: it is a fragment, a close, a binary message, malformed or too large.
    """
    size = len(data) - start
    if not size:
        return None
    kind = data[start]
    if kind not in (TEXT, PING, PONG):
        raise OtherFrameError
    if size == 1:
        return None
    length = data[start + 1] - _MASKED
    at = start + 2
    if length >= _SHORT:
        if kind != TEXT:
            raise OtherFrameError
        after = at + (2 if length == _SHORT else 8)
        if after > len(data):
            return None
        length = int.from_bytes(data[at:after], "big")
        at = after
    if not 0 <= length <= max_bytes:
        raise OtherFrameError
    begin = at + _MASK_BYTES
    end = begin + length
    if end > len(data):
        return None
    mask, payload = data[at:begin], data[begin:end]
    return PlainFrame(kind, payload if mask == _NO_MASK else unmasked(payload, mask), end)


def read_frames(data: bytes) -> Iterator[PlainFrame]:
    """Yield the plain frames with which received bytes begin."""
    start = 0
    try:
        while (frame := read_frame(data, start)) is not None:
            yield frame
            start = frame.end
    except OtherFrameError:
        return


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """Return a payload without its mask, or with it."""
    size = len(payload)
    repeated = (mask * (size // _MASK_BYTES + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


def frame_head(kind: int, size: int) -> bytes:
    """Return what stands before a payload of the server's, which has no mask."""
    if size < _SHORT:
        return bytes((kind, size))
    if size < 1 << 16:
        return bytes((kind, _SHORT)) + size.to_bytes(2, "big")
    return bytes((kind, _LONG)) + size.to_bytes(8, "big")


def after_frames(data: bytes, count: int) -> bytes:
    """Return the bytes after the first `count` frames, which are plain; empty if there are fewer."""
    end = 0
    for frame in read_frames(data):
        if not count:
            break
        count -= 1
        end = frame.end
    return b"" if count else data[end:]


def unfinished(data: bytes) -> bytes:
    """Return the end of received bytes that is no whole frame, of whatever kind; they begin with a frame."""
    start = 0
    while (size := len(data) - start) >= 2:
        flags = data[start + 1]
        length, at = flags & ~_MASKED, start + 2
        if length >= _SHORT:
            at += 2 if length == _SHORT else 8
            if at > len(data):
                break
            length = int.from_bytes(data[start + 2 : at], "big")
        end = at + length + (_MASK_BYTES if flags & _MASKED else 0)
        if end > len(data):
            break
        start = end
    return data[start:] if size else b""
