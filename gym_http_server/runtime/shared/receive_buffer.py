"""What has come on a client's connection and is not answered yet, where it outlives the process that serves it.

A process that serves a connection copies here what it reads before it looks at it. Where it dies, or gives the connection
back, whoever takes that up goes on with the requests that are not answered: nothing is lost and nothing is done twice.
"""

from __future__ import annotations

from typing import Final

from .usage import within

READ_SIZE: Final = 1 << 18
"""The most that an event loop reads at a time: uvloop 256,000 bytes, asyncio 262,144."""

CAPACITY: Final = 2 * READ_SIZE

WAITING, EXECUTING, REPLYING = range(3)
"""Phases of the first request that is not answered: not begun, in the environment, its reply perhaps begun."""

CELLS: Final = 7
_LENGTH, _PROGRESS, _SERVED, _CLOSES, _BEGIN, _END, _WAITS_SINCE = range(CELLS)
_PHASES: Final = 4
"""What is answered and the phase are one number, `_PHASES * answered + phase`: a process may end between two writes."""


class ReceiveBuffer:
    """The bytes and the state of one connection.

    Args:
        cells: `CELLS` float64 that start as zeros.
        data: `CAPACITY` bytes.
    """

    def __init__(self, cells: memoryview[float], data: memoryview[int]) -> None:
        self._cells = cells
        self._data = data

    def start(self, data: bytes) -> None:
        """Begin with another connection, and the first bytes of it."""
        self._cells[_PROGRESS] = self._cells[_SERVED] = 0.0
        self._cells[_LENGTH] = self._cells[_WAITS_SINCE] = 0.0
        self.put(data)

    def put(self, data: bytes) -> None:
        """Keep what has come; it has room as long as the caller stops at `is_full`."""
        cells = self._cells
        start = int(cells[_LENGTH])
        end = start + len(data)
        self._data[start:end] = data
        cells[_LENGTH] = end

    def clear(self) -> None:
        """Forget what was kept: all of it is answered."""
        cells = self._cells
        # The length first: all that is kept and nothing answered would be taken for requests to serve.
        cells[_LENGTH] = 0.0
        cells[_PROGRESS] = 0.0

    def executes(self, *, closes: bool) -> None:
        """Note that the environment is called for the first request that is not answered.

        Args:
            closes: the connection is to be closed after its reply.
        """
        self._cells[_CLOSES] = closes
        self._cells[_WAITS_SINCE] = 0.0
        self._enter(EXECUTING)

    def waits(self, since: float) -> None:
        """Note since when the client is waited for: for the rest of a request, or for the next.

        Args:
            since: seconds of the monotonic clock, which is the same in all processes.
        """
        self._cells[_WAITS_SINCE] = since

    def replies(self, begin: int, end: int) -> None:
        """Note that from now on some of its reply may have gone out.

        Args:
            begin: how many bytes have been written to the connection before it, since it came.
            end: and with it.
        """
        cells = self._cells
        cells[_BEGIN] = begin
        cells[_END] = end
        self._enter(REPLYING)

    def mark_not_begun(self) -> None:
        """Note that nothing of its reply has gone out after all."""
        self._enter(EXECUTING)

    def mark_answered(self) -> None:
        """Note that its reply has gone out."""
        cells = self._cells
        cells[_PROGRESS] += _PHASES - self.phase
        cells[_SERVED] += 1.0

    def mark_given_up(self) -> None:
        """Note that nothing was done for it after all."""
        self._enter(WAITING)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another read."""
        return self._cells[_LENGTH] > CAPACITY - READ_SIZE

    @property
    def phase(self) -> int:
        """The phase of the first request that is not answered."""
        return int(within(self._cells[_PROGRESS])) % _PHASES

    @property
    def closes(self) -> bool:
        """Whether the connection is to be closed after the reply to that request."""
        return self._cells[_CLOSES] != 0.0

    @property
    def reply(self) -> tuple[int, int]:
        """Where that reply begins and ends in all that is written to the connection since it came."""
        return int(within(self._cells[_BEGIN])), int(within(self._cells[_END]))

    @property
    def answered(self) -> int:
        """How many of the requests that are kept have been answered."""
        return int(within(self._cells[_PROGRESS])) // _PHASES

    @property
    def served(self) -> int:
        """How many requests have been answered since the connection came."""
        return int(within(self._cells[_SERVED]))

    @property
    def waits_since(self) -> float:
        """Since when the client is waited for, in seconds of the monotonic clock; 0 for not known."""
        return within(self._cells[_WAITS_SINCE])

    @property
    def data(self) -> bytes:
        """What is kept."""
        return bytes(self._data[: int(within(self._cells[_LENGTH]))])

    def _enter(self, phase: int) -> None:
        self._cells[_PROGRESS] += phase - self.phase
