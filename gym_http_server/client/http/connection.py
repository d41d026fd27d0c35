"""`Connection`: one socket to a server, which carries one request and its reply at a time."""

from __future__ import annotations

import atexit
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from .reply import BrokenError, EndedError, HttpReply, ReplyReader

if TYPE_CHECKING:
    import ssl

    from .address import Address

CONNECT_TIMEOUT = 10.0
_FIRST, _NEXT = 1 << 16, 1 << 20  # most replies come whole in one small read; one that does not is large
_SHARE = 0.9  # of the time to wait: how much of it may be over before the limit of a read is set anew
_MAX_WAIT_SECONDS = 1 << 30

_open_sockets: set[socket.socket] = set()
"""Keeps sockets alive until they are closed: a garbage collector may finalize a socket before its `Connection`, with a warning."""


class Connection:
    """A connection of one thread of one process, closed when nothing refers to it.

    Args:
        address: where to connect to.
        tls: the TLS to speak; None for none.
        timeout: seconds to wait for the connection, where that is shorter than `CONNECT_TIMEOUT`, and then for each
            reply; None waits for ever.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, address: Address, tls: ssl.SSLContext | None, timeout: float | None) -> None:
        self._socket: socket.socket | None = None
        self._timeout = timeout
        self.pid = os.getpid()
        self._arriving = ReplyReader()
        # A host that swallows packets should not cost as long as an environment may take to answer.
        patience = CONNECT_TIMEOUT if timeout is None else min(timeout, CONNECT_TIMEOUT)
        plain = socket.create_connection((address.host, address.port), patience)
        try:
            # Nagle's algorithm would hold the end of a long request back until its beginning is acknowledged.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected = plain if tls is None else tls.wrap_socket(plain, server_hostname=address.host)
            self._by_kernel = tls is None and sys.platform != "win32"
            self._set_limit(connected, timeout)
        except BaseException:
            plain.close()
            raise
        self._socket = connected
        _open_sockets.add(connected)
        # select.select refuses descriptors over 1023.
        self._poll: Any = None
        if sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(connected, select.POLLIN)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it; closing it again does nothing."""
        connected, self._socket = self._socket, None
        if connected is not None:
            _open_sockets.discard(connected)
            connected.close()

    def is_reusable(self) -> bool:
        """Return whether the connection is open and there is nothing on it to read, not even its end."""
        if self._socket is None or self._socket.fileno() == -1:
            return False
        if self._poll is not None:
            return not self._poll.poll(0)
        return not select.select([self._socket], [], [], 0)[0]

    def send(self, data: bytes) -> None:
        """Send a whole request.

        Raises:
            TimeoutError: the server does not read it in time.
            OSError: it could not be handed over whole.
        """
        connected = self._opened()
        if self._limit != self._timeout:
            self._set_limit(connected, self._timeout)
        try:
            connected.sendall(data)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def receive(self) -> HttpReply:
        """Return the reply to the request that was sent; interim replies before it are skipped.

        Raises:
            EndedError: the connection ended before a byte of it came.
            BrokenError: it ended in the middle, or what came is not HTTP.
            TimeoutError: the reply is not there in time, the whole of it.
        """
        connected, arriving = self._opened(), self._arriving
        arriving.begin()
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        reply = arriving.feed(self._read(connected, _FIRST))
        while reply is None:
            if deadline is not None:
                self._wait_until(connected, deadline)
            reply = arriving.feed(self._read(connected, _NEXT))
        return reply

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise EndedError("the client was closed meanwhile")
        return self._socket

    def _wait_until(self, connected: socket.socket, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out in the middle of the answer")
        # A system call that most replies can do without: they are there long before the limit.
        if left < _SHARE * (self._limit or left):
            self._set_limit(connected, left)

    def _set_limit(self, connected: socket.socket, seconds: float | None) -> None:
        self._limit = seconds
        if not self._by_kernel:
            connected.settimeout(seconds)
            return
        # Python's own timeout costs a poll before every read and write; the system's costs nothing.
        whole, rest = divmod(max(seconds or 0.0, 1e-6 if seconds else 0.0), 1.0)
        limit = struct.pack("ll", int(min(whole, _MAX_WAIT_SECONDS)), int(rest * 1e6))
        connected.settimeout(None)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _read(self, connected: socket.socket, most: int) -> bytes:
        try:
            return connected.recv(most)
        except (TimeoutError, BlockingIOError):
            raise TimeoutError("timed out") from None
        except OSError as error:
            kind = BrokenError if self._arriving.has_begun else EndedError
            raise kind(f"the connection ended in the middle of the answer ({error!r})") from error


def _close_sockets() -> None:
    for each in list(_open_sockets):
        each.close()


atexit.register(_close_sockets)
