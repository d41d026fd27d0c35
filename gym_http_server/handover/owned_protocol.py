"""The protocol of a connection in an environment's process: serves hot requests and gives the connection back for others."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

import httptools

from ..http1.arrival import MAX_HEAD_BYTES
from ..http1.protocol import PARSED_PIECE_BYTES, Beginning, HttpProtocol
from ..runtime.frames import pack_returned

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from ..api.asgi import Receive, Scope, Send
    from ..api.problems import Problem
    from ..runtime.served import Served
    from ..runtime.shared.receive_buffer import ReceiveBuffer

GIVE_BACK: Final = "gym_http_server.give_back"
"""ASGI extension of this protocol: a function that leaves the current request to the server."""


async def give_back(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 -- ASGI's signature
    """The app behind the hot path: gives the connection back."""
    scope["extensions"][GIVE_BACK]()


class OwnedProtocol(HttpProtocol):
    """Serves the requests of one connection in order, without waiting for anything.

    The receive buffer always has the unanswered bytes and whether the first request was begun, so that the server can continue
    if this process dies. The connection is given back with the first request that is not plain, valid and for this
    environment, that is too large for the buffer or expects `100 Continue`; and when the server asks for it.

    Args:
        connection: the connection's socket.
        inbox: the receive buffer.
        environment: the environment; a broken one serves no more requests.
        on_leave: called with a frame for the server when the connection is given back; afterwards it is not read or written
            here.
        is_called: returns whether the server has sent something on the channel.
        on_end: called when the protocol is done; its argument is whether the connection has ended.
        **options: options of the base class.
    """

    # More than the server's limit, because the server does not count the first piece when it parses the bytes again.
    max_head_bytes = MAX_HEAD_BYTES + PARSED_PIECE_BYTES

    def __init__(
        self,
        *,
        connection: socket.socket,
        inbox: ReceiveBuffer,
        environment: Served,
        on_leave: Callable[[bytes], None],
        is_called: Callable[[], bool],
        on_end: Callable[[bool], None],
        **options: Any,
    ) -> None:
        super().__init__(beginning=Beginning(data=inbox.data), **options)
        self._connection = connection
        self._inbox = inbox
        self._environment = environment
        self._on_leave = on_leave
        self._hears_call = is_called
        self._is_called = False
        self._on_end = on_end
        self._todo: RequestResponseCycle | None = None
        self._is_to_leave = False
        self._has_left = False
        self._owes_reply = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin with the bytes that are in the receive buffer."""
        transport.set_write_buffer_limits(0)
        self._direct = DirectTransport(transport, self._connection, self._inbox)
        super().connection_made(self._direct)  # type: ignore[arg-type]  # it has the methods that uvicorn calls
        self._extensions[GIVE_BACK] = self._give_back

    def connection_lost(self, exc: Exception | None) -> None:
        """Shut the connection down, unless it is given back."""
        super().connection_lost(exc)
        if not self._has_left:
            # The server has a duplicate, so closing would not end the connection.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._on_end(not self._has_left)

    def data_received(self, data: bytes) -> None:
        """Store received bytes in the receive buffer, then serve them."""
        self._inbox.put(data)
        if self._beginning is not None:
            # Together: otherwise these bytes would count as answered with the earlier ones.
            self._beginning = Beginning(data=self._inbox.data)
            self._begin()
        else:
            self._parse(data)

    def leave(self) -> None:
        """Give the connection back; never called while a request is in execution."""
        self._is_called = True
        if not self.transport.is_closing():
            self._go_on()
        elif self._direct.get_write_buffer_size() and not self._has_left:
            self._leave()

    def resume_writing(self) -> None:
        """Continue after the client has read a reply."""
        super().resume_writing()
        if self._owes_reply:
            self._owes_reply = False
            self._inbox.mark_answered()
        if not self.transport.is_closing():
            self._joining.resume_reading()
            self._arrival.restart()
            self._go_on()

    def pause_writing(self) -> None:
        """Stop reading until the client has read its reply."""
        super().pause_writing()
        self._joining.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body and continue reading: the receive buffer limits its size."""
        super().on_body(body)
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Mark a request as answered."""
        self._todo = None
        super().on_response_complete()  # may start the next request
        if self.flow.write_paused:
            self._owes_reply = True
        elif not self._direct.has_failed:
            self._inbox.mark_answered()

    def _parse(self, data: bytes) -> None:
        if self._has_left or self.transport.is_closing():
            return
        arrival = self._arrival
        arrival.count(len(data))
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # The server answers it; earlier requests are served here first.
            self._is_to_leave = True
            self._joining.pause_reading()
        self._go_on()
        if arrival.part and not self._has_left:
            arrival.await_rest()
            if arrival.since is not None:
                self._inbox.waits(arrival.since)

    def _refuse_arriving(self, problem: Problem) -> None:  # noqa: ARG002 -- the signature of the base class
        """Give back a request that arrives too slowly or is too long; the server answers it."""
        self._leave()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:  # noqa: ARG002 -- uvicorn's signature
        self._under_way = self._todo = cycle

    def _go_on(self) -> None:
        """Serve complete requests, or give the connection back if necessary."""
        while not (self._has_left or self.transport.is_closing()):
            cycle = self._todo
            if self._is_called or self._environment.is_broken:
                self._leave()
            elif self.flow.write_paused:
                if self._is_to_leave:
                    self._leave()
                return
            elif self._inbox.is_full:
                # The request may have a body that the hot path parses in a thread, which would mean waiting.
                self._leave()
            elif cycle is not None and not cycle.more_body and not cycle.waiting_for_100_continue:
                self._serve(cycle)
                # Calls of the server have precedence over the next request of a pipeline.
                self._is_called |= self._todo is not None and self._hears_call()
            elif self._is_to_leave or (cycle is not None and cycle.waiting_for_100_continue):
                self._leave()
            else:
                if self.is_between:
                    self._inbox.clear()
                return

    def _serve(self, cycle: RequestResponseCycle) -> None:
        self._inbox.executes(closes=not cycle.keep_alive)
        running = cycle.run_asgi(self.app)
        try:
            # Without a task: nothing is awaited beside the environment.
            running.send(None)
        except StopIteration:
            return
        running.close()
        self.transport.abort()
        raise RuntimeError("the hot path waits for something beside the environment")

    def _give_back(self) -> None:
        if self._under_way is not None:
            self._under_way.disconnected = True  # uvicorn expects no response then
        self._inbox.mark_given_up()
        self._leave()

    def _leave(self) -> None:
        self._has_left = True
        since = self._arrival.since if self._arrival.part else self._idle_since
        self._inbox.waits(since or 0.0)
        closes = self.transport.is_closing()
        self._on_leave(pack_returned(self._direct.unsent(), closes=closes, ends_reply=self._owes_reply))
        self.transport.abort()


class DirectTransport:
    """A transport that writes directly to the socket, after it has noted the reply in the receive buffer.

    Args:
        transport: writes what the socket does not take at once, and reads.
        connection: the socket of the transport.
        inbox: the receive buffer.

    Attributes:
        has_failed: whether a reply could not be begun because the connection is broken.
    """

    def __init__(self, transport: asyncio.Transport, connection: socket.socket, inbox: ReceiveBuffer) -> None:
        self._transport = transport
        self._connection = connection
        self._inbox = inbox
        self._written: list[bytes] = []
        self._sent = 0
        self.has_failed = False
        self.abort = transport.abort
        self.close = transport.close
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self.writelines((data,))

    def writelines(self, parts: Sequence[bytes]) -> None:
        """Write several pieces."""
        if self.get_write_buffer_size():
            self._written += parts
            self._transport.writelines(parts)
            return
        size = sum(map(len, parts))
        self._inbox.replies(self._sent, self._sent + size)
        try:
            sent = self._connection.send(parts[0]) if len(parts) == 1 else self._connection.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.has_failed = True
            self._inbox.mark_not_begun()
            self._transport.abort()
            return
        self._sent += size
        if sent < size:
            rest = b"".join(parts)[sent:]
            self._written = [rest]
            self._transport.write(rest)

    def unsent(self) -> bytes:
        """Return the bytes that the socket has not taken yet."""
        size = self.get_write_buffer_size()
        return b"".join(self._written)[-size:] if size else b""
