"""`FrameHeads`: where the frames of a WebSocket (RFC 6455) begin and end, told by their heads alone."""

from __future__ import annotations

from typing import Final

CONTINUATION, TEXT, BINARY, CLOSE = 0, 1, 2, 8
MAX_HEAD_BYTES: Final = 14
_EXTENDED: Final = {126: 2, 127: 8}
"""Bytes of the length, by what stands in its place."""


class FrameHeads:
    """Follows one direction of a connection.

    Attributes:
        total: number of bytes.
        messages: number of messages that have begun.
        is_whole: whether the last of them has ended.
        has_close: whether a close frame has begun.
        opcode: that of the latest frame.
    """

    def __init__(self) -> None:
        self.total = self.messages = 0
        self.is_whole = True
        self.has_close = False
        self.opcode = CONTINUATION
        self._head = b""
        """Bytes of an incomplete head."""
        self._left = 0
        """Bytes of the payload that are still to come."""

    @property
    def is_between(self) -> bool:
        """Whether another frame can begin here."""
        return not self._left and not self._head

    def follow(self, data: bytes) -> None:
        """Take note of the next bytes."""
        self.total += len(data)
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            head = self._head + data[at : at + MAX_HEAD_BYTES]
            extended = _EXTENDED.get(head[1] & 0x7F, 0) if len(head) > 1 else 0
            size = 2 + extended + (4 if len(head) > 1 and head[1] & 0x80 else 0)
            if len(head) < size:
                self._head = head
                return
            at += size - len(self._head)
            self._head = b""
            self._left = int.from_bytes(head[2 : 2 + extended]) if extended else head[1] & 0x7F
            self._note(head[0] & 0x0F, is_last=bool(head[0] & 0x80))

    def _note(self, opcode: int, *, is_last: bool) -> None:
        self.opcode = opcode
        if opcode in (TEXT, BINARY):
            self.messages += 1
        if opcode in (CONTINUATION, TEXT, BINARY):
            self.is_whole = is_last
        self.has_close = self.has_close or opcode == CLOSE


def close_frame(code: int, reason: str) -> bytes:
    """Return the close frame of a server; the reason is cut to what it may hold, 123 bytes."""
    words = reason.encode()[:123].decode(errors="ignore").encode()
    return bytes((0x80 | CLOSE, 2 + len(words))) + code.to_bytes(2) + words
