"""One client's WebSocket in an environment's process."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Final

from ..http1.websocket_frames import PING, PONG, TEXT, OtherFrameError, PlainFrame, frame_head, read_frame
from .connection_frames import ReturnedFrame
from .receive_buffer import READ_SIZE, WAITING
from .reply_writer import ReplyWriter

if TYPE_CHECKING:
    import socket

    from ..agents.openenv.sockets.hosted import HostedSession
    from ..config import Settings
    from ..runtime.served.base import Served
    from ..runtime.shared.traffic import Traffic
    from .receive_buffer import ReceiveBuffer

QUIET_SECONDS: Final = 1.0
"""Silence of a client after which its connection goes back to the server, which pings it and ends idle sessions; that of
`players.SILENT_SECONDS`, from which on the server may have to know whose it is."""


class HostedWebSocket:
    """Serves plain messages of one WebSocket in order, without waiting for anything.

    It has the attributes and methods of a `HostedConnection`. It ends no connection: whatever is not plain, and the end, too, is
    the server's, which has the same bytes.

    Args:
        slot: the number of its receive buffer.
        connection: its socket.
        buffer: its receive buffer.
        session: answers its messages.
        settings: has the limits.

    Attributes:
        socket: its socket.
        slot: the number of its receive buffer.
        has_ended: never.
        is_to_leave: whether the server has to serve what follows the frames that wait.
        is_late: whether it leaves although the client has not taken a reply.
    """

    has_ended = False

    def __init__(
        self,
        slot: int,
        connection: socket.socket,
        buffer: ReceiveBuffer,
        session: HostedSession,
        settings: Settings,
    ) -> None:
        self.socket = connection
        self.slot = slot
        self.is_to_leave = self.is_late = False
        # Frames
        self._buffer = buffer
        self._frames: collections.deque[PlainFrame] = collections.deque()
        self._rest = b""
        """The beginning of a frame whose end has not arrived."""
        self._max_bytes = min(settings.max_body, READ_SIZE)
        self._quiet_seconds = min(QUIET_SECONDS, settings.body_timeout)
        self._since = time.monotonic()
        """Since when the client is waited for."""
        # Answers
        self._session = session
        self._writer = ReplyWriter(connection, buffer)

        connection.setblocking(False)
        buffer.adopt()

    @property
    def has_request(self) -> bool:
        """Whether a whole frame waits."""
        return bool(self._frames)

    @property
    def is_writing(self) -> bool:
        """Whether the client has to take a reply first."""
        return bool(self._writer.unsent)

    def receive(self) -> None:
        """Receive once and read frames; only while no frame waits."""
        try:
            data = self._buffer.receive(self.socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.is_to_leave = True  # the server finds the same end
            return
        data = self._rest + data
        start = 0
        try:
            while (frame := read_frame(data, start, self._max_bytes)) is not None:
                self._frames.append(frame)
                start = frame.end
        except OtherFrameError:
            self.is_to_leave = True
        if rest := data[start:]:
            if not self._rest:
                self._since = time.monotonic()
            if not self._frames:
                self._buffer.waits(self._since)
        self._rest = rest
        self.is_to_leave = self.is_to_leave or self._buffer.is_full

    def serve(self, environment: Served, traffic: Traffic) -> None:  # noqa: ARG002 -- as that of HTTP; the session counts
        """Serve the first frame, or leave it to the server."""
        frame = self._frames.popleft()
        buffer = self._buffer
        if frame.kind == TEXT:
            buffer.executes(closes=False)
            answer = self._session.answer(frame.payload)
            if answer is None:
                buffer.go_back(WAITING)
                self.is_to_leave = True
                self._frames.clear()
                return
            environment.usage.count_message()
            if answer:
                self._write(TEXT, answer)
            else:
                buffer.mark_answered()
            if self._session.is_over:
                self.is_to_leave = True
                self._frames.clear()
        elif frame.kind == PING and buffer.served >= buffer.pongs.count:
            self._write(PONG, frame.payload)
        else:
            buffer.mark_answered()
            self._go_on()

    def send_rest(self) -> None:
        """Send more of a reply."""
        self._went_on(is_written=self._writer.write_rest())

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the connection goes back, by the monotonic clock; None for no limit."""
        if self._frames and not self.is_writing:
            return None
        return self._since + self._quiet_seconds - now

    def end_late(self) -> None:
        """Leave a quiet connection, or one whose client does not take its reply, to the server."""
        self.is_to_leave = self.is_late = True

    def leave(self) -> ReturnedFrame:
        """Give the connection back; return the frame for the server."""
        self._buffer.waits(self._since)
        rest, note = bytes(self._writer.unsent), self._session.note()
        self.socket.close()
        return ReturnedFrame(self.slot, rest, self._session.is_over, ends_reply=bool(rest), note=note)

    def end(self) -> None:
        """Do nothing: it never ends a connection."""

    def _write(self, kind: int, payload: bytes) -> None:
        self._went_on(is_written=self._writer.write(frame_head(kind, len(payload)), payload))

    def _went_on(self, *, is_written: bool) -> None:
        """Go on after a part of a reply was written, if it was."""
        if is_written and self._writer.unsent:
            self._since = time.monotonic()
            return
        if not is_written:
            # It is executed, and nobody gets the answer.
            self._writer.unsent = memoryview(b"")
            self._buffer.mark_answered()
            self.is_to_leave = True
            self._frames.clear()
            return
        self._go_on()

    def _go_on(self) -> None:
        self._since = time.monotonic()
        if self._frames or self.is_to_leave:
            return
        if self._rest:
            self._buffer.waits(self._since)
        else:
            self._buffer.clear()
