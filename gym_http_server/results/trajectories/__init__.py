"""`Trajectories`: reads the episodes of a recording whose monitor kept `trajectories`, one at a time.

The columns of an episode are read block by block when they are used, so memory stays bounded. Files may be planted: everything
that is read is checked, and damage is a `NoRecordingError`.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import NoRecordingError
from ...runtime.recording.trajectories.file import IS_COMPLETE
from ...runtime.recording.trajectories.values import DAMAGE
from ...runtime.recording.writer import TRAJECTORIES
from ...support.files import read_regular, reason
from ..recording import MANIFEST_PREFIX, MANIFEST_SUFFIX, names_in
from .episode import RecordedEpisode as RecordedEpisode
from .episode import episode_of
from .part import TrajectoryPart, damaged, environment_in, open_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO

    from gymnasium import Space

    from .part import EpisodeBlocks

_MAX_NOTES: Final = 20
_MAY_DIFFER: Final = {"began_at": None, "versions": None, "kept": None}
"""What may differ between the parts of a recording."""


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
        files.extend(open_part(directory, name, path_of) for name in names)
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
        with open_part(directory, name, path_of) as file:
            told[name] = environment_in(file, os.fspath(directory))
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
        parts = [TrajectoryPart(file, self._note, where) for file in files]
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
            yield episode_of(number, part, blocks)

    def episode(self, number: int) -> RecordedEpisode | None:
        """Return an episode; None if there is none of that number."""
        found = next(itertools.islice(self._blocks(), number, None), None)
        return None if found is None else episode_of(number, *found)

    def count(self) -> int:
        """Return the number of episodes, for which none is read."""
        return sum(1 for _ in self._blocks())

    def completed(self) -> list[int]:
        """Return the numbers of the complete episodes, for which none is read."""
        return [at for at, (_, blocks) in enumerate(self._blocks()) if blocks.heads[-1].flags & IS_COMPLETE]

    def _blocks(self) -> Iterator[tuple[int, EpisodeBlocks]]:
        return ((at, blocks) for at, part in enumerate(self._parts) for blocks in part.episodes())

    def spaces(self) -> tuple[Space[Any], Space[Any]]:
        """Return the observation space and the action space (of a lane).

        Raises:
            NoRecordingError: their descriptors are damaged.
        """
        from ...runtime.values.spaces import rebuild

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
