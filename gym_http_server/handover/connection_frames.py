"""Frames of the channel about clients' connections; the format of all frames is in `runtime/frames.py`.

To the process: `ADOPT` with the descriptor of a connection, whose first bytes are in the receive buffer `slot`; `RECALL` asks for
that of a `slot`, or for all connections. From the process: `RETURNED`, with the slot, a byte of flags and the unsent rest of a reply; `ENDED`, with the
slot of a connection that has ended.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..runtime.frames import OF_CONNECTIONS, REPLY_HEADER, RequestPacker

ADOPT: Final = "adopt"
RECALL: Final = "recall"
RETURNED, ENDED = sorted(OF_CONNECTIONS)

MAX_HEAD_BYTES: Final = 1 << 16
"""Maximum bytes of a reply's head."""

_CLOSES, _ENDS_REPLY = 1, 2


class ReturnedFrame(NamedTuple):
    """The body of a `RETURNED` frame.

    Attributes:
        slot: the receive buffer of the connection.
        rest: the unsent rest of a reply, which the server writes to the connection.
        closes: the server closes the connection then.
        ends_reply: `rest` completes a reply that the receive buffer does not count as answered yet.
    """

    slot: int
    rest: bytes
    closes: bool
    ends_reply: bool

    def pack(self) -> bytes:
        """Return the frame."""
        flags = self.closes * _CLOSES | self.ends_reply * _ENDS_REPLY
        return REPLY_HEADER.pack(RETURNED, 2 + len(self.rest)) + bytes((self.slot, flags)) + self.rest

    @classmethod
    def unpack(cls, body: bytes) -> ReturnedFrame:
        """Return the content of a frame.

        Raises:
            ValueError: the frame is too short.
        """
        if len(body) < 2:
            raise ValueError("a returned connection has a slot and flags")
        slot, flags = body[:2]
        return cls(slot, body[2:], bool(flags & _CLOSES), bool(flags & _ENDS_REPLY))


def pack_ended(slot: int) -> bytes:
    """Return the frame for a connection that has ended."""
    return REPLY_HEADER.pack(ENDED, 1) + bytes((slot,))


def pack_adopt(slot: int) -> bytes:
    """Return the frame that brings a connection."""
    return RequestPacker().pack(ADOPT, {"slot": slot})


def pack_recall(slot: int | None = None) -> bytes:
    """Return the frame that asks for one connection, or for all."""
    return RequestPacker().pack(RECALL, {} if slot is None else {"slot": slot})


def max_body_bytes(kind: int, max_reply: int) -> int:
    """Return the maximum size of a frame's body in bytes; -1 for any other kind."""
    return {RETURNED: 2 + MAX_HEAD_BYTES + max_reply, ENDED: 1}.get(kind, -1)
