"""What a connection's protocol writes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

CONTINUE = b"HTTP/1.1 100 "

FEW = 1 << 16
"""A body of fewer bytes is copied behind its head, which is faster than handing over two pieces."""


class JoiningTransport:
    """A transport that keeps the head of each response back until there is something of its body, or its end.

    Args:
        transport: what carries the bytes.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
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
        """Write bytes, after the head where one was kept back."""
        if self._head is not None:
            head, self._head = self._head, None
            self.write_whole(head, data)
        elif self._expects_head and not data.startswith(CONTINUE):
            self._head, self._expects_head = data, False
        else:
            self._transport.write(data)

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Write a head and what there is of its body."""
        if len(body) < FEW:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def end_response(self) -> None:
        """Write the head of a response without a body; the next bytes are a head again."""
        if self._head is not None:
            self.write(b"")
        self._expects_head = True

    def close(self) -> None:
        """Close the connection after what was written."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()
