"""The server's side of a WebSocket that may be served in an environment's process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from ..api.asgi import Stay
from ..http1.websocket import WebSocket
from ..http1.websocket_frames import after_frames, unfinished
from .lent_connections import Returned, shut_down

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from websockets.server import ServerProtocol as FrameProtocol

    from ..instances.instance import Instance
    from .policy import Habit

MAX_UNFINISHED_BYTES: Final = 1 << 16
"""Maximum size of a frame that arrives in parts; a connection with a larger one stays here."""

MAX_DROPPED_READS: Final = 64
"""Maximum number of reads of bytes that nobody serves any more."""


class LendableWebSocket(WebSocket):
    """A WebSocket that an environment's process may serve for a while.

    Args:
        find: returns a live instance by its id.
        habit: the recent use of the connection.
        come_back: told of the new transport, when the connection comes back.
        http: the protocol that had the connection before.
        transport: the connection.
        protocol: the frames.
        message_seconds: time that a message may take to arrive.
    """

    def __init__(
        self,
        find: Callable[[str], Instance | None],
        habit: Habit,
        come_back: Callable[[asyncio.Transport], None],
        http: HttpToolsProtocol,
        transport: asyncio.Transport,
        protocol: FrameProtocol,
        message_seconds: float,
    ) -> None:
        super().__init__(http, transport, protocol, message_seconds)
        self._find = find
        self._habit = habit
        self._come_back = come_back
        self._unfinished: bytes | None = b""
        """The beginning of a frame whose end has not arrived; None for one that was too long."""
        self._lent: LentWebSocket | None = None
        self._returned: Returned | None = None
        """What the connection comes back with, until the first bytes are read."""

    async def lend(self, instance_id: str, told: Callable[[], Mapping[str, Any]]) -> Stay | None:
        """Have the process of an instance serve the messages; see `asgi.MessageSocket`."""
        if not self._habit.is_ripe(instance_id.encode()) or not self._is_quiet:
            return None
        instance = self._find(instance_id)
        if instance is None:
            return None
        lent = LentWebSocket(instance, told())
        transport = self._transport
        try:
            connection = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:
            return None
        if not instance.hand_over(connection, b"", lent):
            os.close(connection)
            return None
        self._lent = lent
        self._heartbeat.stop()
        # Closes the server's own descriptor, not the connection.
        transport.set_protocol(asyncio.Protocol())
        transport.abort()
        try:
            returned = await lent.is_back
            if returned is None:
                self._lent = None
                self.connection_lost(None)
                return None
            self._habit.came_back(returned.served)
            await self._go_on(returned)
        except asyncio.CancelledError:
            self._http.connections.discard(self)  # whenever it comes back, it ends
            raise
        finally:
            lent.has_come.set()
        if returned.error is not None:
            raise returned.error
        return Stay(returned.note, returned.closes, returned.waits_since or self._http.loop.time())

    async def send(self, message: bytes) -> None:
        """Send a text, once the connection is here."""
        if self._lent is not None:
            self._lent.recall()
            await self._lent.has_come.wait()
        await super().send(message)

    async def probe(self, seconds: float) -> bool:
        """Ping the client, once the connection is here; see `asgi.MessageSocket`."""
        if self._lent is not None:
            self._lent.recall()
            await self._lent.has_come.wait()
        return await super().probe(seconds)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; one that is elsewhere ends when it comes back."""
        if self._lent is None:
            super().close(code, reason)
        else:
            self._lent.recall()

    def shutdown(self) -> None:
        """Close the connection because the server stops, once it is here; uvicorn calls this."""
        if self._lent is None:
            super().shutdown()
        else:
            self.is_ending = True
            self._lent.recall()

    def data_received(self, data: bytes) -> None:
        """Read received bytes, after those that an environment's process has left."""
        if self._returned is not None:
            self._begin_again()
        if self._unfinished is not None:
            self._unfinished = unfinished(self._unfinished + data)
            if len(self._unfinished) > MAX_UNFINISHED_BYTES:
                self._unfinished = None
        super().data_received(data)

    def eof_received(self) -> bool:
        """End a connection whose client sends no more."""
        self._begin_again()
        return super().eof_received()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection back."""
        self._transport = transport
        self._come_back(transport)
        # Later: a transport that does not read yet cannot be paused. `data_received` may come first.
        self._http.loop.call_soon(self._begin_again)

    @property
    def _is_quiet(self) -> bool:
        """Whether all that was received is answered, and all that was sent has left."""
        is_read = self._unfinished == b"" and not self._parts and not self._waiting
        is_open = not (self.is_closed or self.is_ending or self._transport.is_closing())
        return is_read and is_open and not self._protocol.extensions and not self._transport.get_write_buffer_size()

    async def _go_on(self, returned: Returned) -> None:
        connection = socket.socket(fileno=returned.connection)
        connection.setblocking(False)
        if returned.error is not None:
            drop_received(connection)
        self._returned = returned
        loop = self._http.loop
        try:
            await loop.connect_accepted_socket(lambda: self, connection)
        except OSError:
            connection.close()  # it is broken
            self.connection_lost(None)
        finally:
            self._lent = None
        if self.is_ending and not self.is_closed:
            super().shutdown()

    def _begin_again(self) -> None:
        returned, self._returned = self._returned, None
        if returned is None or self._transport.is_closing():
            return
        if returned.rest:
            self._transport.write(returned.rest)
        # Of a session that has ended nothing is served.
        data = b"" if returned.error else after_frames(returned.data, returned.answered)
        if data:
            self.data_received(data)
        since = returned.waits_since
        self._heartbeat.go_on(since or self._http.loop.time(), is_partial=bool(self._unfinished or self._parts))


def drop_received(connection: socket.socket) -> None:
    """Drop what waits on a connection whose session has ended: nothing of it is served, and its pings are answered."""
    with contextlib.suppress(OSError):
        for _ in range(MAX_DROPPED_READS):
            if not connection.recv(MAX_UNFINISHED_BYTES):
                return


class LentWebSocket:
    """A WebSocket that the process of an instance has.

    Args:
        instance: the instance.
        session: what its process has to know of the session.

    Attributes:
        session: as given.
        is_back: what the connection comes back with; None if it has ended.
        has_come: set once the connection is the server's again.
    """

    def __init__(self, instance: Instance, session: Mapping[str, Any]) -> None:
        self._instance = instance
        self.session = session
        self.is_back: asyncio.Future[Returned | None] = asyncio.get_running_loop().create_future()
        self.has_come = asyncio.Event()

    def recall(self) -> None:
        """Ask for the connection."""
        self._instance.recall()

    def is_served_there(self, data: bytes) -> bool:  # noqa: ARG002 -- the process itself gives back what it does not serve
        """Return True: what the process does not serve waits for a call that needs the environment anyway."""
        return True

    def back(self, returned: Returned | None) -> None:
        """Take the connection back; it ends if nobody waits for it, because the server stops."""
        if not self.is_back.done():
            self.is_back.set_result(returned)
        elif returned is not None:
            with contextlib.suppress(OSError):
                shut_down(returned.connection)
            os.close(returned.connection)
