"""A transport that joins head and body of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

CONTINUE = b"HTTP/1.1 100 "

MAX_COPIED_BODY_BYTES = 1 << 16
"""A body of fewer bytes is copied behind its head, which is faster than writing two pieces."""


class JoiningTransport:
    """A transport that holds back each response's head until the first part of the body, or the end.

    Attributes:
        plain: the transport that holds nothing back.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.plain = transport
        self._head: bytes | None = None
        self._expects_head = True
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Write bytes, after the head if one is held back."""
        if self._head is not None:
            head, self._head = self._head, None
            self.write_whole(head, data)
        elif self._expects_head and not data.startswith(CONTINUE):
            self._head, self._expects_head = data, False
        else:
            self.plain.write(data)

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Write a head and the first part of its body together."""
        if len(body) < MAX_COPIED_BODY_BYTES:
            self.plain.write(head + body)
        else:
            self.plain.writelines((head, body))

    def end_response(self) -> None:
        """Write a head that is still held back; the next bytes are a head again."""
        if self._head is not None:
            self.write(b"")
        self._expects_head = True

    def close(self) -> None:
        """Close the connection after everything is written."""
        if self._head is not None:
            self.write(b"")
        self.plain.close()
