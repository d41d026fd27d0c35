"""`Video`: base class of the formats, with the files of an episode's video and its metadata."""

from __future__ import annotations

import abc
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class VideoError(Exception):
    """A frame does not fit the video, or the video cannot be written."""


class Video(abc.ABC):
    """The video of an episode.

    Args:
        base: the path without suffix.
        suffix: the suffix of the video.
        episode_id: number of the episode, for the metadata.

    Attributes:
        path: the video; exists after `close`.
        meta_path: its metadata; exists after `close`.
    """

    content_type: str

    def __init__(self, base: Path, suffix: str, episode_id: int) -> None:
        # Not Path.with_suffix, because the name contains dots.
        self.path = Path(f"{base}{suffix}")
        self.meta_path = Path(f"{base}.meta.json")
        self._part = Path(f"{self.path}.part")
        self._final = Path(f"{self.path}.final")
        self._episode_id = episode_id
        self._closed: bool | None = None

    def add(self, frame: Any) -> None:
        """Append a frame.

        Raises:
            VideoError: the frame does not fit the format, or cannot be written; further frames can be added.
        """
        if self._closed is not None:
            raise VideoError("the video is closed")
        with _writing(self.path):
            self._add(frame)

    def close(self) -> bool:
        """Finish the video. Return False, and leave no file, if it has no frame.

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
        """Remove all files of the video."""
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
        """Make the final file from the part file; return the encoder's version, or None if there is no frame."""

    @abc.abstractmethod
    def _abandon(self) -> None:
        """Close the part file; never raises."""

    def _complete(self, version: dict[str, Any]) -> None:
        meta = {"episode_id": self._episode_id, "content_type": self.content_type, "encoder_version": version}
        self._final.replace(self.path)
        self._final.write_text(json.dumps(meta), encoding="utf-8")
        self._final.replace(self.meta_path)
        self._part.unlink()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"the video {path.name} cannot be written: {error}") from error
