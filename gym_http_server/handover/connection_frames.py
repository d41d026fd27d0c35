"""Frames of the channel about clients' connections; the format of all frames is in `runtime/frames.py`.

To the process: `ADOPT` with the descriptor of a connection, whose first bytes are in the receive buffer `slot`, and the session
of a WebSocket; `RECALL` asks for that of a `slot`, or for all connections. From the process: `RETURNED`, with the slot, a byte of
flags, the note on a session with its length, and the unsent rest of a reply; `ENDED`, with the slot of a connection that has ended.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..runtime.frames import OF_CONNECTIONS, REPLY_HEADER, RequestPacker

if TYPE_CHECKING:
    from collections.abc import Mapping

ADOPT: Final = "adopt"
RECALL: Final = "recall"
RETURNED, ENDED = sorted(OF_CONNECTIONS)

MAX_HEAD_BYTES: Final = 1 << 16
"""Maximum bytes of a reply's head."""

_CLOSES, _ENDS_REPLY = 1, 2
_START: Final = struct.Struct("<BBQ")
_MAX_COPIES: Final = 3
"""How often a message of OpenEnv may have the parts of a reply, whose `info` it has twice."""


class ReturnedFrame(NamedTuple):
    """The body of a `RETURNED` frame.

    Attributes:
        slot: the receive buffer of the connection.
        rest: the unsent rest of a reply, which the server writes to the connection.
        closes: the server closes the connection then.
        ends_reply: `rest` completes a reply that the receive buffer does not count as answered yet.
        note: what has become of the session of a WebSocket; empty for other connections.
    """

    slot: int
    rest: bytes
    closes: bool
    ends_reply: bool
    note: bytes = b""

    def pack(self) -> bytes:
        """Return the frame."""
        flags = self.closes * _CLOSES | self.ends_reply * _ENDS_REPLY
        body = _START.pack(self.slot, flags, len(self.note)) + self.note + self.rest
        return REPLY_HEADER.pack(RETURNED, len(body)) + body

    @classmethod
    def unpack(cls, body: bytes) -> ReturnedFrame:
        """Return the content of a frame.

        Raises:
            ValueError: the frame is too short.
        """
        if len(body) < _START.size:
            raise ValueError("a returned connection has a slot, flags and the length of a note")
        slot, flags, size = _START.unpack_from(body)
        end = _START.size + size
        return cls(slot, body[end:], bool(flags & _CLOSES), bool(flags & _ENDS_REPLY), body[_START.size : end])


def pack_ended(slot: int) -> bytes:
    """Return the frame for a connection that has ended."""
    return REPLY_HEADER.pack(ENDED, 1) + bytes((slot,))


def pack_adopt(slot: int, session: Mapping[str, Any] | None = None) -> bytes:
    """Return the frame that brings a connection, a WebSocket with its session."""
    return RequestPacker().pack(ADOPT, {"slot": slot} if session is None else {"slot": slot, "session": session})


def pack_recall(slot: int | None = None) -> bytes:
    """Return the frame that asks for one connection, or for all."""
    return RequestPacker().pack(RECALL, {} if slot is None else {"slot": slot})


def max_body_bytes(kind: int, max_reply: int) -> int:
    """Return the maximum size of a frame's body in bytes; -1 for any other kind."""
    return {RETURNED: _START.size + MAX_HEAD_BYTES + 2 * _MAX_COPIES * max_reply, ENDED: 1}.get(kind, -1)
