"""The server's side of clients' connections that an environment's process serves: duplicates, and their return.

If the process dies, the server continues on the duplicates with the unanswered requests of the receive buffers. A duplicate
keeps the stream open, so a process that ends a connection calls `shutdown`. While the process executes a call for somebody else,
the server watches for requests that it has to serve itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from ..engines.process.connections import Connections
from ..http1.websocket_frames import PING, PONG, after_frames, frame_head, read_frames
from .connection_frames import RETURNED, ReturnedFrame, max_body_bytes, pack_adopt, pack_recall
from .receive_buffer import EXECUTING, MAX_CONNECTIONS, REPLYING, WAITING, ReceiveBuffer, receive_buffers
from .request_parser import unanswered

if TYPE_CHECKING:
    from ..engines.base import Lender
    from ..engines.process.connections import Send
    from ..errors import GymHttpServerError
    from ..runtime.shared.memory import Memory

_TCP_INFO_SIZE: Final = 216
_RECALL_FRAME: Final = pack_recall()
_RECALL_FRAMES: Final = [pack_recall(slot) for slot in range(MAX_CONNECTIONS)]
_ADOPT_FRAMES: Final = [pack_adopt(slot) for slot in range(MAX_CONNECTIONS)]

MIN_WATCH_SECONDS: Final = 0.02
MAX_WATCH_SECONDS: Final = 0.64
"""Time between two looks at a process that may execute a call for somebody else; doubled while it is idle."""

MIN_SLOW_SECONDS: Final = 0.5
"""Time after which a call is slow: the server answers pings meanwhile."""

SLOW_WATCH_SECONDS: Final = 0.25
WEBSOCKET_WATCH_SECONDS: Final = 1.0
"""Time between two looks at a process that has a WebSocket, during a slow call and otherwise."""

MAX_LOOK_BYTES: Final = 4096
"""Maximum bytes of a waiting request that are looked at."""


class Returned(NamedTuple):
    """A client's connection that comes back from an environment's process.

    Attributes:
        connection: its descriptor, for the receiver to close.
        rest: bytes to write to it, the end of a reply.
        closes: whether to close it afterwards.
        data: received bytes, the last answered requests included.
        answered: number of answered requests at the beginning of `data`.
        served: number of requests that the process answered.
        error: answer to the first unanswered request if the process died during it.
        waits_since: since when the server waits for the client, in seconds of the monotonic clock; 0 if unknown.
        note: what the process tells of the session of a WebSocket.
    """

    connection: int
    rest: bytes
    closes: bool
    data: bytes
    answered: int
    served: int
    error: GymHttpServerError | None
    waits_since: float = 0.0
    note: bytes = b""


class LentConnection:
    """One connection that the process has.

    Args:
        connection: the server's duplicate of its descriptor.
        buffer: its receive buffer.
        lender: gets the connection back.
    """

    def __init__(self, connection: int, buffer: ReceiveBuffer, lender: Lender) -> None:
        self._connection = connection
        self.buffer = buffer
        self._lender = lender
        self._sent_before = bytes_sent(connection)
        self.is_websocket = lender.session is not None

    @property
    def is_unread(self) -> bool:
        """Whether a request of the client waits in the connection or in the receive buffer."""
        if self.buffer.phase == REPLYING:
            return False
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return self.buffer.has_waiting or bool(poll.poll(0))

    @property
    def is_for_server(self) -> bool:
        """Whether a request waits in the connection that the process does not serve."""
        if self.is_websocket or self.buffer.phase != WAITING:
            return False
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection)) as connection:
            if data := connection.recv(MAX_LOOK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return not self._lender.is_served_there(unanswered(self.buffer.data, self.buffer.answered) + data)
        return False

    def give_back(
        self,
        rest: bytes = b"",
        *,
        closes: bool = False,
        ends_reply: bool = False,
        error: GymHttpServerError | None = None,
        note: bytes = b"",
    ) -> None:
        """Return the connection to the server.

        With `ends_reply`, `rest` answers a request that the receive buffer does not count yet.
        """
        buffer = self.buffer
        answered = buffer.answered + ends_reply
        self._lender.back(
            Returned(
                self._connection, rest, closes, buffer.data, answered, buffer.served, error, buffer.waits_since, note
            )
        )

    def answer_pings(self) -> None:
        """Answer the pings that wait on a WebSocket while the process executes something, and writes nothing."""
        buffer, pongs = self.buffer, self.buffer.pongs
        served = buffer.served
        received = after_frames(buffer.data, buffer.answered)
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection)) as connection:
            with contextlib.suppress(BlockingIOError):
                received += connection.recv(MAX_LOOK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if buffer.served != served:
                return  # the process goes on
            for number, frame in enumerate(read_frames(received), served + 1):
                if frame.kind != PING or number <= pongs.count:
                    continue
                with pongs.writing():
                    if buffer.phase == REPLYING:
                        return
                    pong = frame_head(PONG, len(frame.payload)) + frame.payload
                    self._count_sent(connection.send(pong, socket.MSG_DONTWAIT), len(pong))
                    pongs.count = number

    def _count_sent(self, sent: int, size: int) -> None:
        if sent != size:
            shut_down(self._connection)  # half a frame would be the beginning of the next one
        elif self._sent_before is not None:
            self._sent_before += sent

    def end(self) -> None:
        """Drop a connection that has ended, and shut it down: the process may keep a duplicate."""
        with contextlib.suppress(OSError):
            shut_down(self._connection)
        os.close(self._connection)
        self._lender.back(None)

    def inherit(self, error: GymHttpServerError, *, is_unread: bool) -> None:
        """Continue after the end of the process; see `Connections.inherit`."""
        phase = self.buffer.phase
        if phase == REPLYING:
            sent, (begin, end) = self._sent(), self.buffer.reply
            if sent is not None and sent == end > begin:
                self.give_back(closes=self.buffer.closes, ends_reply=True)
                return
            if sent is None or sent != begin:
                # Half a reply was sent.
                self.end()
                return
        is_lost = phase != WAITING or (is_unread and self.is_unread)
        self.give_back(error=error if is_lost else None)

    def _sent(self) -> int | None:
        """Return the number of bytes that the process has written to the connection; None if it is unknown."""
        now = bytes_sent(self._connection)
        return None if now is None or self._sent_before is None else now - self._sent_before


class LentConnections(Connections):
    """The connections of one process, each with a receive buffer, whose number is the slot of the connection."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._lent: dict[int, LentConnection] = {}
        self._taken: set[int] = set()
        """Slots of connections that the server took; the process has not given them back yet."""
        self._all_back: asyncio.Future[None] | None = None
        self._unread: tuple[int, float] | None = None
        """Number of answered requests and the moment when a request was first seen unread."""
        # The watch for requests that the server serves
        self._send: Send | None = None
        self._is_called = False
        self._watch: asyncio.TimerHandle | None = None
        self._pause = MIN_WATCH_SECONDS
        # The watch for pings
        self._ping_watch: asyncio.TimerHandle | None = None

    @functools.cached_property
    def _buffers(self) -> list[ReceiveBuffer]:
        return receive_buffers(self._memory)

    @property
    def is_held(self) -> bool:
        """Whether the process has a connection."""
        return bool(self._lent)

    @property
    def is_executing(self) -> bool:
        """Whether the process executes a request of a connection."""
        return any(lent.buffer.phase == EXECUTING for lent in self._lent.values())

    def hand_over(self, send: Send, connection: int, data: bytes, lender: Lender) -> bool:
        """Send a connection to the process, unless it has the maximum number of them."""
        slots = (slot for slot in range(MAX_CONNECTIONS) if slot not in self._lent and slot not in self._taken)
        slot = next(slots, None)
        if slot is None:
            return False
        buffer = self._buffers[slot]
        buffer.start(data)
        lent = LentConnection(connection, buffer, lender)
        frame = pack_adopt(slot, lender.session) if lent.is_websocket else _ADOPT_FRAMES[slot]
        if not send(frame, connection):
            return False
        if not self._lent:
            self._unread = None
        self._lent[slot] = lent
        self._send = send
        self._watch_closely()
        if lent.is_websocket and self._ping_watch is None:
            self._watch_pings()
        return True

    def begin_call(self) -> None:
        """Note that the server has sent a call."""
        self._is_called = True
        self._watch_closely()

    def end_call(self) -> None:
        """Note that nobody waits for the call any more."""
        self._is_called = False

    def recall(self, send: Send) -> None:
        """Ask for all connections."""
        if self._lent:
            send(_RECALL_FRAME, None)

    async def returned(self) -> None:
        """Wait until the process has no connection."""
        if self._lent:
            if self._all_back is None:
                self._all_back = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._all_back)

    def max_frame_bytes(self, kind: int, max_reply: int) -> int:
        """Return the maximum size of the body of a frame; -1 if its kind is not expected."""
        return max_body_bytes(kind, max_reply) if self._lent or self._taken else -1

    def take(self, kind: int, body: bytes) -> None:
        """Take a connection back, or note its end; raise ValueError for one that the process does not have."""
        if kind == RETURNED:
            frame = ReturnedFrame.unpack(body)
            if frame.slot in self._taken:
                self._taken.remove(frame.slot)
            else:
                self._take(frame.slot).give_back(
                    frame.rest, closes=frame.closes, ends_reply=frame.ends_reply, note=frame.note
                )
        else:
            self._take(body[0] if body else -1).end()

    def last_sign(self, now: float) -> float:
        """Return since when a request is unread and none is answered, in seconds of the monotonic clock; now if none is."""
        if not any(lent.is_unread for lent in self._lent.values()):
            self._unread = None
            return now
        served = sum(lent.buffer.served for lent in self._lent.values())
        if self._unread is None or self._unread[0] != served:
            self._unread = served, now
        return self._unread[1]

    def inherit(self, error: GymHttpServerError, *, is_unread: bool) -> None:
        """Take the connections of a process that has ended."""
        for slot in list(self._lent):
            self._take(slot).inherit(error, is_unread=is_unread)

    def _take(self, slot: int) -> LentConnection:
        lent = self._lent.pop(slot, None)
        if lent is None:
            raise ValueError(f"the process has no connection {slot}")
        if not self._lent:
            self._send = None  # a reference to the channel, which has one to this object
            if self._all_back is not None:
                self._all_back.set_result(None)
                self._all_back = None
        return lent

    @property
    def _may_serve_others(self) -> bool:
        """Whether the process has a connection, and may execute a call that came another way."""
        if len(self._lent) > 1 or (self._lent and self._is_called):
            return True
        # A call that its caller gave up goes on.
        return bool(self._lent) and self._memory.usage.busy_since is not None and not self.is_executing

    def _watch_closely(self) -> None:
        if self._pause > MIN_WATCH_SECONDS:
            self._pause = MIN_WATCH_SECONDS
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
        if self._watch is None:
            self._go_on_watching()

    def _go_on_watching(self) -> None:
        if self._may_serve_others:
            self._watch = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        self._watch = None
        busy_since = self._memory.usage.busy_since
        self._pause = min(self._pause * 2, MAX_WATCH_SECONDS) if busy_since is None else MIN_WATCH_SECONDS
        if busy_since is not None and time.monotonic() - busy_since >= MIN_WATCH_SECONDS:
            for slot, lent in list(self._lent.items()):
                if lent.is_for_server:
                    self._recall(slot, busy_since)
        self._go_on_watching()

    def _watch_pings(self) -> None:
        """Look for pings of WebSockets now and then: the process reads nothing while it executes a call."""
        self._ping_watch = None
        lent = [each for each in self._lent.values() if each.is_websocket]
        if not lent:
            return
        busy_since = self._memory.usage.busy_since
        is_slow = busy_since is not None and time.monotonic() - busy_since >= MIN_SLOW_SECONDS
        if is_slow:
            for each in lent:
                each.answer_pings()
        seconds = SLOW_WATCH_SECONDS if is_slow else WEBSOCKET_WATCH_SECONDS
        self._ping_watch = asyncio.get_running_loop().call_later(seconds, self._watch_pings)

    def _recall(self, slot: int, busy_since: float) -> None:
        """Take a connection from a process that is in a call since a moment; or else the process gives it back."""
        assert self._send is not None, "set while a connection is lent"  # noqa: S101 -- for the type checker
        # The process reads the frame after the call, before it does anything with a connection: if it is still in the same
        # call now, the connection is the server's.
        if self._send(_RECALL_FRAMES[slot], None) and self._memory.usage.busy_since == busy_since:
            self._taken.add(slot)
            self._take(slot).give_back()


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
