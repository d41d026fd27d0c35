"""A file of a recording's trajectories, and the blocks of an episode in it. Damage is a `NoRecordingError`."""

from __future__ import annotations

import json
import os
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ...errors import NoRecordingError
from ...runtime.recording.trajectories.file import (
    ENVIRONMENT,
    HEAD_BYTES,
    IS_FIRST,
    STEPS,
    heads,
    read_head,
    read_record,
)
from ...runtime.recording.trajectories.values import DAMAGE, unpack_columns
from ...support.deferred import np
from ...support.files import open_regular, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

OBSERVED: Final = ("observations", "infos")
"""Columns that have a value more than there are steps: that of the reset."""
STEPPED: Final = ("actions", "rewards", "terminated", "truncated")
"""Columns that have a value for each step."""


class TrajectoryPart:
    """A file of trajectories.

    Args:
        file: the file.
        note: takes what is left out.
        where: names the recording in errors.

    Attributes:
        file: as above.
        environment: what its first record says of the environment.
        began_at: when it was begun, in seconds since 1970; 0.0 if it does not say.
    """

    def __init__(self, file: BinaryIO, note: Callable[[str], None], where: str) -> None:
        self.file = file
        self._where = where
        # In arrays: a recording may have a million blocks.
        self._positions, self._episodes = array("Q"), array("Q")
        end = 0
        for at, head in heads(file):
            end = at + HEAD_BYTES + head.stored_bytes
            if at:
                self._positions.append(at)
                self._episodes.append(head.episode)
        self.environment = environment_in(file, where)
        began_at = self.environment.get("began_at")
        self.began_at = began_at if isinstance(began_at, float) else 0.0
        self._leave_out_the_torn(end, note)
        self._note = note

    def episodes(self) -> Iterator[EpisodeBlocks]:
        """Yield the blocks of each episode."""
        episodes = np.frombuffer(self._episodes, np.uint64) if self._episodes else np.empty(0, np.uint64)
        order = np.argsort(episodes, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(episodes[order])) + 1) if len(order) else ():
            positions = [self._positions[at] for at in same]
            blocks = EpisodeBlocks(self.file, positions, self.environment.get("kept") == "full", self._where)
            if blocks.heads[0].flags & IS_FIRST:
                yield blocks
            else:
                blocks.block(0)  # which is damaged, or another file's
                self._note(f"episode {blocks.heads[0].episode} is left out: its beginning is not in the file")

    def _leave_out_the_torn(self, end: int, note: Callable[[str], None]) -> None:
        size = self.file.seek(0, os.SEEK_END)
        if self._positions:
            try:
                read_record(self.file, self._positions[-1])
            except ValueError:
                end = self._positions.pop()
                self._episodes.pop()
        if end < size:
            note(f"the last {size - end} bytes are left out: the block was not written to its end")


class EpisodeBlocks:
    """The blocks of an episode.

    Args:
        file: the file.
        positions: where each block is.
        is_full: observations and infos are kept.
        where: names the recording in errors.

    Attributes:
        is_full, where: as above.
        ends_at: where the last block is.
        heads: the heads of the blocks.
        ends: number of steps up to the end of each block.
    """

    def __init__(self, file: BinaryIO, positions: Sequence[int], is_full: bool, where: str) -> None:
        self.where = where
        self.is_full = is_full
        self.ends_at = positions[-1]
        self._file = file
        self._positions = positions
        self.heads = [read_head(file, at) for at in positions]
        self.ends = list(accumulate(head.steps for head in self.heads))
        self._decoded: dict[int, dict[str, list[Any]]] = {}

    def block(self, number: int) -> dict[str, list[Any]]:
        """Return the columns of a block; the latest two are kept.

        Raises:
            NoRecordingError: it is damaged.
        """
        columns = self._decoded.get(number)
        if columns is None:
            try:
                head, data = read_record(self._file, self._positions[number])
                if head.kind != STEPS:
                    raise ValueError("a record is neither the first nor a block")
                columns = unpack_columns(data)
                for name in (*OBSERVED, *STEPPED):
                    is_longer = name in OBSERVED and head.flags & IS_FIRST
                    expected = 0 if name in OBSERVED and not self.is_full else head.steps + bool(is_longer)
                    if len(columns[name]) != expected:
                        raise ValueError(f"{name} has {len(columns[name])} values, expected {expected}")
            except DAMAGE as error:
                raise damaged(self.where, error) from None
            while len(self._decoded) > 1:
                del self._decoded[next(iter(self._decoded))]
            self._decoded[number] = columns
        return columns


def open_part(directory: str | os.PathLike[str], name: str, path_of: Callable[[str], Path]) -> BinaryIO:
    """Open a file of trajectories in a directory; `path_of` as in `open_trajectories`.

    Raises:
        NoRecordingError: it cannot be opened.
    """
    try:
        return open_regular(path_of(name))
    except (OSError, ValueError) as error:
        raise NoRecordingError(f"the trajectories in {directory} cannot be read: {reason(error)}") from None


def environment_in(file: BinaryIO, where: str) -> dict[str, Any]:
    """Return what the first record says of the environment.

    Raises:
        NoRecordingError: it is damaged.
    """
    try:
        head, data = read_record(file, 0)
        told = json.loads(data) if head.kind == ENVIRONMENT else None
        if not isinstance(told, dict):
            raise TypeError("its first record describes no environment")
    except DAMAGE as error:
        raise damaged(where, error) from None
    return told


def damaged(where: str, error: BaseException) -> NoRecordingError:
    """Return the error for trajectories that cannot be read."""
    text = " ".join(str(error).split())[:200]
    return NoRecordingError(f"the trajectories in {where} are damaged: {type(error).__name__}: {text}")
