"""The protocol of a connection in an environment's process: what is plain and valid is served, the rest given back."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

import httptools

from ..http1.protocol import MAX_HEAD_BYTES, PARSED_PIECE_BYTES, Beginning, HttpProtocol
from ..runtime.frames import pack_returned

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from ..api.normalizer import Receive, Scope, Send
    from ..runtime.operations import Served
    from ..runtime.shared.receive_buffer import Inbox

GIVE_BACK: Final = "gym_http_server.give_back"
"""An ASGI extension of this protocol: a function that has the request under way served by the server instead."""


async def give_back(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 -- ASGI's signature
    """Be what the hot path falls through to."""
    scope["extensions"][GIVE_BACK]()


class OwnedProtocol(HttpProtocol):
    """Serves the requests of one connection one after the other, each at once and as far as it can be without waiting.

    At any moment the inbox tells what is not answered and whether the first of it was begun, so that the server can go on
    where this process stops. A connection leaves here with the first request that is not plain, valid and for this
    environment, that is too large for the inbox or asks for a `100 Continue`; and when the server asks for it.

    Args:
        connection: the connection's socket.
        inbox: where what is not answered is kept.
        environment: what the requests are for; a broken one serves no more.
        on_leave: told when the connection is given back, as a frame for the server. Nothing is read from it or written to
            it here from then on.
        is_called: tells whether the server has a word to say.
        on_end: told when the protocol is done with it, and whether it has ended.
        **options: those of the base class.
    """

    # The server, which refuses what is too long, may take one piece of it for its first.
    max_head_bytes = MAX_HEAD_BYTES + PARSED_PIECE_BYTES

    def __init__(
        self,
        *,
        connection: socket.socket,
        inbox: Inbox,
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
        """Begin with what has come on the connection before."""
        transport.set_write_buffer_limits(0)
        self._direct = DirectTransport(transport, self._connection, self._inbox)
        super().connection_made(self._direct)  # type: ignore[arg-type]  # it has the methods that are called
        self._extensions[GIVE_BACK] = self._give_back

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection for good, but for one that is given back."""
        super().connection_lost(exc)
        if not self._has_left:
            # The server has a duplicate, for whose sake closing this one would end nothing.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._on_end(not self._has_left)

    def data_received(self, data: bytes) -> None:
        """Keep what came, and serve it."""
        self._inbox.put(data)
        if self._beginning is not None:
            # In one go, or what has come since would be taken for answered with it.
            self._beginning = Beginning(data=self._inbox.data)
            self._begin()
        else:
            self._parse(data)

    def leave(self) -> None:
        """Give the connection back: no request is in the environment where this can be called."""
        self._is_called = True
        if not self.transport.is_closing():
            self._go_on()
        elif self._direct.get_write_buffer_size() and not self._has_left:
            self._leave()

    def resume_writing(self) -> None:
        """Go on after a reply that the client was slow to take."""
        super().resume_writing()
        if self._owes_reply:
            self._owes_reply = False
            self._inbox.is_answered()
        if not self.transport.is_closing():
            self._joining.resume_reading()
            if self._arriving:
                self._arriving_since = self.loop.time()
            self._go_on()

    def pause_writing(self) -> None:
        """Read no more before the client has taken its reply."""
        super().pause_writing()
        self._joining.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, and go on reading: it is served when it is whole, and the inbox limits it."""
        super().on_body(body)
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Note that a request is answered."""
        self._todo = None
        super().on_response_complete()  # which may name the next
        if self.flow.write_paused:
            self._owes_reply = True
        elif not self._direct.has_failed:
            self._inbox.is_answered()

    def _parse(self, data: bytes) -> None:
        if self._has_left or self.transport.is_closing():
            return
        self._expect_head(len(data))
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # The server knows what to do about it. Before it, there may be requests to serve.
            self._is_to_leave = True
            self._joining.pause_reading()
        self._go_on()
        if self._arriving and not self._has_left:
            self._await_rest()

    def _await_rest(self) -> None:
        super()._await_rest()
        if self._arriving_since is not None:
            self._inbox.waits(self._arriving_since)

    def on_late_request(self) -> None:
        """Give a request back that takes too long to arrive; the server knows what to do about it."""
        self._leave()

    def on_long_request(self) -> None:
        """Give a request back whose head, or what is of no use in its body, is too long; likewise."""
        self._leave()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:  # noqa: ARG002 -- uvicorn's signature
        self._under_way = self._todo = cycle

    def _go_on(self) -> None:
        """Serve what is whole, or leave where that is due."""
        while not (self._has_left or self.transport.is_closing()):
            cycle = self._todo
            if self._is_called or self._environment.is_broken:
                self._leave()
            elif self.flow.write_paused:
                if self._is_to_leave:
                    self._leave()
                return
            elif self._inbox.is_full:
                # Among the rest may be a body that the hot path reads in a thread, for which it would wait.
                self._leave()
            elif cycle is not None and not cycle.more_body and not cycle.waiting_for_100_continue:
                self._serve(cycle)
                # The next of a pipeline is no reason for others to wait.
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
            # Without a task of its own: beside the environment there is nothing to wait for.
            running.send(None)
        except StopIteration:
            return
        running.close()
        self.transport.abort()
        raise RuntimeError("the hot path waits for something beside the environment")

    def _give_back(self) -> None:
        if self._under_way is not None:
            self._under_way.disconnected = True  # uvicorn expects no response then
        self._inbox.is_given_up()
        self._leave()

    def _leave(self) -> None:
        self._has_left = True
        since = self._arriving_since if self._arriving else self._idle_since
        self._inbox.waits(since or 0.0)
        closes = self.transport.is_closing()
        self._on_leave(pack_returned(self._direct.unsent(), closes=closes, ends_reply=self._owes_reply))
        self.transport.abort()


class DirectTransport:
    """A transport that writes at once, as far as the system takes it, and tells the inbox before it does.

    Args:
        transport: what writes the rest, and reads.
        connection: the socket behind it.
        inbox: told that a reply begins.

    Attributes:
        has_failed: a reply could not be begun; the connection, or this process's hold of it, is broken.
    """

    def __init__(self, transport: asyncio.Transport, connection: socket.socket, inbox: Inbox) -> None:
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
            self._inbox.is_not_begun()
            self._transport.abort()
            return
        self._sent += size
        if sent < size:
            rest = b"".join(parts)[sent:]
            self._written = [rest]
            self._transport.write(rest)

    def unsent(self) -> bytes:
        """Return what the system has not taken yet."""
        size = self.get_write_buffer_size()
        return b"".join(self._written)[-size:] if size else b""
