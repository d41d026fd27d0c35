"""Crash-safe receive buffers of clients' connections, in shared memory.

The process that serves a connection receives into its buffer. If it dies or gives the connection back, the server continues
with the unanswered requests: none is lost and none is executed twice.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from ..runtime.shared.memory import CONNECTION_BYTES
from ..runtime.shared.usage import within

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from ..runtime.shared.memory import Memory

READ_SIZE: Final = 1 << 18
"""Maximum bytes of one read, also of the server's event loop: uvloop 256,000, asyncio 262,144."""

CAPACITY: Final = 2 * READ_SIZE

MAX_CONNECTIONS: Final = CONNECTION_BYTES // CAPACITY
"""Maximum number of connections that the process of one environment serves."""

WAITING, EXECUTING, REPLYING = range(3)
"""Phases of the first unanswered request: not begun, in the environment, its reply perhaps begun."""

CELLS: Final = 9
_LENGTH, _PROGRESS, _SERVED, _CLOSES, _BEGIN, _END, _WAITS_SINCE, _PONGED, _IS_WRITING = range(CELLS)
_PHASES: Final = 4
"""Progress is one number, `_PHASES * answered + phase`, because a process may end between two writes."""


class ReceiveBuffer:
    """The bytes and the state of one connection.

    The process keeps its own count beside the shared cells, because every look into them would cost a step.

    Args:
        cells: `CELLS` float64 that start as zeros.
        data: `CAPACITY` bytes.

    Attributes:
        pongs: the pongs of the server on a WebSocket.
    """

    __slots__ = ("_answered", "_cells", "_data", "_length", "_served", "pongs")

    def __init__(self, cells: memoryview[float], data: memoryview[int]) -> None:
        self._cells = cells
        self._data = data
        self._length = self._answered = self._served = 0
        self.pongs = Pongs(cells)

    def start(self, data: bytes) -> None:
        """Begin with the first bytes of another connection, in the server."""
        self._cells[_PROGRESS] = self._cells[_SERVED] = 0.0
        self._cells[_LENGTH] = self._cells[_WAITS_SINCE] = 0.0
        self.pongs.start()
        self.adopt()
        self.put(data)

    def adopt(self) -> None:
        """Begin with what the server has put here, in the process."""
        self._length = int(within(self._cells[_LENGTH]))
        self._answered = self._served = 0

    def put(self, data: bytes) -> None:
        """Append received bytes; there is room unless `is_full`."""
        end = self._length + len(data)
        self._data[self._length : end] = data
        self._cells[_LENGTH] = self._length = end

    def receive(self, connection: socket.socket) -> bytes:
        """Receive once, append and return the bytes; there is room unless `is_full`.

        Raises:
            OSError: as `socket.recv_into`.
        """
        start, data = self._length, self._data
        end = start + connection.recv_into(data[start : start + READ_SIZE])
        self._cells[_LENGTH] = self._length = end
        return bytes(data[start:end])

    def clear(self) -> None:
        """Drop all bytes: all requests are answered."""
        cells = self._cells
        # The length first: bytes of which nothing is answered would be requests to serve.
        cells[_LENGTH] = 0.0
        cells[_PROGRESS] = 0.0
        self._length = self._answered = 0

    def executes(self, *, closes: bool) -> None:
        """Mark the first unanswered request as executing; `closes` if the connection closes after its reply."""
        cells = self._cells
        cells[_CLOSES] = closes
        cells[_WAITS_SINCE] = 0.0
        cells[_PROGRESS] = _PHASES * self._answered + EXECUTING

    def waits(self, since: float) -> None:
        """Record since when the process waits for bytes of the client, in seconds of the monotonic clock."""
        self._cells[_WAITS_SINCE] = since

    def replies(self, begin: int, end: int) -> None:
        """Mark the reply as perhaps begun; `begin` and `end` are its positions in the bytes written since the hand-over."""
        cells = self._cells
        cells[_BEGIN] = begin
        cells[_END] = end
        cells[_PROGRESS] = _PHASES * self._answered + REPLYING

    def go_back(self, phase: int) -> None:
        """Mark the first unanswered request as in an earlier phase after all."""
        self._cells[_PROGRESS] = _PHASES * self._answered + phase

    def mark_answered(self) -> None:
        """Mark the request as answered."""
        self._answered += 1
        self._served += 1
        self._cells[_PROGRESS] = _PHASES * self._answered
        self._cells[_SERVED] = self._served

    @property
    def is_full(self) -> bool:
        """Whether another read may not fit."""
        return self._length > CAPACITY - READ_SIZE

    @property
    def has_waiting(self) -> bool:
        """Whether there are bytes of a request that is neither begun nor waited for."""
        return self.phase == WAITING and self._cells[_LENGTH] > 0.0 and not self.waits_since

    @property
    def phase(self) -> int:
        """Phase of the first unanswered request."""
        return int(within(self._cells[_PROGRESS])) % _PHASES

    @property
    def closes(self) -> bool:
        """Whether the connection closes after the reply to that request."""
        return self._cells[_CLOSES] != 0.0

    @property
    def reply(self) -> tuple[int, int]:
        """Positions of that reply in the bytes written since the hand-over."""
        return int(within(self._cells[_BEGIN])), int(within(self._cells[_END]))

    @property
    def answered(self) -> int:
        """Number of answered requests in `data`."""
        return int(within(self._cells[_PROGRESS])) // _PHASES

    @property
    def served(self) -> int:
        """Number of requests answered since the hand-over."""
        return int(within(self._cells[_SERVED]))

    @property
    def waits_since(self) -> float:
        """Since when the process waits for the client, in seconds of the monotonic clock; 0 if unknown."""
        return within(self._cells[_WAITS_SINCE])

    @property
    def data(self) -> bytes:
        """The received bytes."""
        return bytes(self._data[: int(within(self._cells[_LENGTH]))])


class Pongs:
    """What the server writes to a WebSocket that the process has: pongs, while a long call keeps the process from it.

    Args:
        cells: those of the receive buffer.
    """

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells = cells

    def start(self) -> None:
        """Begin with another connection."""
        self._cells[_PONGED] = self._cells[_IS_WRITING] = 0.0

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the process from beginning a reply."""
        self._cells[_IS_WRITING] = 1.0
        try:
            yield
        finally:
            self._cells[_IS_WRITING] = 0.0

    @property
    def is_writing(self) -> bool:
        """Whether the server writes."""
        return self._cells[_IS_WRITING] != 0.0

    @property
    def count(self) -> int:
        """Number of frames since the hand-over up to the last ping that the server has answered."""
        return int(within(self._cells[_PONGED]))

    @count.setter
    def count(self, count: int) -> None:
        self._cells[_PONGED] = count


def receive_buffers(memory: Memory) -> list[ReceiveBuffer]:
    """Return the `MAX_CONNECTIONS` receive buffers in the memory of an environment."""
    cells, data = memory.connection_cells, memory.connection_bytes
    return [
        ReceiveBuffer(cells[at * CELLS : (at + 1) * CELLS], data[at * CAPACITY : (at + 1) * CAPACITY])
        for at in range(MAX_CONNECTIONS)
    ]
