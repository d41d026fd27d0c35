"""Reading of recordings: the files of Gym's `Monitor` (gym 0.7 to 0.21) and of this server's monitor.

Format: gym/wrappers/monitor.py and gym/wrappers/monitoring/stats_recorder.py of gym 0.9.7. A directory has manifests
`openaigym.manifest.<infix>.manifest.json`, each with the names of its statistics and of its complete videos. So one directory
may hold several recordings of one environment (`resume=True`), which are merged in the order in which episodes ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import NoRecordingError
from ..support.deferred import np
from ..support.files import read_regular, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .roots import Roots

FILE: Final = re.compile(r"openaigym\.[^/\\\0-\x1f\x7f]+")
"""File names of a recording."""
FILE_PREFIX = "openaigym."
MANIFEST_PREFIX = FILE_PREFIX + "manifest."
MANIFEST_SUFFIX = ".manifest.json"
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
"""Errors of reading values that do not have the types and shapes of the format."""

COMPONENTS = "episode_component_rewards"
MAX_READS = 3
"""Maximum reads of a file of episodes that looks damaged."""


def load_results(training_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what is recorded in a directory, as `gym.wrappers.monitor.load_results` of gym 0.9.7 does.

    Args:
        training_dir: a directory that a monitor of this server or of gym 0.7 to 0.21 wrote to.

    Returns:
        `manifests`: their paths. `env_info`: `env_id` and `gym_version`. With an entry for each completed episode, in the
        order in which they ended: `timestamps` (seconds since 1970), `episode_lengths` (steps), `episode_rewards` (returns),
        `episode_types` (`t` for training, `e` for evaluation; None if none are recorded) and `data_sources` (index of
        the manifest). Where rewards are no single numbers `episode_component_rewards` (an object of returns by component,
        or None), and None among `episode_rewards`. `initial_reset_timestamps`: of each manifest with episodes; `initial_reset_timestamp`: the earliest,
        or 0. `videos`: pairs of paths, a video and its metadata.

    Raises:
        NoRecordingError: the directory does not exist or has no manifest, a file is damaged or missing, or the manifests
            are of several environments or library versions. In the first two cases Gym logged that and returned None.
    """
    directory = os.fspath(training_dir)
    return read_recording(directory, names_in(directory), lambda name: read_regular(Path(directory, name))).results


def names_in(directory: str | os.PathLike[str]) -> list[str]:
    """Return the names of a directory's entries, in the system's order.

    Raises:
        NoRecordingError: it does not exist or cannot be read.
    """
    try:
        return os.listdir(directory)  # noqa: PTH208 -- names are what is wanted
    except FileNotFoundError:
        raise NoRecordingError(f"training directory {str(directory)!r} not found") from None
    except (OSError, ValueError) as error:
        raise NoRecordingError(f"training directory {str(directory)!r} cannot be read: {reason(error)}") from None


def file_in(roots: Roots, directory: Path, name: str) -> Path:
    """Return the path of a file of a recording.

    Raises:
        ForbiddenDirectoryError: it is a link to a file outside the roots.
        ValueError: it cannot be a file of a recording.
    """
    if not FILE.fullmatch(name):
        raise ValueError("it is not called as a file of a recording")
    path = (directory / name).resolve()
    roots.check(path, str(directory / name))
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    return path


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording at the time of reading.

    Attributes:
        manifests: bytes of the manifests, by name.
        stats: bytes of the statistics, by name.
        videos: names of the complete videos and of their metadata, in the order in which the recordings began.
        trajectories: names of the files of trajectories.
        results: what `load_results` returns.
    """

    manifests: dict[str, bytes]
    stats: dict[str, bytes]
    videos: list[tuple[str, str]]
    trajectories: list[str]
    results: dict[str, Any]


def read_recording(directory: str, names: Iterable[str], read: Callable[[str], bytes]) -> Recording:
    """Read a recording: the manifests first and each file once, so that it is consistent even while a monitor writes.

    Args:
        directory: prefix of the paths in `results`.
        names: the directory's entries.
        read: returns the bytes of a file of that name.

    Raises:
        NoRecordingError: see `load_results`.
    """
    # A Gym that was killed while it wrote left files whose names end with `~`.
    manifest_names = [name for name in names if name.startswith(MANIFEST_PREFIX) and name.endswith(MANIFEST_SUFFIX)]
    if not manifest_names:
        raise NoRecordingError(f"no manifests of a recording found in training directory {directory!r}")
    files = {name: _bytes(directory, name, read) for name in manifest_names}
    try:
        manifests = [_parsed(name, data) for name, data in files.items()]
        videos = [[(str(video), str(meta)) for video, meta in manifest["videos"]] for manifest in manifests]
        env_info = _only(directory, [manifest["env_info"] for manifest in manifests])
        sources = [str(manifest["stats"]) for manifest in manifests]
        stats = {name: _episodes(directory, name, read) for name in dict.fromkeys(sources)}
        batches = [_parsed(name, stats[name]) for name in sources]
        results = {
            "manifests": [os.path.join(directory, name) for name in files],  # noqa: PTH118 -- texts, as Gym returns them
            "env_info": env_info,
            **_merged(batches),
            "videos": [
                tuple(os.path.join(directory, name) for name in pair)  # noqa: PTH118 -- texts, as Gym returns them
                for pairs in videos
                for pair in pairs
            ],
        }
        begins = [batch["initial_reset_timestamp"] or 0 for batch in batches]
        by_begin = sorted(zip(begins, videos, strict=True), key=lambda entry: entry[0])
        in_order = [pair for _, pairs in by_begin for pair in pairs]
        trajectories = [str(manifest["trajectories"]) for manifest in manifests if "trajectories" in manifest]
    except DAMAGE as error:
        raise NoRecordingError(
            f"the recording in {directory!r} is damaged: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from None
    return Recording(files, stats, list(dict.fromkeys(in_order)), list(dict.fromkeys(trajectories)), results)


def _bytes(directory: str, name: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(name)
    except (OSError, ValueError) as error:
        raise NoRecordingError(
            f"the recording in {directory!r} has no readable file {name!r}: {reason(error)}"
        ) from None


def _episodes(directory: str, name: str, read: Callable[[str], bytes]) -> bytes:
    """Return the bytes of a file of episodes. A monitor that reuses its spare files may have changed it during a read."""
    for _ in range(MAX_READS - 1):
        data = _bytes(directory, name, read)
        with contextlib.suppress(*DAMAGE):
            batch = _parsed(name, data)
            if len(batch["timestamps"]) == len(batch["episode_lengths"]) == len(batch["episode_rewards"]):
                return data
    return _bytes(directory, name, read)


def _parsed(name: str, data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no JSON object")
    return value


def _only(directory: str, env_infos: list[Any]) -> dict[str, Any]:
    first: dict[str, Any] = env_infos[0]
    for other in env_infos[1:]:
        if first != other:
            raise NoRecordingError(
                f"found two unequal env_infos in {directory!r}: {first} and {other}; results of several runs are mixed "
                "there, record each in a directory of its own"
            )
    for key in ("env_id", "gym_version"):
        if not isinstance(first[key], str):
            raise TypeError(f"{key} is no text")
    return first


def _merged(batches: list[dict[str, Any]]) -> dict[str, Any]:
    data_sources: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("timestamps", "episode_lengths", "episode_rewards")}
    episode_types: list[Any] = []
    components: list[Any] = []
    first_resets: list[float] = []
    for index, batch in enumerate(batches):
        # Without an episode the time of the first reset may be null.
        if len(batch["timestamps"]) == 0:
            continue
        data_sources += [index] * len(batch["timestamps"])
        for name, column in columns.items():
            column += batch[name]
        episode_types += batch.get("episode_types", [])
        components += batch.get(COMPONENTS) or [None] * len(batch["timestamps"])
        first_resets.append(batch["initial_reset_timestamp"])
    order = np.argsort(columns["timestamps"])
    # NumPy arrays as in Gym, so that mixed integers and floats are converted alike. A type is noted when an episode begins,
    # so there may be more types than episodes; if a part of the recording has none, no episode has one here.
    has_types = len(episode_types) >= len(order) > 0
    by_component = {COMPONENTS: [components[at] for at in order]} if any(components) else {}
    return {
        "data_sources": np.array(data_sources)[order].tolist(),
        **{name: np.array(column)[order].tolist() for name, column in columns.items()},
        "episode_types": np.array(episode_types)[order].tolist() if has_types else None,
        **by_component,
        "initial_reset_timestamps": first_resets,
        "initial_reset_timestamp": min(first_resets, default=0),
    }
