"""How much an environment has been used, and what it does at this moment: written beside it, read by the server.

Each value is a float64 of its own, so that one process can read what another writes without a lock.
"""

from __future__ import annotations

import time
from typing import Final

from ..operations import CALLS

CELLS: Final = 8
_STEPS, _EPISODES, _USED_AT, _BUSY_SINCE, _IDLE_SINCE, _OPERATION, _STEPS_BEFORE, _EPISODES_BEFORE = range(CELLS)
_NAMES: Final = tuple(CALLS)
_INDEX: Final = {name: float(index) for index, name in enumerate(CALLS)}
MOST: Final = float(1 << 53)
"""The largest value that is one."""


class Usage:
    """The values.

    Args:
        cells: `CELLS` float64 that start as zeros, such as a part of shared memory; None for memory of its own.
    """

    def __init__(self, cells: memoryview[float] | None = None) -> None:
        self._cells = memoryview(bytearray(8 * CELLS)).cast("d") if cells is None else cells

    def begin(self, operation: str) -> None:
        """Note that a call of that operation begins."""
        cells = self._cells
        cells[_OPERATION] = _INDEX[operation]
        cells[_BUSY_SINCE] = time.monotonic()

    def begin_rollout(self) -> None:
        """Note that the call that has begun takes many steps."""
        cells = self._cells
        cells[_STEPS_BEFORE], cells[_EPISODES_BEFORE] = cells[_STEPS], cells[_EPISODES]

    def end(self) -> None:
        """Note that the call has ended."""
        cells = self._cells
        cells[_IDLE_SINCE] = time.monotonic()
        cells[_BUSY_SINCE] = 0.0
        cells[_USED_AT] = time.time()

    def count(self, steps: int, episodes: int) -> None:
        """Add steps that were taken and episodes that ended."""
        cells = self._cells
        cells[_STEPS] += steps
        cells[_EPISODES] += episodes

    @property
    def steps(self) -> int:
        """Environment steps since it was made."""
        return int(within(self._cells[_STEPS]))

    @property
    def episodes(self) -> int:
        """Episodes that have ended since it was made."""
        return int(within(self._cells[_EPISODES]))

    @property
    def of_rollout(self) -> tuple[int, int] | None:
        """Steps and episodes of the rollout under way; None where there is none."""
        if self.busy_since is None or self.operation != "rollout":
            return None
        steps = self.steps - int(within(self._cells[_STEPS_BEFORE]))
        return max(0, steps), max(0, self.episodes - int(within(self._cells[_EPISODES_BEFORE])))

    @property
    def used_at(self) -> float:
        """When the last call ended, in seconds of Unix time; 0 where there was none."""
        return within(self._cells[_USED_AT])

    @property
    def busy_since(self) -> float | None:
        """When the call under way began, in seconds of the monotonic clock, or None where there is none."""
        return within(self._cells[_BUSY_SINCE]) or None

    @property
    def idle_since(self) -> float:
        """When the last call ended, in seconds of the monotonic clock; 0 where there was none."""
        return within(self._cells[_IDLE_SINCE])

    @property
    def operation(self) -> str:
        """The operation of the latest call."""
        return _NAMES[int(within(self._cells[_OPERATION])) % len(_NAMES)]


def within(value: float) -> float:
    """Return a value that another process wrote, which is third-party code, or 0 where no time or count is like that."""
    return value if 0.0 <= value <= MOST else 0.0
