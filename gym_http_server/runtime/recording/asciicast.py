"""Videos of text frames: asciicast v1, a JSON file of terminal output, as Gym's TextEncoder wrote it.

https://docs.asciinema.org/manual/asciicast/v1/. The part file is an asciicast v2, which is written line by line
(https://docs.asciinema.org/manual/asciicast/v2/): v1 begins with the size of the largest frame, known only at the end.
"""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, TextIO

from ..values.rendered_frame import latest
from .video_file import Video, VideoError

if TYPE_CHECKING:
    from pathlib import Path

CLEAR = "\x1b[2J\x1b[1;1H"

FRAME_SECONDS = 0.5
"""Duration of a frame whatever the environment's frame rate, as in Gym: a text takes time to read."""

ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Control sequences of a terminal (ECMA-48), which have no width."""


class Asciicast(Video):
    """An asciicast of an episode; the arguments are those of `open_video`."""

    content_type = "video/vnd.openai.ansivid"

    def __init__(self, base: Path, mode: str, episode_id: int) -> None:
        super().__init__(base, ".json", episode_id)
        self._mode = mode
        self._file: TextIO | None = None
        self._frames = self._width = self._height = 0

    def _add(self, frame: Any) -> None:
        text = latest(frame, self._mode)
        if not isinstance(text, str):
            raise VideoError(f"render mode {self._mode!r} gave {type(text).__name__}, not a text")
        # Many parsers of JSON refuse lone surrogates.
        lines = text.encode("utf-8", "backslashreplace").decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        # One line and two columns more, as in Gym: players cut off the last ones.
        height, width = len(lines) + 1, max(map(_columns, lines)) + 2
        self._height, self._width = max(self._height, height), max(self._width, width)
        if self._file is None:
            # Line-buffered: the part file of a killed process has all frames.
            self._file = self._part.open("w", encoding="utf-8", newline="\n", buffering=1)
            self._file.write(json.dumps({"version": 2, "width": width, "height": height}) + "\n")
        # Before the write, because the file's buffer keeps a frame that the disk refuses, and writes it with the next.
        self._frames += 1
        shown = CLEAR + "".join(f"{line}\r\n" for line in lines)
        self._file.write(json.dumps([self._frames * FRAME_SECONDS, "o", shown]) + "\n")

    def _finish(self) -> dict[str, Any] | None:
        if self._file is None:
            return None
        self._file.close()
        header = {
            "version": 1,
            "width": self._width,
            "height": self._height,
            "duration": self._frames * FRAME_SECONDS,
            "command": "-",
            "title": "gym VideoRecorder episode",
            "env": {},
        }
        with self._part.open(encoding="utf-8") as part, self._final.open("w", encoding="utf-8", newline="\n") as final:
            final.write(json.dumps(header)[:-1] + ', "stdout": [')
            next(part)
            for number, line in enumerate(part):
                final.write((", " if number else "") + json.dumps([FRAME_SECONDS, json.loads(line)[2]]))
            final.write("]}")
        return {"backend": "TextEncoder", "version": 1}

    def _abandon(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


def _columns(line: str) -> int:
    visible = ESCAPE.sub("", line)
    return len(visible) + sum(unicodedata.east_asian_width(char) in "WF" for char in visible if not char.isascii())
