"""Counters of answered requests: written by the process that serves them, read by the server.

Each value is one float64, so that a process can read what another writes without a lock.
"""

from __future__ import annotations

import bisect
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..operations import HOT
from .usage import MAX_VALUE, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NONE: Final = "none"
"""Stands for an operationId: requests that were answered before their operation was known."""

STATUSES: Final = (
    101,
    200,
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    413,
    415,
    422,
    429,
    431,
    500,
    502,
    503,
    504,
    507,
)
"""Statuses with their own counter."""

BOUNDS: Final = tuple(base * 10.0**power for power in range(-5, 2) for base in (1, 2, 5))
"""Upper bounds of the buckets of a histogram of seconds; the last bucket has none."""

_RECEIVED, _SENT, _SECONDS = range(3)
_FIRST_STATUS: Final = 3
_FIRST_BUCKET: Final = _FIRST_STATUS + len(STATUSES) + 1
_ROW: Final = _FIRST_BUCKET + len(BOUNDS) + 1

CELLS: Final = _ROW * len(HOT)
"""Number of cells for the operations of the hot path."""
_STATUS: Final = {status: _FIRST_STATUS + index for index, status in enumerate(STATUSES)}
_NOTHING: Final = [0.0] * _ROW
_OTHER: Final = _FIRST_BUCKET - 1


@dataclass(frozen=True)
class Tally:
    """The answered requests of one operation.

    Attributes:
        operation: its operationId.
        statuses: number of replies by status, as its digits or `other`.
        received: total bytes of the requests' bodies.
        sent: total bytes of the replies' bodies.
        seconds: total time, each from the last byte of the request to the first of the reply.
        buckets: number of requests by time, in the order of `BOUNDS`.
    """

    operation: str
    statuses: dict[str, int]
    received: int
    sent: int
    seconds: float
    buckets: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean time of a request, in seconds."""
        count = sum(self.buckets)
        return self.seconds / count if count else 0.0

    def quantile(self, share: float) -> float:
        """Return the time within which that share of the requests was answered, in seconds.

        Estimated as by Prometheus' `histogram_quantile`: linear within a bucket, at most the last bound.
        """
        rank = share * sum(self.buckets)
        below = 0
        for index, count in enumerate(self.buckets[:-1]):
            if count and below + count >= rank:
                low = BOUNDS[index - 1] if index else 0.0
                return low + (BOUNDS[index] - low) * (rank - below) / count
            below += count
        return BOUNDS[-1] if below < rank else 0.0


class Traffic:
    """Counters of some operations.

    Args:
        cells: `CELLS` float64, initially zero, of shared memory; None for private memory.
        operations: their operationIds; with `cells` those of the hot path.
    """

    def __init__(self, cells: memoryview[float] | None = None, operations: Sequence[str] = HOT) -> None:
        # A list is twice as fast as a memoryview.
        self._cells: memoryview[float] | list[float] = [0.0] * (_ROW * len(operations)) if cells is None else cells
        self._start = {name: index * _ROW for index, name in enumerate(operations)}

    @property
    def operations(self) -> Iterable[str]:
        """The counted operations."""
        return self._start.keys()

    def count(self, operation: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count an answered request, with the seconds that it took and the bytes of both bodies."""
        cells = self._cells
        start = self._start[operation]
        cells[start + _RECEIVED] += received
        cells[start + _SENT] += sent
        cells[start + _SECONDS] += seconds
        cells[start + _STATUS.get(status, _OTHER)] += 1.0
        cells[start + _FIRST_BUCKET + bisect.bisect_left(BOUNDS, seconds)] += 1.0

    def rows(self) -> Iterable[tuple[str, list[float]]]:
        """Return the values of each operation with an answered request."""
        cells: list[float] = list(self._cells)
        for operation, start in self._start.items():
            # One slice, because a scrape reads this of every instance, and no step is served meanwhile.
            values = cells[start : start + _ROW]
            if values != _NOTHING:
                # Written by a process with third-party code. A NaN makes the sum NaN, so the comparison is false.
                is_fine = min(values) >= 0.0 and sum(values) <= MAX_VALUE
                yield operation, values if is_fine else [within(value) for value in values]

    def add(self, other: Traffic) -> None:
        """Add the counts of another object, which has no other operations."""
        cells = self._cells
        for operation, values in other.rows():
            start = self._start[operation]
            for index, value in enumerate(values, start):
                cells[index] += value

    def join(self, other: Traffic) -> None:
        """Add the counts to another object and share its cells from now on, for requests that end later."""
        if self._cells is not other._cells:
            other.add(self)
            self._cells, self._start = other._cells, other._start


def tallies(counted: Sequence[Traffic]) -> Iterable[Tally]:
    """Return the sums of several counters, for each operation with an answered request."""
    sums: dict[str, list[float]] = {operation: [] for traffic in counted for operation in traffic.operations}
    for traffic in counted:
        for operation, values in traffic.rows():
            before = sums[operation]
            sums[operation] = list(map(operator.add, before, values)) if before else values
    for operation, row in sums.items():
        counts = [int(value) for value in row[_FIRST_STATUS:]]
        names = (*map(str, STATUSES), "other")
        statuses = {name: count for name, count in zip(names, counts, strict=False) if count}
        if statuses:
            buckets = tuple(counts[_FIRST_BUCKET - _FIRST_STATUS :])
            yield Tally(operation, statuses, int(row[_RECEIVED]), int(row[_SENT]), row[_SECONDS], buckets)
