"""One client's connection in an environment's process."""

from __future__ import annotations

import collections
import contextlib
import functools
import socket
import time
from typing import TYPE_CHECKING

from ..api.hot_operations import NotPlainError
from ..http1.arrival import HEAD
from ..http1.known_heads import END_OF_HEAD, MAX_KNOWN_HEADS, end_of_known
from .connection_frames import ReturnedFrame
from .reply_writer import ReplyWriter
from .request_parser import RequestParser

if TYPE_CHECKING:
    from ..config import Settings
    from ..runtime.served.base import Served
    from ..runtime.shared.traffic import Traffic
    from .hot_service import Head, HotService
    from .receive_buffer import ReceiveBuffer


class HostedConnection:
    """Serves the requests of one connection in order, without waiting for anything.

    The receive buffer always has the unanswered bytes and whether the first request was begun, so that the server can continue
    if this process dies. A client sends the same head again and again, so heads are parsed once and then recognised by their
    bytes.

    Args:
        slot: the number of its receive buffer.
        connection: its socket.
        buffer: its receive buffer, which has the first bytes.
        service: serves its requests.
        instance_id: the instance that they are for.

    Attributes:
        socket: its socket.
        slot: the number of its receive buffer.
        has_ended: whether the connection has ended.
        is_to_leave: whether the server has to serve what follows the complete requests.
        is_late: never: a client that does not take its reply is left alone.
    """

    is_late = False

    def __init__(
        self, slot: int, connection: socket.socket, buffer: ReceiveBuffer, service: HotService, instance_id: str
    ) -> None:
        # The connection
        self.socket = connection
        self.slot = slot
        self.has_ended = False
        self.is_to_leave = False
        # Requests
        self._buffer = buffer
        self._parser = RequestParser()
        self._known: dict[bytes, tuple[Head, int]] = {}
        """Heads by their bytes, with the size of the body."""
        self._requests: collections.deque[tuple[Head, bytes]] = collections.deque()
        self._clock = ClientClock(service.settings, self._parser)
        # Replies
        self._service = service
        self._admit = functools.partial(service.admit, instance_id=instance_id, client=client_of(connection))
        self._writer = ReplyWriter(connection, buffer)

        connection.setblocking(False)
        buffer.adopt()
        self._parse(buffer.data)

    @property
    def has_request(self) -> bool:
        """Whether a complete request waits."""
        return bool(self._requests)

    @property
    def is_writing(self) -> bool:
        """Whether the client has to take a reply first."""
        return bool(self._writer.unsent)

    def receive(self) -> None:
        """Receive once and parse; only while no complete request waits."""
        try:
            data = self._buffer.receive(self.socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.has_ended = True
            return
        if not data:
            # The client sends no more, and has all its replies.
            self.has_ended = True
            return
        if self._parser.part or not self._recognise(data):
            self._parse(data)

    def serve(self, environment: Served, traffic: Traffic) -> None:
        """Serve the first complete request, or leave it to the server."""
        head, body = self._requests.popleft()
        try:
            if self._buffer.is_full:
                raise NotPlainError  # noqa: TRY301 -- one way to leave it
            value = self._service.read(head, body)
        except NotPlainError:
            self.is_to_leave = True
            self._requests.clear()
            return
        self._buffer.executes(closes=not head.keep_alive)
        reply = self._service.answer(head, value, body, environment, traffic)
        self._went_on(is_written=self._writer.write(*reply))

    def send_rest(self) -> None:
        """Send more of a reply."""
        self._went_on(is_written=self._writer.write_rest())

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds that the client still has, by the monotonic clock; None for no limit."""
        if self._writer.unsent or self._requests:
            return None
        return self._clock.since + self._clock.limit - now

    def end_late(self) -> None:
        """End an idle connection, or leave a request that arrives too slowly to the server, which refuses it."""
        if self._parser.part:
            self.is_to_leave = True
        else:
            self.has_ended = True

    def leave(self) -> ReturnedFrame:
        """Give the connection back; return the frame for the server."""
        self._buffer.waits(self._clock.since)
        is_writing = self.is_writing
        closes = is_writing and self._buffer.closes
        frame = ReturnedFrame(self.slot, bytes(self._writer.unsent), closes, ends_reply=is_writing)
        self.socket.close()
        return frame

    def end(self) -> None:
        """End the connection. The server has a duplicate, so closing alone would not end it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        is_fresh = not parser.part
        parser.feed(data)
        is_whole = is_fresh and len(parser.complete) == 1 and not parser.part
        while parser.complete:
            request = parser.complete.popleft()
            head = self._admit(request)
            if head is None:
                self.is_to_leave = True
                return
            self._requests.append((head, request.body))
            if is_whole:
                self._remember(data, head, request.body)
        # A request that fills the buffer may have a body that the server parses in a thread.
        self.is_to_leave = parser.is_stopped or self._buffer.is_full
        self._await_rest()

    def _recognise(self, data: bytes) -> bool:
        """Take a whole request whose head is known; return whether it was one."""
        end, key = end_of_known(data)
        known = self._known.get(data[:end])
        if known is None:
            return False
        head, size = known
        if key:
            changed = head.with_key(key)
            if changed is None:
                return False
            head, end = changed, end + len(key) + len(END_OF_HEAD)
        if len(data) - end != size:
            return False
        self._requests.append((head, data[end:]))
        return True

    def _remember(self, data: bytes, head: Head, body: bytes) -> None:
        """Note the bytes of a head whose request was received as a whole, and alone."""
        size = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        end, key = end_of_known(data)
        # A chunked body is not what follows the head.
        if head.keep_alive and data[size:] == body and bool(key) == (head.key is not None):
            if len(self._known) >= MAX_KNOWN_HEADS:
                self._known.clear()
            self._known[data[:end]] = head, len(body)

    def _went_on(self, *, is_written: bool) -> None:
        """Go on after a part of a reply was written, if it was."""
        if is_written and self._writer.unsent:
            return
        if not is_written or self._buffer.closes:
            self.has_ended = True
            return
        self._clock.begin_idling()
        if not self._requests and not self.is_to_leave:
            if not self._parser.part:
                self._buffer.clear()
            self._await_rest()

    def _await_rest(self) -> None:
        if self._parser.part and not self._requests and not self._writer.unsent:
            self._clock.await_rest()
            self._buffer.waits(self._clock.since)


class ClientClock:
    """The time limits of one connection: for the next request, and for the rest of a head and of a body.

    Args:
        settings: has the limits.
        parser: knows what is arriving.
    """

    def __init__(self, settings: Settings, parser: RequestParser) -> None:
        self._settings = settings
        self._parser = parser
        self._part = 0
        """Number of the part that is waited for."""
        self._part_since = 0.0
        self._idle_since = time.monotonic()

    def begin_idling(self) -> None:
        """Begin to wait for the next request: all earlier ones are answered."""
        self._idle_since = time.monotonic()
        self._part = 0  # until now the client was not waited for

    def await_rest(self) -> None:
        """Begin to wait for the rest of a head or body, unless that has begun; only the client may delay it."""
        if self._part != self._parser.part_count:
            self._part = self._parser.part_count
            self._part_since = time.monotonic()

    @property
    def since(self) -> float:
        """Since when the client is waited for, in seconds of the monotonic clock."""
        return self._part_since if self._parser.part else self._idle_since

    @property
    def limit(self) -> float:
        """Seconds that the client has."""
        if not self._parser.part:
            return float(self._settings.keep_alive)
        return float(self._settings.header_timeout if self._parser.part == HEAD else self._settings.body_timeout)


def client_of(connection: socket.socket) -> tuple[str, int] | None:
    """Return the address of a connection's client; None if it is not known."""
    try:
        address = connection.getpeername()
    except OSError:
        return None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
