"""`Trajectories`: reads the episodes of a recording whose monitor kept `trajectories`, one at a time.

The columns of an episode are read block by block when they are used, so memory stays bounded. Files may be planted: everything
that is read is checked, and damage is a `NoRecordingError`.
"""

from __future__ import annotations

import itertools
import json
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, overload

from ..errors import NoRecordingError
from ..runtime.recording.trajectory_file import (
    ENVIRONMENT,
    HEAD_BYTES,
    IS_COMPLETE,
    IS_FIRST,
    IS_LAST,
    IS_RESTORED,
    STEPS,
    TRAJECTORIES,
    heads,
    read_head,
    read_record,
)
from ..runtime.recording.trajectory_values import DAMAGE, unpack_columns
from ..support.deferred import np
from ..support.files import open_regular, read_regular, reason
from .recording import MANIFEST_PREFIX, MANIFEST_SUFFIX, names_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gymnasium import Space

_MAX_NOTES: Final = 20
_MAY_DIFFER: Final = {"began_at": None, "versions": None, "kept": None}
"""What may differ between the parts of a recording."""
_OBSERVED: Final = ("observations", "infos")
"""Columns that have a value more than there are steps: that of the reset."""
_STEPPED: Final = ("actions", "rewards", "terminated", "truncated")


def open_trajectories(directory: str | os.PathLike[str], path_of: Callable[[str], Path] | None = None) -> Trajectories:
    """Open the trajectories of a recording, of all its parts.

    Args:
        directory: its directory.
        path_of: returns the path of a file of that name in the directory, and raises ValueError for one that is not to be
            read; None if all may be.

    Raises:
        NoRecordingError: there are none, or they are damaged.
    """
    path_of = path_of or Path(directory).joinpath
    names = trajectory_files(directory, path_of)
    files: list[BinaryIO] = []
    try:
        # One after the other, so that those are closed that were opened before an error.
        files.extend(_opened(directory, name, path_of) for name in names)
        return Trajectories(files, os.fspath(directory))
    except BaseException:
        for file in files:
            file.close()
        raise


def first_records(
    directory: str | os.PathLike[str], names: Sequence[str], path_of: Callable[[str], Path]
) -> dict[str, dict[str, Any]]:
    """Return what files of trajectories say of their environment, and when they were begun; by their names.

    Raises:
        NoRecordingError: one cannot be read.
    """
    told = {}
    for name in names:
        with _opened(directory, name, path_of) as file:
            told[name] = _environment(file, os.fspath(directory))
    return told


def trajectory_files(directory: str | os.PathLike[str], path_of: Callable[[str], Path] | None = None) -> list[str]:
    """Return the names of the files that the manifests in a directory name; the arguments are those of `open_trajectories`.

    Raises:
        NoRecordingError: the directory cannot be read, or there are none.
    """
    path_of = path_of or Path(directory).joinpath
    names = []
    for name in sorted(names_in(directory)):
        if name.startswith(MANIFEST_PREFIX) and name.endswith(MANIFEST_SUFFIX):
            try:
                named = json.loads(read_regular(path_of(name))).get("trajectories")
            except (OSError, *DAMAGE, AttributeError) as error:
                raise NoRecordingError(f"{name} in {directory} is no manifest: {reason(error)}") from None
            if isinstance(named, str) and named.startswith(TRAJECTORIES) and Path(named).name == named:
                names.append(named)
    if not names:
        raise NoRecordingError(
            f"there are no trajectories in {directory}: record them with startMonitor and trajectories: true"
        )
    return list(dict.fromkeys(names))


class Trajectories:
    """The episodes of a recording, in the order in which they began. Iterating reads them one at a time.

    Args:
        files: the parts, open for reading.
        where: names the recording in errors.

    Attributes:
        env_id, kwargs, wrappers, max_episode_steps, render_mode, num_envs, vectorization_mode, autoreset_mode, interpreter: as
            for a creation; num_envs is None for a single environment.
        library: library and version.
        versions: versions of Python and packages, by name.
        kept: `full`, or `actions` where episodes, or some of them, have neither observations nor infos.
        observation_space, action_space: descriptors of the spaces (of a lane).
        notes: what is left out, and why.

    Raises:
        NoRecordingError: a part is damaged, or they are of several environments.
    """

    def __init__(self, files: Sequence[BinaryIO], where: str) -> None:
        self.notes: list[str] = []
        self._where = where
        parts = [_Part(file, self._note, where) for file in files]
        self._parts = sorted(parts, key=lambda part: part.began_at)
        told = self._parts[0].environment
        for part in self._parts[1:]:
            if {**part.environment, **_MAY_DIFFER} != {**told, **_MAY_DIFFER}:
                raise NoRecordingError(f"the trajectories in {where} are of several environments or batches")
        try:
            self.env_id = str(told["env_id"])
            self.library = str(told["library"])
            self.versions: dict[str, str] = dict(told["versions"])
            self.kwargs: dict[str, Any] = dict(told["kwargs"])
            self.wrappers: list[dict[str, Any]] = list(told["wrappers"])
            self.max_episode_steps: int | None = told["max_episode_steps"]
            self.render_mode: str | None = told["render_mode"]
            self.num_envs: int | None = told["num_envs"]
            self.vectorization_mode: str | None = told["vectorization_mode"]
            self.autoreset_mode: str | None = told["autoreset_mode"]
            self.interpreter: str | None = told["interpreter"]
            self.kept = "actions" if any(part.environment["kept"] != "full" for part in self._parts) else "full"
            self.observation_space: dict[str, Any] = dict(told["observation_space"])
            self.action_space: dict[str, Any] = dict(told["action_space"])
        except DAMAGE as error:
            raise damaged(where, error) from None

    def __iter__(self) -> Iterator[RecordedEpisode]:
        for number, (part, blocks) in enumerate(self._blocks()):
            yield _episode(number, part, blocks)

    def episode(self, number: int) -> RecordedEpisode | None:
        """Return an episode; None if there is none of that number."""
        found = next(itertools.islice(self._blocks(), number, None), None)
        return None if found is None else _episode(number, *found)

    def count(self) -> int:
        """Return the number of episodes, for which none is read."""
        return sum(1 for _ in self._blocks())

    def completed(self) -> list[int]:
        """Return the numbers of the complete episodes, for which none is read."""
        return [at for at, (_, blocks) in enumerate(self._blocks()) if blocks.heads[-1].flags & IS_COMPLETE]

    def _blocks(self) -> Iterator[tuple[int, _Blocks]]:
        return ((at, blocks) for at, part in enumerate(self._parts) for blocks in part.episodes())

    def spaces(self) -> tuple[Space[Any], Space[Any]]:
        """Return the observation space and the action space (of a lane).

        Raises:
            NoRecordingError: their descriptors are damaged.
        """
        from ..runtime.values.spaces import rebuild

        try:
            return rebuild(self.observation_space), rebuild(self.action_space)
        except ValueError as error:
            raise damaged(self._where, error) from None

    def close(self) -> None:
        """Close the files."""
        for part in self._parts:
            part.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < _MAX_NOTES:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """An episode of a recording. The sequences are read from the file when they are used; arrays are read-only.

    Attributes:
        number: its number in the recording, from 0.
        lane: the lane of a batch; 0 of a single environment.
        seed: the seed of its reset; None for none.
        options: the options of its reset.
        gap: why a replay of the episodes before it does not reach its first state, or does not repeat it; empty if it does.
        observations: one more than there are steps; None where only actions are kept.
        actions: of each step.
        rewards: what the environment returned.
        terminated, truncated: booleans, or what the environment returned for its agents.
        infos: one more than there are steps; None where only actions are kept.
        is_complete: it ended by itself; False if a reset, a restore, a close or a kill cut it short.
        was_restored: a restore of a snapshot cut it short.
        ended_at: where it ends in the recording: of two episodes the one with the smaller value ended first.
    """

    number: int
    lane: int
    seed: int | None
    options: dict[str, Any] | None
    gap: str
    observations: Sequence[Any] | None
    actions: Sequence[Any]
    rewards: Sequence[Any]
    terminated: Sequence[Any]
    truncated: Sequence[Any]
    infos: Sequence[Any] | None
    is_complete: bool
    was_restored: bool
    ended_at: tuple[int, int] = (0, 0)


def _episode(number: int, part: int, blocks: _Blocks) -> RecordedEpisode:
    columns = {name: RecordedColumn(blocks, name) for name in (*_OBSERVED, *_STEPPED)}
    first, last = blocks.block(0), blocks.block(len(blocks.heads) - 1)
    flags = blocks.heads[-1].flags
    try:
        seed, options, gap = first["start"]
        [last_gap] = last["end"] if flags & IS_LAST else [""]
        if not (isinstance(seed, int | None) and isinstance(options, dict | None)):
            raise TypeError("an episode has no start")
    except DAMAGE as error:
        raise damaged(blocks.where, error) from None
    return RecordedEpisode(
        number,
        blocks.heads[0].lane,
        seed,
        options,
        str(gap or last_gap),
        columns["observations"] if blocks.is_full else None,
        columns["actions"],
        columns["rewards"],
        columns["terminated"],
        columns["truncated"],
        columns["infos"] if blocks.is_full else None,
        bool(flags & IS_COMPLETE),
        bool(flags & IS_RESTORED),
        (part, blocks.ends_at),
    )


class RecordedColumn(Sequence[Any]):
    """The values of one column of an episode, read block by block.

    Args:
        blocks: the blocks of the episode.
        name: name of the column.
    """

    def __init__(self, blocks: _Blocks, name: str) -> None:
        self._blocks = blocks
        self._name = name
        self._more = int(name in _OBSERVED)

    def __len__(self) -> int:
        return self._blocks.ends[-1] + self._more

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        length = len(self)
        if not -length <= at < length:
            raise IndexError(at)
        at %= length
        ends = self._blocks.ends
        number = bisect_right(ends, at - self._more)
        # The value of the reset is in the first block.
        start = ends[number - 1] + self._more if number else 0
        return self._blocks.block(number)[self._name][at - start]

    def __iter__(self) -> Iterator[Any]:
        for number in range(len(self._blocks.heads)):
            yield from self._blocks.block(number)[self._name]

    def __repr__(self) -> str:
        return f"<{len(self)} recorded {self._name}>"


class _Blocks:
    """The blocks of an episode.

    Args:
        file: the file.
        positions: where each block is.
        is_full: observations and infos are kept.
        where: names the recording in errors.
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
                for name in (*_OBSERVED, *_STEPPED):
                    is_longer = name in _OBSERVED and head.flags & IS_FIRST
                    expected = 0 if name in _OBSERVED and not self.is_full else head.steps + bool(is_longer)
                    if len(columns[name]) != expected:
                        raise ValueError(f"{name} has {len(columns[name])} values, expected {expected}")
            except DAMAGE as error:
                raise damaged(self.where, error) from None
            while len(self._decoded) > 1:
                del self._decoded[next(iter(self._decoded))]
            self._decoded[number] = columns
        return columns


class _Part:
    """A file of trajectories.

    Args:
        file: the file.
        note: takes what is left out.
        where: names the recording in errors.
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
        self.environment = _environment(file, where)
        began_at = self.environment.get("began_at")
        self.began_at = began_at if isinstance(began_at, float) else 0.0
        self._leave_out_the_torn(end, note)
        self._note = note

    def episodes(self) -> Iterator[_Blocks]:
        """Yield the blocks of each episode."""
        episodes = np.frombuffer(self._episodes, np.uint64) if self._episodes else np.empty(0, np.uint64)
        order = np.argsort(episodes, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(episodes[order])) + 1) if len(order) else ():
            positions = [self._positions[at] for at in same]
            blocks = _Blocks(self.file, positions, self.environment.get("kept") == "full", self._where)
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


def _opened(directory: str | os.PathLike[str], name: str, path_of: Callable[[str], Path]) -> BinaryIO:
    try:
        return open_regular(path_of(name))
    except (OSError, ValueError) as error:
        raise NoRecordingError(f"the trajectories in {directory} cannot be read: {reason(error)}") from None


def _environment(file: BinaryIO, where: str) -> dict[str, Any]:
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
