"""`Footage`: the images of many episodes, one after the other in a few MP4 files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import av

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

FILES_PER_CHUNK: Final = 1000
_OPTIONS: Final = {"crf": "18", "preset": "veryfast", "g": "2", "bf": "0"}
"""A key frame every second frame, because readers of datasets want frames in any order."""


class Footage:
    """Writes videos; call `begin` before the images of each episode.

    Args:
        directory: of the files.
        fps: frames a second.
        max_bytes: size after which an episode begins another file.

    Attributes:
        pixel_format: FFmpeg's name of how pixels are stored; empty before the first image.
    """

    def __init__(self, directory: Path, fps: int, max_bytes: int) -> None:
        self.pixel_format = ""
        self._directory = directory
        self._fps = fps
        self._max_bytes = max_bytes
        self._file = -1
        self._frames = 0
        self._path: Path | None = None
        self._container: Any = None
        self._stream: Any = None

    def begin(self) -> tuple[int, float]:
        """Return the number of the file that the next images come into, and from which second on."""
        if self._path is None or self._path.stat().st_size >= self._max_bytes:
            self.close()
            self._file += 1
            chunk, number = divmod(self._file, FILES_PER_CHUNK)
            self._path = self._directory / f"chunk-{chunk:03d}" / f"file-{number:03d}.mp4"
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            self._frames = 0
        return self._file, self._frames / self._fps

    def add(self, images: np.ndarray[Any, Any]) -> None:
        """Append RGB images, an array of shape (number, height, width, 3)."""
        if self._container is None:
            self._open(*images.shape[1:3])
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = self._frames
            self._frames += 1
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    def close(self) -> None:
        """Finish the current file. Does nothing the second time."""
        if self._container is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
            self._container = self._stream = None

    def _open(self, height: int, width: int) -> None:
        # 4:2:0 has one color for two by two pixels.
        self.pixel_format = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        self._container = av.open(str(self._path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=self._fps, options=_OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, self.pixel_format
