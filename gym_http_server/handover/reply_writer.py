"""Writing replies to a client's connection, and noting in its receive buffer how far each one is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ..http1.transport import MAX_COPIED_BODY_BYTES
from .receive_buffer import EXECUTING

if TYPE_CHECKING:
    import socket

    from .receive_buffer import ReceiveBuffer

PONG_LOOK_SECONDS: Final = 0.0001
MAX_PONG_SECONDS: Final = 1.0
"""Time between two looks whether the server still writes a pong, and of all of them: it may have been stopped in between."""


class ReplyWriter:
    """Writes one reply after the other; keeps what the client has not taken of the last one.

    Args:
        connection: the non-blocking socket.
        buffer: the receive buffer.

    Attributes:
        unsent: the rest of the last reply; while there is one, no further reply may be written.
    """

    def __init__(self, connection: socket.socket, buffer: ReceiveBuffer) -> None:
        self._connection = connection
        self._buffer = buffer
        self._written = 0
        """Bytes of all replies."""
        self.unsent = memoryview(b"")

    def write(self, head: bytes, body: bytes) -> bool:
        """Write a reply, or as much of it as the socket takes; return False if the connection is broken."""
        size = len(head) + len(body)
        self._buffer.replies(self._written, self._written + size)
        if self._buffer.pongs.is_writing:  # after the note on the reply, before which the server looks for one
            self._await_pongs()
        try:
            if len(body) < MAX_COPIED_BODY_BYTES:
                sent = self._connection.send(head + body)
            else:
                sent = self._connection.sendmsg((head, body))
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._buffer.go_back(EXECUTING)
            return False
        self._written += size
        if sent == size:
            self._buffer.mark_answered()
        elif sent < len(head):
            self.unsent = memoryview(head + body)[sent:]
        else:
            self.unsent = memoryview(body)[sent - len(head) :]
        return True

    def _await_pongs(self) -> None:
        """Wait until the server, which has the same socket, has written the pong that it is writing; at most `MAX_PONG_SECONDS`."""
        end = time.monotonic() + MAX_PONG_SECONDS
        while self._buffer.pongs.is_writing and time.monotonic() < end:
            time.sleep(PONG_LOOK_SECONDS)

    def write_rest(self) -> bool:
        """Write more of the last reply; return False if the connection is broken."""
        try:
            self.unsent = self.unsent[self._connection.send(self.unsent) :]
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not self.unsent:
            self._buffer.mark_answered()
        return True
