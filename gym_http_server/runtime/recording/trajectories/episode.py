"""`UnwrittenEpisode`: the part of an episode that is in memory, until its block is written."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .file import IS_FIRST, IS_LAST
from .values import byte_size, frozen, is_raw

BLOCK_BYTES: Final = 1 << 19
"""Size at which a block is written."""
MIN_FRAME_BYTES: Final = 1 << 13
"""Minimum size of an array that `FrameCopies` copies."""
NO_INFO: Final[dict[str, Any]] = {}


class FrameCopies:
    """Copies large arrays of one form into memory that is used again: pages that are new take longer than the copy."""

    def __init__(self) -> None:
        self._rows = np.empty((0, 0))
        self._count = 0

    def copied(self, array: np.ndarray[Any, Any]) -> Any:
        """Return a copy, which lasts until `clear`."""
        rows = self._rows
        if rows.shape[1:] != array.shape or rows.dtype != array.dtype or self._count == len(rows):
            if self._count or not is_raw(array.dtype):
                return frozen(array)
            self._rows = rows = np.empty((BLOCK_BYTES // array.nbytes + 1, *array.shape), array.dtype)
        row = rows[self._count, ...]
        row[...] = array
        self._count += 1
        return row

    def clear(self) -> None:
        """Use the memory again."""
        self._count = 0


class UnwrittenEpisode:
    """The part of an episode that is not written yet.

    Args:
        number: its number.
        start: seed, options and gap.
        frames: copies its observations; None if they are frozen.
    """

    def __init__(self, number: int, start: list[Any], frames: FrameCopies | None) -> None:
        self.number = number
        self.frames = frames
        self.start = start
        self.gap: str = start[2]
        self.flags = IS_FIRST
        self.bytes = 0
        self.observations: list[Any] = []
        self.infos: list[Any] = []
        self.actions: list[Any] = []
        self.rewards: list[Any] = []
        self.terminated: list[Any] = []
        self.truncated: list[Any] = []

    def keep(self, observation: Any, info: Any) -> None:
        """Add what a reset or a step returned."""
        if self.frames is None:
            kept = observation
        elif type(observation) is np.ndarray and observation.nbytes >= MIN_FRAME_BYTES:
            kept = self.frames.copied(observation)
        else:
            kept = frozen(observation)
        self.observations.append(kept)
        self.bytes += byte_size(kept)
        if info:
            info = info if self.frames is None else frozen(info)
            self.bytes += byte_size(info)
            self.infos.append(info)
        else:
            self.infos.append(NO_INFO)

    def taken(self, flags: int) -> dict[str, list[Any]]:
        """Return the columns of a block, and begin with the next one."""
        columns = {
            name: getattr(self, name)
            for name in ("observations", "infos", "actions", "rewards", "terminated", "truncated")
        }
        for name in columns:
            setattr(self, name, [])
        self.bytes = 0
        if self.flags & IS_FIRST:
            columns["start"] = self.start
        if flags & IS_LAST:
            columns["end"] = [self.gap]
        return columns
