"""A client's connection while an environment's process serves it: the server's duplicate, and its return.

If the process dies, the server continues on the duplicate with the unanswered requests of the receive buffer. The duplicate
keeps the stream open, so a process that ends a connection calls `shutdown`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

from ...runtime.frames import ADOPT, RECALL, RequestPacker
from ...runtime.shared.receive_buffer import REPLYING, WAITING
from ..base import Returned

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...errors import GymHttpServerError
    from ...runtime.shared.receive_buffer import ReceiveBuffer

_TCP_INFO_SIZE: Final = 216
_ADOPT_FRAME = RequestPacker().pack(ADOPT, {})
_RECALL_FRAME = RequestPacker().pack(RECALL, {})


class LentConnection:
    """At most one connection: an environment serves one call at a time, so a second client would wait there."""

    def __init__(self, receive_buffer: ReceiveBuffer) -> None:
        self._receive_buffer = receive_buffer
        # The connection
        self._connection = -1
        self._back: Callable[[Returned | None], None] | None = None
        self._is_free: asyncio.Future[None] | None = None
        # What was observed of it
        self._unread: tuple[int, float] | None = None
        """Number of answered requests and the moment when a request was first seen unread."""
        self._sent_before: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether the process has a connection."""
        return self._back is not None

    def hand_over(
        self, channel: socket.socket, connection: int, data: bytes, back: Callable[[Returned | None], None]
    ) -> bool:
        """Send a connection to the process over the channel; otherwise as `engines.base.Worker.hand_over`."""
        if self.is_held:
            return False
        self._receive_buffer.start(data)
        self._sent_before = bytes_sent(connection)
        try:
            # A few bytes are sent whole or not at all.
            socket.send_fds(channel, [_ADOPT_FRAME], [connection])
        except OSError:
            return False
        self._connection, self._back, self._unread = connection, back, None
        return True

    def recall(self, channel: socket.socket) -> None:
        """Ask for the connection; if the channel is full, its content asks for it already."""
        if self.is_held:
            with contextlib.suppress(OSError):
                channel.send(_RECALL_FRAME)

    def give_back(
        self,
        rest: bytes = b"",
        *,
        closes: bool = False,
        ends_reply: bool = False,
        error: GymHttpServerError | None = None,
    ) -> None:
        """Return the connection to the server as `Returned`.

        With `ends_reply`, `rest` answers a request that the receive buffer does not count yet.
        """
        buffer = self._receive_buffer
        connection, back = self._take()
        answered = buffer.answered + ends_reply
        back(Returned(connection, rest, closes, buffer.data, answered, buffer.served, error, buffer.waits_since))

    def end(self) -> None:
        """Drop a connection that has ended, and shut it down: the process may keep a duplicate."""
        connection, back = self._take()
        with contextlib.suppress(OSError):
            shut_down(connection)
        os.close(connection)
        back(None)

    def inherit(self, error: GymHttpServerError, *, is_unread: bool) -> None:
        """Take the connection of a process that has ended; the error answers the request in execution.

        With `is_unread` it answers the request that the process left unread until it was killed.
        """
        if not self.is_held:
            return
        phase = self._receive_buffer.phase
        if phase == REPLYING:
            sent, (begin, end) = self._sent(), self._receive_buffer.reply
            if sent is not None and sent == end > begin:
                self.give_back(closes=self._receive_buffer.closes, ends_reply=True)
                return
            if sent is None or sent != begin:
                # Half a reply was sent.
                self.end()
                return
        self.give_back(error=None if phase == WAITING and not is_unread else error)

    def last_sign(self, now: float) -> float:
        """Return since when a request is unread, in seconds of the monotonic clock; now if there is none."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        served = self._receive_buffer.served
        if self._receive_buffer.phase == REPLYING or not poll.poll(0):
            self._unread = None
        elif self._unread is None or self._unread[0] != served:
            self._unread = served, now
        return now if self._unread is None else self._unread[1]

    def _sent(self) -> int | None:
        """Return the number of bytes that the process has written to the connection; None if it is unknown."""
        now = bytes_sent(self._connection)
        return None if now is None or self._sent_before is None else now - self._sent_before

    async def returned(self) -> None:
        """Wait until the process has no connection."""
        if self.is_held:
            if self._is_free is None:
                self._is_free = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._is_free)

    def _take(self) -> tuple[int, Callable[[Returned | None], None]]:
        assert self._back is not None  # noqa: S101 -- for the type checker
        connection, back = self._connection, self._back
        self._connection, self._back = -1, None
        if self._is_free is not None:
            self._is_free.set_result(None)
            self._is_free = None
        return connection, back


def bytes_sent(descriptor: int) -> int | None:
    """Return the number of bytes written to a TCP connection; None where the system does not report it.

    Linux: `tcp_info` (linux/tcp.h) has the bytes sent, those of them sent again, and those that wait to be sent.
    """
    if sys.platform != "linux":
        return None
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return None
    if len(info) < _TCP_INFO_SIZE:  # before Linux 4.19
        return None
    [unsent] = struct.unpack_from("=I", info, 144)
    sent, resent = struct.unpack_from("=QQ", info, 200)
    return int(sent - resent + unsent)


def shut_down(descriptor: int) -> None:
    """Shut a connection down, for all duplicates of its descriptor.

    Raises:
        OSError: it has ended already.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
