"""`Connection`: a socket to a server, for one request and its reply at a time."""

from __future__ import annotations

import atexit
import errno
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from ...support.waiting import READABLE, Waiter
from .reply import BrokenError, EndedError, HttpReply, ReplyReader

if TYPE_CHECKING:
    import ssl

    from .address import Address

CONNECT_TIMEOUT_SECONDS = 10.0
_FIRST_READ_BYTES, _NEXT_READ_BYTES = 1 << 16, 1 << 20  # a reply that is not whole after one small read is large
_HEAD_READ_BYTES = 1 << 9  # after a large reply: the next body, too, goes into a buffer of its size
_RESET_FRACTION = 0.9  # of the limit of a read: it is set anew when less is left
UNCHECKED_SECONDS = 0.1
"""Maximum time since a reply for which a connection counts as open."""
AWAKE_SECONDS = 1e-3
"""Time that a request stays awake for its reply if the last reply came that fast; sleeping costs a step 50 to 100 µs."""
_MAX_LIMIT_SECONDS = 1 << 30
_CLOSED = "the client was closed meanwhile"
_MAX_UNANSWERED_PROBES: Final = 3

_open_sockets: set[socket.socket] = set()
"""Keeps sockets alive until they are closed: garbage collection may finalize a socket before its `Connection`, with a warning."""


class SilentError(ConnectionError):
    """The peer's machine acknowledges nothing any more: it is off, or the network to it is."""

    def __init__(self) -> None:
        super().__init__("the machine does not answer any more")


class Connection:
    """A connection of one thread of one process, closed when it is garbage collected.

    Args:
        address: the server.
        tls: None for a plain connection.
        timeout: seconds to wait for each reply, and for the connection if that is less than `CONNECT_TIMEOUT_SECONDS`;
            None waits for ever.
        silence: seconds to wait for the connection, and later for the peer's machine to acknowledge what was sent, which a
            living one does however long the reply takes; None waits as long as the system does.

    Raises:
        OSError: the server cannot be reached.
    """

    def __init__(
        self, address: Address, tls: ssl.SSLContext | None, timeout: float | None, silence: float | None = None
    ) -> None:
        self._socket: socket.socket | None = None
        self._timeout = timeout
        self.pid = os.getpid()
        self._reader = ReplyReader()
        self._first_bytes = _FIRST_READ_BYTES
        self._received_at = 0.0
        # A host that drops packets should fail sooner than an environment may take to answer.
        connect_timeout = min(
            timeout or CONNECT_TIMEOUT_SECONDS, silence or CONNECT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS
        )
        plain = socket.create_connection((address.host, address.port), connect_timeout)
        try:
            # Nagle's algorithm would delay the end of a long request until its beginning is acknowledged.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if silence is not None:
                _notice_silence(plain, silence)
            connected = plain if tls is None else tls.wrap_socket(plain, server_hostname=address.host)
            self._has_kernel_timeouts = tls is None and sys.platform != "win32"
            # The process is woken once for a whole body; the kernel's time-out ends this wait, too.
            self._room_flags = socket.MSG_WAITALL if self._has_kernel_timeouts else 0
            self._set_limit(connected, timeout)
        except BaseException:
            plain.close()
            raise
        self._socket = connected
        _open_sockets.add(connected)
        # select.select refuses descriptors over 1023.
        self._waiter: Waiter | None = None
        if sys.platform != "win32":
            self._waiter = Waiter(AWAKE_SECONDS)
            self._waiter.watch(connected, READABLE)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it; closing it again does nothing."""
        connected, self._socket = self._socket, None
        if connected is not None:
            _open_sockets.discard(connected)
            connected.close()

    def is_reusable(self, *, can_repeat: bool) -> bool:
        """Return whether the connection is open and nothing can be read from it, not even its end.

        That is not looked at a moment after a reply, for a request that can be sent again: no server closes connections so soon.
        """
        if self._socket is None or self._socket.fileno() == -1:
            return False
        if can_repeat and time.monotonic() - self._received_at < UNCHECKED_SECONDS:
            return True
        if self._waiter is not None:
            return not self._waiter.ready()
        return not select.select([self._socket], [], [], 0)[0]

    def send(self, data: bytes) -> None:
        """Send a whole request.

        Raises:
            TimeoutError: the server does not read it in time.
            OSError: the system did not take all of it.
        """
        connected = self._socket
        if connected is None:
            raise EndedError(_CLOSED)
        if self._limit != self._timeout:
            self._set_limit(connected, self._timeout)
        try:
            connected.sendall(data)
        except BlockingIOError:
            raise TimeoutError("timed out") from None
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:
                raise SilentError from error
            raise

    def receive(self) -> HttpReply:
        """Return the reply to the request that was sent, without interim replies.

        Raises:
            EndedError: the connection ended before the reply.
            BrokenError: it ended in the middle of the reply, or the reply is not HTTP.
            SilentError: the peer's machine acknowledges nothing any more.
            TimeoutError: the whole reply did not come in time.
        """
        connected, reader = self._socket, self._reader
        if connected is None:
            raise EndedError(_CLOSED)
        self._received_at = now = time.monotonic()
        deadline = None if self._timeout is None else now + self._timeout
        try:
            # Bytes of TLS may be read already, of which a poll knows nothing.
            if (waiter := self._waiter if self._has_kernel_timeouts else None) is None or waiter.stay_awake():
                reply = reader.first(connected.recv(self._first_bytes))
            else:
                data = connected.recv(self._first_bytes)
                waiter.end_sleep()
                reply = reader.first(data)
            while reply is None:
                if deadline is not None:
                    self._wait_until(connected, deadline)
                room = reader.room()
                if room is None:
                    reply = reader.feed(connected.recv(_NEXT_READ_BYTES))
                else:
                    reply = reader.fill(connected.recv_into(room, 0, self._room_flags))
        except (BrokenError, EndedError):
            raise
        except BlockingIOError:
            raise TimeoutError("timed out") from None
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:
                raise SilentError from error
            raise TimeoutError(str(error)) from None
        except OSError as error:
            kind = BrokenError if reader.has_begun else EndedError
            raise kind(f"the connection ended in the middle of the answer ({error!r})") from error
        self._first_bytes = _HEAD_READ_BYTES if len(reply.body) > _FIRST_READ_BYTES else _FIRST_READ_BYTES
        return reply

    def _wait_until(self, connected: socket.socket, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out in the middle of the answer")
        # Most replies come long before the limit, and need no system call to change it.
        if left < _RESET_FRACTION * (self._limit or left):
            self._set_limit(connected, left)

    def _set_limit(self, connected: socket.socket, seconds: float | None) -> None:
        self._limit = seconds
        if not self._has_kernel_timeouts:
            connected.settimeout(seconds)
            return
        # Python's own timeout costs a poll before every read and write, the kernel's nothing.
        whole, rest = divmod(max(seconds or 0.0, 1e-6 if seconds else 0.0), 1.0)
        limit = struct.pack("ll", int(min(whole, _MAX_LIMIT_SECONDS)), int(rest * 1e6))
        connected.settimeout(None)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _notice_silence(connected: socket.socket, seconds: float) -> None:
    """Have the system end a connection whose peer acknowledges neither data nor probes."""
    interval = max(int(seconds / _MAX_UNANSWERED_PROBES), 1)
    options = {
        "TCP_KEEPIDLE": interval,
        "TCP_KEEPALIVE": interval,  # its name on macOS
        "TCP_KEEPINTVL": interval,
        "TCP_KEEPCNT": _MAX_UNANSWERED_PROBES,
        "TCP_USER_TIMEOUT": int(seconds * 1e3),
    }
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _close_sockets() -> None:
    for connected in list(_open_sockets):
        connected.close()


atexit.register(_close_sockets)
