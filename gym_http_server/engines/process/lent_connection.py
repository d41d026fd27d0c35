"""A client's connection while an environment's process serves it: the server's duplicate of it, and the way back.

The server needs the duplicate where the process dies or is killed: what is not answered by then is in the inbox. Because
a duplicate withholds the end of the stream, a process that ends a connection shuts it down.
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
    """At most one connection: an environment serves one call at a time, and a second client would only wait there.

    Args:
        inbox: where the process keeps what is not answered.
    """

    def __init__(self, inbox: ReceiveBuffer) -> None:
        self._inbox = inbox
        self._connection = -1
        self._back: Callable[[Returned | None], None] | None = None
        self._seen: tuple[int, float] | None = None
        self._sent_before: int | None = None
        self._is_free: asyncio.Future[None] | None = None

    @property
    def is_held(self) -> bool:
        """Whether there is a connection."""
        return self._back is not None

    def hand_over(
        self, channel: socket.socket, connection: int, data: bytes, back: Callable[[Returned | None], None]
    ) -> bool:
        """Send a connection to the process over its channel; return whether that could be done.

        Args:
            channel: the socket to the process, which does not block.
            connection: descriptor of the connection, which is kept if it was sent.
            data: what has come on it.
            back: told once when it comes back, or with None when it has ended.
        """
        if self.is_held:
            return False
        self._inbox.start(data)
        self._sent_before = bytes_sent(connection)
        try:
            # A few bytes that go whole or not at all.
            socket.send_fds(channel, [_ADOPT_FRAME], [connection])
        except OSError:
            return False
        self._connection, self._back, self._seen = connection, back, None
        return True

    def recall(self, channel: socket.socket) -> None:
        """Ask for the connection; where the channel is full, what fills it does so already."""
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
        """Pass the connection on to who is told of its return.

        Args:
            rest: what is to be written to it.
            closes: it is to be closed then.
            ends_reply: a request is answered with that which the inbox does not count as answered yet.
            error: what the first request that is not answered is to be answered with.
        """
        inbox = self._inbox
        connection, back = self._take()
        answered = inbox.answered + ends_reply
        back(Returned(connection, rest, closes, inbox.data, answered, inbox.served, error, inbox.waits_since))

    def end(self) -> None:
        """Let go of a connection that has ended, and see to it that it has: the process may keep it."""
        connection, back = self._take()
        with contextlib.suppress(OSError):
            shut_down(connection)
        os.close(connection)
        back(None)

    def inherit(self, error: GymHttpServerError, *, is_unread: bool) -> None:
        """Take the connection from a process that has ended.

        Args:
            error: the answer to the request that it was serving.
            is_unread: or to one that it left unread until it was killed for that.
        """
        if not self.is_held:
            return
        phase = self._inbox.phase
        if phase == REPLYING:
            sent, (begin, end) = self._sent(), self._inbox.reply
            if sent is not None and sent == end > begin:
                self.give_back(closes=self._inbox.closes, ends_reply=True)
                return
            if sent is None or sent != begin:
                # Half a reply cannot be mended.
                self.end()
                return
        self.give_back(error=None if phase == WAITING and not is_unread else error)

    def last_sign(self, now: float) -> float:
        """Return when the process last showed that it serves the connection: now, unless a request lies unread.

        Args:
            now: seconds of the monotonic clock.
        """
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        served = self._inbox.served
        if self._inbox.phase == REPLYING or not poll.poll(0):
            self._seen = None
        elif self._seen is None or self._seen[0] != served:
            self._seen = served, now
        return now if self._seen is None else self._seen[1]

    def _sent(self) -> int | None:
        """Return how many bytes the process has written to the connection, or None where the system does not tell."""
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
    """Return how many bytes have been written to a TCP connection, or None where the system does not tell.

    Linux tells of `tcp_info` (linux/tcp.h) what was sent, what of it was sent again, and what waits to be sent.
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
    [waiting] = struct.unpack_from("=I", info, 144)
    sent, again = struct.unpack_from("=QQ", info, 200)
    return int(sent - again + waiting)


def shut_down(descriptor: int) -> None:
    """End a connection, whoever else has a duplicate of it.

    Raises:
        OSError: it has ended.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
