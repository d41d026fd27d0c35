"""The use of an environment and its call in execution: written by its process, read by the server.

Each value is one float64, so that a process can read what another writes without a lock.
"""

from __future__ import annotations

import time
from typing import Final

from ..operations import CALLS

CELLS: Final = 11
_STEPS, _EPISODES, _USED_AT, _BUSY_SINCE, _IDLE_SINCE, _OPERATION = range(6)
_STEPS_BEFORE, _EPISODES_BEFORE, _SPACES, _LEAPS, _MESSAGES = range(6, CELLS)
_NAMES: Final = tuple(CALLS)
_INDEX: Final = {name: float(index) for index, name in enumerate(CALLS)}
MAX_VALUE: Final = float(1 << 53)
"""Maximum of a time or a count."""


class Usage:
    """Use of one environment, in `CELLS` float64 of shared memory, initially zero; None for private memory."""

    def __init__(self, cells: memoryview[float] | None = None) -> None:
        self._cells = memoryview(bytearray(8 * CELLS)).cast("d") if cells is None else cells

    def begin(self, operation: str) -> None:
        """Record the begin of a call."""
        cells = self._cells
        cells[_OPERATION] = _INDEX[operation]
        cells[_BUSY_SINCE] = time.monotonic()

    def begin_rollout(self) -> None:
        """Record that the call in execution is a rollout."""
        cells = self._cells
        cells[_STEPS_BEFORE], cells[_EPISODES_BEFORE] = cells[_STEPS], cells[_EPISODES]

    def end(self) -> None:
        """Record the end of the call."""
        cells = self._cells
        cells[_IDLE_SINCE] = time.monotonic()
        cells[_BUSY_SINCE] = 0.0
        cells[_USED_AT] = time.time()

    def count(self, steps: int, episodes: int) -> None:
        """Add steps and ended episodes."""
        cells = self._cells
        cells[_STEPS] += steps
        cells[_EPISODES] += episodes

    def count_message(self) -> None:
        """Count a message of a WebSocket that the process answers."""
        self._cells[_MESSAGES] += 1

    def count_spaces(self) -> None:
        """Record that the environment has other spaces than before."""
        self._cells[_SPACES] += 1

    def count_leap(self) -> None:
        """Record that what viewers see became another without a step: by a reset, a restore or a hold."""
        self._cells[_LEAPS] += 1

    @property
    def version(self) -> str:
        """A text that is another after each step, reset, restore and hold."""
        return f"{self.steps}.{int(within(self._cells[_LEAPS]))}"

    @property
    def space_changes(self) -> int:
        """How many times its spaces have changed."""
        return int(within(self._cells[_SPACES]))

    @property
    def steps(self) -> int:
        """Number of environment steps."""
        return int(within(self._cells[_STEPS]))

    @property
    def episodes(self) -> int:
        """Number of ended episodes."""
        return int(within(self._cells[_EPISODES]))

    @property
    def messages(self) -> int:
        """Number of messages of WebSockets that the process answered."""
        return int(within(self._cells[_MESSAGES]))

    @property
    def of_rollout(self) -> tuple[int, int] | None:
        """Steps and episodes of the rollout in execution; None if there is none."""
        if self.busy_since is None or self.operation != "rollout":
            return None
        steps = self.steps - int(within(self._cells[_STEPS_BEFORE]))
        return max(0, steps), max(0, self.episodes - int(within(self._cells[_EPISODES_BEFORE])))

    @property
    def used_at(self) -> float:
        """When the last call ended, in seconds of Unix time; 0 if there was none."""
        return within(self._cells[_USED_AT])

    @property
    def busy_since(self) -> float | None:
        """When the call in execution began, in seconds of the monotonic clock; None if there is none."""
        return within(self._cells[_BUSY_SINCE]) or None

    @property
    def idle_since(self) -> float:
        """When the last call ended, in seconds of the monotonic clock; 0 if there was none."""
        return within(self._cells[_IDLE_SINCE])

    @property
    def operation(self) -> str:
        """Operation of the latest call."""
        return _NAMES[int(within(self._cells[_OPERATION])) % len(_NAMES)]


def within(value: float) -> float:
    """Return a value that a process with third-party code wrote, or 0 if it is no possible time or count."""
    return value if 0.0 <= value <= MAX_VALUE else 0.0
