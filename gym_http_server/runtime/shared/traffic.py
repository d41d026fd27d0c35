"""How requests were answered: counted where they are served, read by the server at any time.

Each value is a float64 of its own, so that one process can read what another counts without a lock.
"""

from __future__ import annotations

import bisect
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..operations import HOT
from .usage import MOST, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NONE: Final = "none"
"""In the place of an operationId: requests that were answered before their operation was known."""

STATUSES: Final = (200, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422, 429, 431, 500, 502, 503, 504, 507)
"""The statuses that are told apart."""

BOUNDS: Final = tuple(base * 10.0**power for power in range(-5, 2) for base in (1, 2, 5))
"""Upper bounds of the buckets of a histogram of seconds; the last bucket has none."""

_RECEIVED, _SENT, _SECONDS = range(3)
_FIRST_STATUS: Final = 3
_FIRST_BUCKET: Final = _FIRST_STATUS + len(STATUSES) + 1
_ROW: Final = _FIRST_BUCKET + len(BOUNDS) + 1

CELLS: Final = _ROW * len(HOT)
"""How many cells the operations of the hot path take."""
_STATUS: Final = {status: _FIRST_STATUS + index for index, status in enumerate(STATUSES)}
_NOTHING: Final = [0.0] * _ROW
_OTHER: Final = _FIRST_BUCKET - 1


@dataclass(frozen=True)
class Tally:
    """How the requests of one operation were answered.

    Attributes:
        operation: its operationId.
        statuses: how many were answered with each status, under its digits or `other`.
        received: length of the requests' bodies together, in bytes.
        sent: length of the replies' bodies together, in bytes.
        seconds: what they took together, from a request's last byte read to its reply's first written.
        buckets: how many of them took how long, in the order of `BOUNDS`.
    """

    operation: str
    statuses: dict[str, int]
    received: int
    sent: int
    seconds: float
    buckets: tuple[int, ...]

    @property
    def mean(self) -> float:
        """What one took on average, in seconds."""
        count = sum(self.buckets)
        return self.seconds / count if count else 0.0

    def quantile(self, share: float) -> float:
        """Return how long that share of them took at most, in seconds.

        Estimated as Prometheus' `histogram_quantile` does: even spread within a bucket; what is over the last bound takes
        that long.
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
    """The counts.

    Args:
        cells: `CELLS` float64 that start as zeros, such as a part of shared memory; None for memory of its own.
        operations: what is counted; others than those of the hot path only in memory of its own.
    """

    def __init__(self, cells: memoryview[float] | None = None, operations: Sequence[str] = HOT) -> None:
        # A list where nobody else reads them, because that takes half as long.
        self._cells: memoryview[float] | list[float] = [0.0] * (_ROW * len(operations)) if cells is None else cells
        self._start = {name: index * _ROW for index, name in enumerate(operations)}

    @property
    def operations(self) -> Iterable[str]:
        """What is counted."""
        return self._start.keys()

    def count(self, operation: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Add a request that was answered.

        Args:
            operation: its operationId.
            status: the HTTP status of the reply.
            seconds: how long it took.
            received: length of its body, in bytes.
            sent: length of the reply's body, in bytes.
        """
        cells = self._cells
        start = self._start[operation]
        cells[start + _RECEIVED] += received
        cells[start + _SENT] += sent
        cells[start + _SECONDS] += seconds
        cells[start + _STATUS.get(status, _OTHER)] += 1.0
        cells[start + _FIRST_BUCKET + bisect.bisect_left(BOUNDS, seconds)] += 1.0

    def rows(self) -> Iterable[tuple[str, list[float]]]:
        """Return the values of each operation that was answered at all."""
        cells: list[float] = list(self._cells)
        for operation, start in self._start.items():
            # As a whole: a scrape reads this of every instance, and no step is served meanwhile.
            values = cells[start : start + _ROW]
            if values != _NOTHING:
                # The environment's own process writes them, which is third-party code. One that is not a number makes the
                # sum none, which is no less than anything.
                is_fine = min(values) >= 0.0 and sum(values) <= MOST
                yield operation, values if is_fine else [within(value) for value in values]

    def add(self, other: Traffic) -> None:
        """Add what was counted elsewhere, of operations that are counted here as well."""
        cells = self._cells
        for operation, values in other.rows():
            start = self._start[operation]
            for index, value in enumerate(values, start):
                cells[index] += value

    def join(self, other: Traffic) -> None:
        """Add all to another, and count there from now on: whoever still counts here is not lost."""
        if self._cells is not other._cells:
            other.add(self)
            self._cells, self._start = other._cells, other._start


def tallies(counted: Sequence[Traffic]) -> Iterable[Tally]:
    """Return what was counted in several places together, for each operation that was answered at all."""
    sums: dict[str, list[float]] = {operation: [] for each in counted for operation in each.operations}
    for each in counted:
        for operation, values in each.rows():
            before = sums[operation]
            sums[operation] = list(map(operator.add, before, values)) if before else values
    for operation, row in sums.items():
        counts = [int(value) for value in row[_FIRST_STATUS:]]
        names = (*map(str, STATUSES), "other")
        statuses = {name: count for name, count in zip(names, counts, strict=False) if count}
        if statuses:
            buckets = tuple(counts[_FIRST_BUCKET - _FIRST_STATUS :])
            yield Tally(operation, statuses, int(row[_RECEIVED]), int(row[_SENT]), row[_SECONDS], buckets)
