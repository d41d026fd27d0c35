"""A WebSocket (RFC 6455), after HTTP/1.1 has upgraded its connection: messages, limits, pings and the close."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any, Final

from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from ..api.asgi import BinaryMessageError
from ..api.problems import HttpProblem
from .heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from ..api.asgi import Stay

MIN_COMPRESSED_BYTES: Final = 1024
"""Minimum size of a message that is compressed."""

MAX_WAITING_MESSAGES: Final = 16
"""Maximum number of received messages that wait for the app, before no more are read."""

CLOSE_SECONDS: Final = 5.0
"""Time for the client's part of the close, before the connection is cut."""

WINDOW_BITS: Final = 12
"""Size of the windows of compression, which a connection keeps: 4 kB."""


class Handshake:
    """The answer to a request for a WebSocket.

    Args:
        path: path and query.
        headers: the headers of the request.
        max_bytes: maximum size of a message, decompressed.
        compresses: whether messages may be compressed.

    Raises:
        HttpProblem: 426 for another version, 400 for a malformed request.
    """

    def __init__(self, path: str, headers: Iterable[tuple[bytes, bytes]], max_bytes: int, *, compresses: bool) -> None:
        given = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        if given.get_all("Sec-WebSocket-Version") not in ([], ["13"]):
            detail = "a WebSocket of another version than 13 is not served: send 'Sec-WebSocket-Version: 13'"
            raise HttpProblem(426, "upgrade-required", detail, headers=UPGRADE_HEADERS)
        factory = ServerPerMessageDeflateFactory(
            server_max_window_bits=WINDOW_BITS, client_max_window_bits=WINDOW_BITS, compress_settings={"memLevel": 5}
        )
        negotiation = ServerProtocol(extensions=[factory] if compresses else None)
        response = negotiation.accept(Request(path, given))
        if response.status_code != 101:
            detail = f"this is not the handshake of a WebSocket: {negotiation.handshake_exc}"
            raise HttpProblem(400, "malformed-request", detail)
        self.headers = [(name.lower(), value) for name, value in response.headers.raw_items() if name.lower() != "date"]
        self.protocol = ServerProtocol(state=OPEN, max_size=max_bytes)
        self.protocol.extensions = negotiation.extensions


UPGRADE_HEADERS: Final = {"upgrade": "websocket", "sec-websocket-version": "13"}
"""Headers of a reply with status 426 (RFC 9110, 7.8; RFC 6455, 4.4)."""


class WebSocket(asyncio.Protocol):
    """One WebSocket.

    Args:
        http: the protocol that had the connection before.
        transport: the connection.
        protocol: the frames, as `Handshake` makes it.
        message_seconds: time that a message may take to arrive.

    Attributes:
        received_bytes: size of all messages received.
        sent_bytes: size of all messages sent.
        is_serving: whether the app is serving a message; set by the app. A stop waits for the end of it.
        is_ending: whether the server stops.
    """

    def __init__(
        self, http: HttpToolsProtocol, transport: asyncio.Transport, protocol: ServerProtocol, message_seconds: float
    ) -> None:
        self._http = http
        self._protocol = protocol
        self._transport = transport
        # Messages
        self._waiting: collections.deque[bytes | None] = collections.deque()
        self._parts: list[bytes] = []
        self._wake: asyncio.Future[None] | None = None
        self.received_bytes = self.sent_bytes = 0
        # Its end
        self.is_serving = self.is_ending = False
        self._heartbeat = Heartbeat(http.loop, message_seconds, self._ping, self._cut, self._refuse_slow)

    def begin(self, data: bytes) -> None:
        """Take the connection over, with bytes that were received behind the handshake."""
        http = self._http
        http.connections.discard(http)
        http.connections.add(self)  # type: ignore[arg-type]  # uvicorn only calls `shutdown`
        self._transport.set_protocol(self)
        self._heartbeat.start()
        if data:
            self.data_received(data)

    # What the app calls

    async def receive(self) -> bytes | None:
        """Return the next message, a text in UTF-8; None if there is none any more.

        Raises:
            BinaryMessageError: the next message is binary.
        """
        while not self._waiting and not self.is_closed:
            self._wake = self._http.loop.create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        if self.is_closed:
            return None  # nobody reads the reply to a message that still waits
        message = self._waiting.popleft()
        if len(self._waiting) == MAX_WAITING_MESSAGES - 1 and not self._transport.is_closing():
            self._transport.resume_reading()
        if message is None:
            raise BinaryMessageError
        return message

    async def send(self, message: bytes) -> None:
        """Send a text in UTF-8, and wait while the client reads too slowly."""
        if self.is_closed:
            return
        self.sent_bytes += len(message)
        if self._protocol.extensions and len(message) >= MIN_COMPRESSED_BYTES:
            self._protocol.send_text(message)
            self._flush()
        else:
            self._transport.write(Frame(Opcode.TEXT, message).serialize(mask=False))
        if self._http.flow.write_paused:
            await self._http.flow.drain()

    async def lend(self, instance_id: str, told: Callable[[], Mapping[str, Any]]) -> Stay | None:  # noqa: ARG002 -- for the subclass
        """Keep the connection here; see `asgi.MessageSocket`."""
        return None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; idempotent."""
        if not self.is_closed:
            self._protocol.send_close(code, reason)
            self._flush()

    async def probe(self, seconds: float) -> bool:
        """Ping the client, and cut the connection if nothing is heard within `seconds`; return whether it goes on."""
        # The pongs of a client whose messages fill the queue are not read.
        if (
            not self.is_closed
            and len(self._waiting) < MAX_WAITING_MESSAGES
            and not await self._heartbeat.is_answered(seconds)
        ):
            self._transport.abort()
            return False
        return not self.is_closed

    def leave(self, last: bytes) -> None:
        """End the connection without a close, behind these bytes."""
        self._transport.write(last)
        self._transport.close()

    @property
    def is_closed(self) -> bool:
        """Whether a close was sent or received, or the connection is lost."""
        return self._protocol.state is not OPEN

    @property
    def is_clean(self) -> bool:
        """Whether the client, or the server, has closed the connection on purpose."""
        return self._protocol.close_rcvd is not None or self._protocol.close_sent is not None

    @property
    def unread(self) -> list[bytes]:
        """Texts that came before the end of the connection and were not received; nobody would read their replies."""
        return [message for message in self._waiting if message is not None]

    # What the connection calls

    def data_received(self, data: bytes) -> None:
        """Read received bytes."""
        self._heartbeat.is_heard = True
        self._protocol.receive_data(data)
        frames = self._protocol.events_received()
        for frame in frames:
            # Control frames are answered, and refused where they are malformed, by the library.
            if isinstance(frame, Frame) and frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._add(frame)
        if self._protocol.writes:
            self._flush()
        self._heartbeat.note(is_partial=bool(self._parts) or not frames)
        if self._wake is not None and not self._wake.done() and (self._waiting or self.is_closed):
            self._wake.set_result(None)

    def _add(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        message, self._parts = b"".join(self._parts), []
        self.received_bytes += len(message)
        if self._is_text:
            try:
                str(message, "utf-8")
            except UnicodeDecodeError as error:
                self._protocol.fail(CloseCode.INVALID_DATA, f"the text is not UTF-8 at byte {error.start}")
                return
        self._waiting.append(message if self._is_text else None)
        if len(self._waiting) == MAX_WAITING_MESSAGES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """End a connection whose client sends no more."""
        self._protocol.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the app that the connection is lost."""
        self._heartbeat.stop()
        self._protocol.receive_eof()
        self._http.connections.discard(self)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """Make senders wait."""
        self._http.flow.pause_writing()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._http.flow.resume_writing()

    def shutdown(self) -> None:
        """Close the connection because the server stops, after the message that is being served; uvicorn calls this."""
        self.is_ending = True
        if not self.is_serving:
            self.close(CloseCode.GOING_AWAY, "the server stops")

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                # Not closed: what the client still sends would make its system drop the close frame.
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._protocol.close_expected():
            self._heartbeat.stop()
            self._http.loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def _ping(self) -> None:
        self._protocol.send_ping(b"")
        self._flush()

    def _cut(self) -> None:
        if len(self._waiting) < MAX_WAITING_MESSAGES:
            self._transport.abort()
        else:
            # Its pongs are not read while so many of its messages wait.
            self._heartbeat.is_heard = True
            self._heartbeat.start()

    def _refuse_slow(self, seconds: float) -> None:
        self._protocol.fail(
            CloseCode.POLICY_VIOLATION, f"the message did not arrive within {seconds:g} s (--body-timeout)"
        )
        self._flush()
