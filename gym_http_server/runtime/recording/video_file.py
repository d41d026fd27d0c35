"""`Video`: the file of one episode's frames, whatever its format, and its metadata."""

from __future__ import annotations

import abc
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"the video {path.name} cannot be written: {error}") from error
