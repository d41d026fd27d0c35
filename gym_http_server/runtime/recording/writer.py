"""`RecordingWriter`: writes the files of Gym's `Monitor`, which Gym's `load_results` and `results/` read.

The format is that of gym 0.7 to 0.21 (`gym/wrappers/monitoring/`, `gym/wrappers/monitor.py`). A recording is any number of
manifests in a directory, each with a file of episodes:

    openaigym.manifest.<infix>.manifest.json      {"stats": name, "videos": [[name, meta name], …], "env_info": {…}}
    openaigym.episode_batch.<infix>.stats.json    {"initial_reset_timestamp", "timestamps", "episode_lengths",
                                                   "episode_rewards", "episode_types"}; where rewards are no single
                                                  numbers also "episode_component_rewards", an object of returns by
                                                  component or null for each, and null among "episode_rewards"
    openaigym.video.<infix>.video000000.mp4       and its …video000000.meta.json
    openaigym.trajectories.<infix>.zst            of all episodes since the monitor started, named by each manifest of it as
                                                  "trajectories" (`trajectories/`)

`<infix>` is `<number>.<pid>`. Each file is replaced atomically after every episode, so that a reader always sees all complete
episodes, also after a crash. A full file of episodes is followed by another with its own manifest, so that the time of a write
stays bounded; readers merge them by time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import TYPE_CHECKING, Final

from ...errors import InvalidValueError, RecordingExistsError, RecordingFailedError
from .partial_files import Lock, remove_left
from .replaced_file import ReplacedFile, write_and_rename

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PREFIX: Final = "openaigym."
MANIFEST: Final = PREFIX + "manifest."
TRAJECTORIES: Final = PREFIX + "trajectories."
TRAINING: Final = "t"
"""The type of every episode; Gym's other types were for its evaluation site."""

EPISODES_PER_FILE: Final = 1000

_COLUMNS: Final = ("timestamps", "episode_lengths", "episode_rewards", "episode_types")
COMPONENTS: Final = "episode_component_rewards"


class RecordingWriter:
    """Writes a recording to a directory.

    Args:
        directory: absolute path; created if it does not exist.
        env_id: id of the environment.
        version: library and version.
        force: delete an earlier recording.
        resume: keep an earlier recording.

    Raises:
        RecordingExistsError: there is an earlier recording, and neither `force` nor `resume`.
        InvalidValueError: the path is that of a file, or too long.
        RecordingFailedError: the system refuses to write there.
    """

    def __init__(self, directory: Path, env_id: str, version: str, *, force: bool, resume: bool) -> None:
        self.directory = directory
        self._env_info = {"gym_version": version, "env_id": env_id}
        self._trajectories: dict[str, str] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if force:
                _clear(directory)
            elif not resume:
                _refuse_second(directory)
            remove_left(directory)
            self._part = self._begin_part(None)
        except (FileExistsError, NotADirectoryError):
            raise InvalidValueError(f"{str(directory)!r} is not a directory: name another one") from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidValueError("directory is too long a name for this system") from None
            raise failed(directory, error) from None

    def begins(self) -> None:
        """Record that an episode begins."""
        if self._part.began_at is None:
            self._part.began_at = time.time()

    def add(self, *episodes: tuple[float | None, int] | tuple[float | None, int, dict[str, float] | None]) -> None:
        """Add complete episodes, and write them.

        Args:
            *episodes: return and length of each, and its returns by component where there are any.

        Raises:
            OSError: they cannot be written; the next call, or `close`, tries again.
        """
        for episode in episodes:
            if self._part.count >= EPISODES_PER_FILE:
                # If that fails, the full file grows.
                with contextlib.suppress(OSError):
                    full, self._part = self._part, self._follow(self._part)
                    full.close()
            self._part.add(*episode)
        self._write(self._part)

    def video_base(self, episode_id: int) -> Path:
        """Return the path of an episode's video without its suffix."""
        return self.directory / f"{PREFIX}video.{self._part.infix}.video{episode_id:06}"

    def add_video(self, path: Path, meta_path: Path) -> None:
        """Add a complete video to the manifest.

        Raises:
            OSError: it cannot be written; the next call, or `close`, tries again.
        """
        self._part.videos.append((path.name, meta_path.name))
        self._part.is_manifest_true = False
        self._write_manifest(self._part)

    def trajectory_path(self) -> Path:
        """Return the path of the file of trajectories."""
        return self.directory / f"{TRAJECTORIES}{self._part.infix}.zst"

    def name_trajectories(self, name: str) -> None:
        """Name the file of trajectories in the manifests.

        Raises:
            RecordingFailedError: the manifest cannot be written.
        """
        self._trajectories = {"trajectories": name}
        try:
            self._write_manifest(self._part)
        except OSError as error:
            raise failed(self.directory, error) from None

    def close(self) -> None:
        """Write what could not be written before, and remove the partial files.

        Raises:
            OSError: it still cannot be written.
        """
        self._write(self._part)
        self._part.close()

    def discard(self) -> None:
        """Remove the partial files without writing."""
        self._part.close()

    def _follow(self, full: _Part) -> _Part:
        self._write(full)
        return self._begin_part(full.ended_at)

    def _begin_part(self, began_at: float | None) -> _Part:
        number = 0
        while True:
            part = _Part(self.directory, f"{number}.{os.getpid()}", began_at)
            try:
                # Creating this file claims the infix: an earlier process with the same pid may have recorded here.
                part.stats.touch(exist_ok=False)
            except FileExistsError:
                number += 1
                continue
            part.lock = Lock(self.directory, part.infix)
            self._write(part)
            return part

    def _write(self, part: _Part) -> None:
        self._try(lambda: part.file.replace(part.data()))
        # Another recording with `force` may have deleted the manifest.
        if not (part.is_manifest_true and part.manifest.exists()):
            self._write_manifest(part)

    def _write_manifest(self, part: _Part) -> None:
        text = json.dumps(
            {"stats": part.stats.name, "videos": part.videos, "env_info": self._env_info, **self._trajectories}
        )
        self._try(lambda: write_and_rename(part.manifest, _spare(part.manifest), text.encode()))
        part.is_manifest_true = True

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except FileNotFoundError:
            # The directory was deleted: write the recording again from memory.
            self.directory.mkdir(parents=True, exist_ok=True)
            write()


class _Part:
    """A manifest and its file of episodes.

    Args:
        directory: the directory of the recording.
        infix: unique in the directory.
        began_at: Unix time of the first reset; None before it.
    """

    def __init__(self, directory: Path, infix: str, began_at: float | None) -> None:
        self.infix = infix
        self.manifest = directory / f"{MANIFEST}{infix}.manifest.json"
        self.stats = directory / f"{PREFIX}episode_batch.{infix}.stats.json"
        self.file = ReplacedFile(self.stats, _spare(self.stats))
        self.lock: Lock | None = None
        self.began_at = began_at
        self.ended_at: float | None = None
        self.count = 0
        self.videos: list[tuple[str, str]] = []
        self.is_manifest_true = False
        # The columns as JSON, because encoding all numbers for every episode takes a hundred times as long.
        self._texts = {name: bytearray() for name in _COLUMNS}

    def add(self, total: float | None, length: int, components: dict[str, float] | None = None) -> None:
        """Add an episode that ends now."""
        self.ended_at = time.time()
        if components is not None and COMPONENTS not in self._texts:
            self._texts[COMPONENTS] = bytearray(b", ".join([b"null"] * self.count))
        for text, value in zip(
            self._texts.values(), (self.ended_at, length, total, TRAINING, components), strict=False
        ):
            if self.count:
                text += b", "
            text += json.dumps(value).encode()
        self.count += 1

    def close(self) -> None:
        """Remove the partial files."""
        self.file.close()
        if self.lock is not None:
            self.lock.release()

    def data(self) -> bytes:
        """Return the content of the file of episodes."""
        data = b'{"initial_reset_timestamp": ' + json.dumps(self.began_at).encode()
        for name, text in self._texts.items():
            data += b', "' + name.encode() + b'": [' + text + b"]"
        return data + b"}"


def failed(directory: Path, error: OSError) -> RecordingFailedError:
    """Return the error for a directory that the system refuses to write to."""
    return RecordingFailedError(f"cannot write to {directory}: {error.strerror or error}")


def _spare(path: Path) -> Path:
    # Gym reads every file whose name begins with `openaigym.manifest.` as a manifest.
    return path.with_name(path.name.replace(PREFIX, f"{PREFIX}partial.", 1))


def _clear(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name.startswith(PREFIX) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)


def _refuse_second(directory: Path) -> None:
    manifests = sorted(path.name for path in directory.iterdir() if path.name.startswith(MANIFEST))
    if manifests:
        more = f" and {len(manifests) - 1} more" if len(manifests) > 1 else ""
        raise RecordingExistsError(
            f"{directory} holds a recording already ({manifests[0]}{more}): choose another directory, or give force to "
            "delete it, or resume to keep it and record beside it",
            manifests=manifests[:10],
        )
