"""Videos of episodes, in the files of old Gym's monitor: MP4 of pictures, asciicast of texts, each with its metadata.

An episode's frames go to disk one by one, into `<name>.part`; the video gets its name when it is complete. What a killed
process leaves is the part file, which plays up to the last frame but one: an MP4 in fragments, or an asciicast v2.
"""

from __future__ import annotations

import abc
import contextlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError
from ..making.dependencies import REQUIREMENTS, pip_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_FPS = 30.0

SLOWEST, FASTEST = 0.01, 1000.0
"""Frames per second. Outside of these an environment did not mean it, and the time base of an MP4 cannot express it."""


class VideoError(Exception):
    """A frame cannot be taken, or the video cannot be written."""


class Video(abc.ABC):
    """One episode's video.

    Args:
        base: the path without suffix.
        suffix: of the video's file.
        episode_id: for the metadata.

    Attributes:
        path: the video; it exists after `close`.
        meta_path: its metadata; likewise.
    """

    content_type: str

    def __init__(self, base: Path, suffix: str, episode_id: int) -> None:
        # The base has dots of its own, which Path.with_suffix would take for a suffix.
        self.path = Path(f"{base}{suffix}")
        self.meta_path = Path(f"{base}.meta.json")
        self._part = Path(f"{self.path}.part")
        self._final = Path(f"{self.path}.final")
        self._episode_id = episode_id
        self._closed: bool | None = None

    def add(self, frame: Any) -> None:
        """Append a frame.

        Raises:
            VideoError: it is no frame of this video's kind, or cannot be written; the video goes on without it.
        """
        if self._closed is not None:
            raise VideoError("the video is closed")
        with _writing(self.path):
            self._add(frame)

    def close(self) -> bool:
        """Finish the video; return False, and leave no file, where no frame was added.

        Raises:
            VideoError: it cannot be written; the part file stays until `discard`.
        """
        if self._closed is None:
            self._closed = False
            with _writing(self.path):
                if version := self._finish():
                    self._complete(version)
                    self._closed = True
        return self._closed

    def discard(self) -> None:
        """Remove all files of the video, complete or not."""
        self._closed = False
        self._abandon()
        for path in (self.path, self.meta_path, self._part, self._final):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    @abc.abstractmethod
    def _add(self, frame: Any) -> None:
        """Append a frame to the part file."""

    @abc.abstractmethod
    def _finish(self) -> dict[str, Any] | None:
        """Make the final file of the part; return the encoder's version, or None where there was no frame."""

    @abc.abstractmethod
    def _abandon(self) -> None:
        """Let go of the part file; never fails."""

    def _complete(self, version: dict[str, Any]) -> None:
        meta = {"episode_id": self._episode_id, "content_type": self.content_type, "encoder_version": version}
        self._final.replace(self.path)
        self._final.write_text(json.dumps(meta), encoding="utf-8")
        self._final.replace(self.meta_path)
        self._part.unlink()


def open_video(base: Path, mode: str, fps: float, episode_id: int) -> Video:
    """Return a video that has no frame, and no file, yet.

    Args:
        base: the path without suffix; the directory exists.
        mode: the render mode that the frames are of.
        fps: frames per second.
        episode_id: for the metadata.

    Raises:
        MissingDependencyError: the encoder is not installed.
    """
    require(mode)
    if _is_text(mode):
        from .asciicast import Asciicast

        return Asciicast(base, mode, episode_id)
    from .mp4 import Mp4

    return Mp4(base, mode, fps if _is_rate(fps) else DEFAULT_FPS, episode_id)


def require(mode: str) -> None:
    """Raise MissingDependencyError where the encoder for a render mode is not installed."""
    if _is_text(mode):
        return
    try:
        import av
    except ImportError as error:
        # It is a dependency, but a platform may have no build of it, or a library that it is linked to is gone.
        install = f"install it with: {pip_command(REQUIREMENTS['av'])}"
        raise MissingDependencyError(
            f"videos need PyAV, which cannot be loaded ({error}); {install}", package="av"
        ) from None
    if "libx264" not in av.codecs_available:
        raise MissingDependencyError(
            "videos need a PyAV with libx264, and the one installed was built without it; the wheels on PyPI have it: "
            + pip_command("--force-reinstall", "--only-binary=av", REQUIREMENTS["av"]),
            package="av",
        )


def frames_per_second(metadata: Mapping[str, Any]) -> float:
    """Return the frame rate that an environment's metadata names, 30 where it names none."""
    for key in ("render_fps", "video.frames_per_second"):
        if _is_rate(metadata.get(key)):
            return float(metadata[key])
    return DEFAULT_FPS


def _is_rate(value: Any) -> bool:
    if value is None or isinstance(value, (bool, str, bytes)):
        return False
    try:
        rate = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return math.isfinite(rate) and SLOWEST <= rate <= FASTEST


def _is_text(mode: str) -> bool:
    return mode.removesuffix("_list") == "ansi"


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"the video {path.name} cannot be written: {error}") from error
