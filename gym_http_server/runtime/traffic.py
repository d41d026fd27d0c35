"""How requests for one environment were answered: counted where they are served, read by the server at any time.

Each value is a float64 of its own, so that one process can read what another counts without a lock.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .usage import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OPERATIONS: Final = (
    "resetEnv",
    "stepEnv",
    "rollout",
    "resetBatch",
    "stepBatch",
    "sampleAction",
    "actionSpaceContains",
    "actionSpaceContainsValue",
    "observationSpaceContains",
)
"""The operationIds of what is counted: all that the contract marks as inside a training loop."""

STATUSES: Final = (200, 400, 406, 409, 410, 413, 415, 500, 502, 503, 504)
"""The statuses that are told apart."""

BOUNDS: Final = tuple(base * 10.0**power for power in range(-5, 2) for base in (1, 2, 5))
"""Upper bounds of the buckets of a histogram of seconds; the last bucket has none."""

_RECEIVED, _SENT, _SECONDS = range(3)
_FIRST_STATUS: Final = 3
_FIRST_BUCKET: Final = _FIRST_STATUS + len(STATUSES) + 1
_ROW: Final = _FIRST_BUCKET + len(BOUNDS) + 1

CELLS: Final = _ROW * len(OPERATIONS)
_START: Final = {name: index * _ROW for index, name in enumerate(OPERATIONS)}
_STATUS: Final = {status: _FIRST_STATUS + index for index, status in enumerate(STATUSES)}
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
    """

    def __init__(self, cells: memoryview[float] | None = None) -> None:
        # A list where nobody else reads them, because that takes half as long.
        self._cells: memoryview[float] | list[float] = [0.0] * CELLS if cells is None else cells

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
        start = _START[operation]
        cells[start + _RECEIVED] += received
        cells[start + _SENT] += sent
        cells[start + _SECONDS] += seconds
        cells[start + _STATUS.get(status, _OTHER)] += 1.0
        cells[start + _FIRST_BUCKET + bisect.bisect_left(BOUNDS, seconds)] += 1.0

    def row(self, operation: str) -> list[float]:
        """Return the values of one operation."""
        start = _START[operation]
        # The environment's own process writes them, which is third-party code.
        return [within(value) for value in self._cells[start : start + _ROW]]


def tallies(counted: Sequence[Traffic]) -> Iterable[Tally]:
    """Return what was counted in several places together, for each operation that was answered at all."""
    for operation in OPERATIONS:
        row = [sum(values) for values in zip(*(each.row(operation) for each in counted), strict=True)]
        counts = [int(value) for value in row[_FIRST_STATUS:]]
        names = (*map(str, STATUSES), "other")
        statuses = {name: count for name, count in zip(names, counts, strict=False) if count}
        if statuses:
            buckets = tuple(counts[_FIRST_BUCKET - _FIRST_STATUS :])
            yield Tally(operation, statuses, int(row[_RECEIVED]), int(row[_SENT]), row[_SECONDS], buckets)
