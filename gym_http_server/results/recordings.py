"""`Recordings`: the recordings that lie in the results roots, read without being uploaded.

Clients name their directories, and files in them may be planted: every file is looked at as `file_in` does.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ..errors import NoRecordingError, UploadTargetError
from ..support.files import open_regular, read_regular, reason
from .archive import zip_parts
from .evaluated_trajectories import NAME
from .evaluation import Curve, curve_of, library_of
from .recording import (
    DAMAGE,
    FILE_PREFIX,
    MANIFEST_PREFIX,
    MANIFEST_SUFFIX,
    Recording,
    file_in,
    names_in,
    read_recording,
)
from .target import EVALUATION_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from .roots import Roots
    from .trajectories import Trajectories

logger = logging.getLogger(__name__)

MAX_DIRECTORIES: Final = 10_000
SEARCH_SECONDS: Final = 10.0
"""Limits of a search: by default the roots are the working and the temporary directory, which may hold anything."""


@dataclass(frozen=True, slots=True)
class LocalRecording:
    """A recording in a results root.

    Attributes:
        directory: its directory.
        updated_at: when it was written to, in UTC.
        env_id: the environment; None if it cannot be read.
        library: library and version; None if it cannot be read.
        trajectories: what is kept of every step: `none`, `full` or `actions`.
        trajectory_bytes: size of the files of the steps.
        problem: why it cannot be read; None if it can.
    """

    directory: Path
    updated_at: datetime
    env_id: str | None = None
    library: str | None = None
    trajectories: str = "none"
    trajectory_bytes: int = 0
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the contract's `Recording` as plain JSON values."""
        updated_at = self.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {name: getattr(self, name) for name in ("env_id", "library", "trajectories", "trajectory_bytes")}
        told |= {"directory": str(self.directory), "updated_at": updated_at}
        return told if self.problem is None else {**told, "problem": self.problem}


class Recordings:
    """The recordings in the results roots. Thread-safe.

    Args:
        roots: the directories that may contain recordings.
        excluded: where evaluations are kept, which are not searched for recordings; None for another place.
    """

    def __init__(self, roots: Roots, excluded: Path | None = None) -> None:
        self._roots = roots
        self._excluded = excluded

    def search(self) -> tuple[list[tuple[Path, datetime]], bool]:
        """Return the directories of all recordings and when they were written to, the newest first; and whether these are all.

        Hidden directories and links are passed over, and directories that cannot be read.
        """
        found: list[tuple[float, str]] = []
        waiting = collections.deque(str(root) for root in self._roots.paths)
        excluded = {str(self._excluded)}
        end = time.monotonic() + SEARCH_SECONDS
        is_complete = True
        while waiting and is_complete:
            directory = waiting.popleft()
            if directory in excluded:
                continue
            excluded.add(directory)
            is_complete = len(excluded) <= MAX_DIRECTORIES
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                names, moments = set(), [0.0]
                for entry in entries:
                    if time.monotonic() > end:
                        is_complete = False
                        break
                    if entry.name.startswith(FILE_PREFIX) or entry.name == EVALUATION_FILE:
                        names.add(entry.name)
                        moments.append(entry.stat(follow_symlinks=False).st_mtime)
                    elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                if EVALUATION_FILE not in names and any(map(_is_manifest, names)):
                    found.append((max(moments), directory))
        found.sort(reverse=True)
        first = self._roots.paths[0]
        return [(first / path, datetime.fromtimestamp(moment, UTC)) for moment, path in found], is_complete

    def describe(self, directory: Path, updated_at: datetime | None = None) -> LocalRecording:
        """Return what the manifests of a recording say. One that cannot be read has a `problem`.

        Args:
            directory: its directory, in a root.
            updated_at: when it was written to; None to look.

        Raises:
            NoRecordingError: `updated_at` is not given, and the directory has no recording.
            ForbiddenDirectoryError: a file of it is a link to one outside the roots.
        """
        moment = updated_at
        if moment is None:
            paths = [directory / name for name in names_in(directory) if name.startswith(FILE_PREFIX)]
            moment = max((_moment(path) for path in paths), default=datetime.fromtimestamp(0, UTC))
        try:
            manifests = self._manifests(directory)
            env_info = manifests[0]["env_info"]
            env_id, library = str(env_info["env_id"]), library_of(str(env_info["gym_version"]))
            named = {str(each["trajectories"]) for each in manifests if "trajectories" in each}
            kept, size = self._kept(directory, sorted(named)) if named else ("none", 0)
        except (NoRecordingError, *DAMAGE) as error:
            if updated_at is None and isinstance(error, NoRecordingError):
                raise
            text = error.detail if isinstance(error, NoRecordingError) else f"its manifest is damaged: {error}"
            return LocalRecording(directory, moment, problem=text[:500])
        return LocalRecording(directory, moment, env_id, library, kept, size)

    def details(self, directory: Path) -> dict[str, Any]:
        """Return the contract's `Recording` with its numbers of episodes.

        Raises:
            NoRecordingError: there is none, or it is damaged.
            ForbiddenDirectoryError: as `describe`.
        """
        described = self.describe(directory)
        if described.problem is not None:
            raise NoRecordingError(described.problem)
        told = {**described.to_json(), "episodes": len(self.read(directory).results["timestamps"]), "recorded": 0}
        if described.trajectories != "none":
            with self.open_trajectories(directory) as trajectories:
                told["recorded"] = trajectories.count()
        return told

    def read(self, directory: Path) -> Recording:
        """Read a recording.

        Raises:
            NoRecordingError: there is none, or it is damaged.
            ForbiddenDirectoryError: a file of it is a link to one outside the roots.
        """
        return read_recording(str(directory), names_in(directory), self._reader(directory))

    def curve(self, directory: Path) -> Curve:
        """Return the learning curve of a recording.

        Raises:
            NoRecordingError: there is none, or it is damaged.
            InvalidValueError: its rewards are no single numbers.
        """
        return curve_of(self.read(directory), str(directory), None)

    def videos(self, directory: Path, recording: Recording) -> dict[str, bool]:
        """Return the names of the existing videos and of their metadata, each with whether it is a video."""
        names: dict[str, bool] = {}
        for video, meta in recording.videos:
            for name, is_video in ((meta, False), (video, True)):
                try:
                    if file_in(self._roots, directory, name).is_file():
                        names[name] = is_video
                except ValueError as error:
                    logger.warning("a video of the recording in %s is passed over: %r: %s", directory, name, error)
        return names

    def open_video(self, directory: Path, name: str) -> BinaryIO:
        """Open a complete video for reading; the caller closes it.

        Raises:
            NoRecordingError: there is none of that name.
        """
        if self.videos(directory, self.read(directory)).get(name):
            with contextlib.suppress(OSError):
                return open_regular(file_in(self._roots, directory, name))
        raise NoRecordingError(f"the recording in {str(directory)!r} has no video {name[:200]!r}")

    def trajectories(self, directory: Path, recording: Recording) -> list[str]:
        """Return the names of the files of trajectories.

        Raises:
            NoRecordingError: one is not there.
        """
        for name in recording.trajectories:
            with contextlib.suppress(ValueError):
                if NAME.fullmatch(name) and file_in(self._roots, directory, name).is_file():
                    continue
            raise NoRecordingError(f"the recording in {str(directory)!r} has no file {name[:200]!r} of trajectories")
        return list(recording.trajectories)

    def open_trajectories(self, directory: Path) -> Trajectories:
        """Open the trajectories of a recording; the caller closes them.

        Raises:
            NoRecordingError: there are none, or they are damaged.
            ForbiddenDirectoryError: a file of them is a link to one outside the roots.
        """
        # Not at the top: it imports numpy, for which the start of a server does not wait.
        from .trajectories import open_trajectories

        return open_trajectories(directory, self._path_of(directory))

    def fingerprint(self, directory: Path) -> str:
        """Return what tells the trajectories of a directory from others that were there before, without reading them.

        Raises:
            NoRecordingError: there are none.
            ForbiddenDirectoryError: as `open_trajectories`.
        """
        from .trajectories import first_records, trajectory_files

        path_of = self._path_of(directory)
        told = first_records(directory, trajectory_files(directory, path_of), path_of)
        return json.dumps([[name, environment.get("began_at")] for name, environment in told.items()])

    def archive(self, directory: Path) -> Iterator[bytes]:
        """Return the parts of a ZIP archive of a recording, as it is now.

        Raises:
            NoRecordingError: there is none, or it is damaged; of a part, the file cannot be read.
            ForbiddenDirectoryError: a file of it is a link to one outside the roots.
        """
        recording = self.read(directory)
        # Read already, because a monitor replaces them.
        texts = {**recording.manifests, **recording.stats}
        names = [*self.trajectories(directory, recording), *self.videos(directory, recording)]
        sizes = {name: len(text) for name, text in texts.items()}
        sizes |= {name: file_in(self._roots, directory, name).stat().st_size for name in names}

        def read(name: str, start: int, length: int) -> bytes:
            if name in texts:
                return texts[name][start : start + length]
            try:
                with open_regular(file_in(self._roots, directory, name)) as file:
                    file.seek(start)
                    return file.read(length)
            except OSError as error:
                raise UploadTargetError(f"{name} in {directory} cannot be read: {reason(error)}") from None

        return zip_parts(sorted(sizes.items()), read, datetime.now(UTC).timetuple()[:6])

    def _manifests(self, directory: Path) -> list[dict[str, Any]]:
        read = self._reader(directory)
        try:
            manifests = [json.loads(read(name)) for name in sorted(names_in(directory)) if _is_manifest(name)]
        except OSError as error:
            raise NoRecordingError(
                f"the recording in {str(directory)!r} has no readable manifest: {reason(error)}"
            ) from None
        if not manifests:
            raise NoRecordingError(f"no manifests of a recording found in {str(directory)!r}")
        return manifests

    def _kept(self, directory: Path, names: list[str]) -> tuple[str, int]:
        from .trajectories import first_records

        path_of = self._path_of(directory)
        told = first_records(directory, names, path_of)
        kept = "full" if all(each.get("kept") == "full" for each in told.values()) else "actions"
        return kept, sum(path_of(name).stat().st_size for name in names)

    def _path_of(self, directory: Path) -> Callable[[str], Path]:
        return lambda name: file_in(self._roots, directory, name)

    def _reader(self, directory: Path) -> Callable[[str], bytes]:
        return lambda name: read_regular(file_in(self._roots, directory, name))


def _is_manifest(name: str) -> bool:
    return name.startswith(MANIFEST_PREFIX) and name.endswith(MANIFEST_SUFFIX)


def _moment(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except OSError:  # it is deleted meanwhile
        return datetime.fromtimestamp(0, UTC)
