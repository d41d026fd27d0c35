"""Videos of an evaluation or a recording: their file names, and responses to range requests."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import flask
from werkzeug.http import parse_range_header
from werkzeug.wsgi import FileWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment

# A browser requests the whole rest of a video and stops reading while it has enough. It gets one piece, read at once, so that no
# file stays open while a video is paused, and then requests the next.
MAX_PIECE_BYTES = 1 << 20
# Evaluations never change.
MAX_AGE_SECONDS = 86400

_EPISODE = re.compile(r"\.video(\d{1,15})\.(?:mp4|json)\Z", re.ASCII)
_TYPES = {"film": "video/mp4", "cast": "application/json", "file": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class VideoFile:
    """One video.

    Attributes:
        name: file name.
        episode: number of its episode, from 0; None if the name has none.
        kind: `film` for MP4, `cast` for an asciicast, `file` for anything else.
    """

    name: str
    episode: int | None
    kind: str

    @classmethod
    def of(cls, name: str) -> VideoFile:
        """Return the video of a file name."""
        match = _EPISODE.search(name)
        kind = "film" if name.endswith(".mp4") else "cast" if name.endswith(".json") else "file"
        return cls(name, int(match[1]) if match else None, kind)

    @property
    def title(self) -> str:
        """Its caption."""
        return self.name if self.episode is None else f"Episode {self.episode:,}"


def in_order(names: Iterable[str]) -> list[VideoFile]:
    """Return the videos of file names by episode, those without one last."""
    videos = [VideoFile.of(name) for name in names]
    return sorted(videos, key=lambda video: (video.episode is None, video.episode or 0, video.name))


def film_of(names: Iterable[str], episode: int) -> VideoFile | None:
    """Return the one film of an episode among the videos of these names; None if there is none, or more."""
    films = [each for each in in_order(names) if each.kind == "film" and each.episode == episode]
    return films[0] if len(films) == 1 else None


def reply(key: str, name: str, file: BinaryIO, max_age: int = MAX_AGE_SECONDS) -> flask.Response:
    """Return the response that sends a video, or the range of the current request, and closes the file.

    Args:
        key: with its name and size it tells the video from all others.
        name: its file name.
        file: the video.
        max_age: seconds for which a browser need not ask again whether it has changed.
    """
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        kind = VideoFile.of(name).kind
        response = flask.Response(FileWrapper(file, MAX_PIECE_BYTES), content_type=_TYPES[kind])
        response.content_length = size
        if kind == "file":
            # A browser would show an uploaded HTML file as a page of this server.
            response.headers.set("Content-Disposition", "attachment", filename=name)
        etag = hashlib.sha256(f"{key}/{name}/{size}".encode()).hexdigest()[:32]
        response.set_etag(etag)
        response.cache_control.private = True
        response.cache_control.max_age = max_age
        environ = _bounded(flask.request.environ, size)
        if flask.request.if_none_match.contains_weak(etag):
            # A cache that validates a part is told that it is valid (RFC 9110, 13.2.2); werkzeug would send the part.
            environ = {name: value for name, value in environ.items() if name != "HTTP_RANGE"}
        response.make_conditional(environ, accept_ranges=True, complete_length=size)
        if response.status_code in (200, 206) and response.content_length <= MAX_PIECE_BYTES:
            response.set_data(response.get_data())
    except BaseException:
        file.close()
        raise
    return response


def _bounded(environ: WSGIEnvironment, size: int) -> WSGIEnvironment:
    requested = parse_range_header(environ.get("HTTP_RANGE"))
    span = requested.range_for_length(size) if requested else None
    # werkzeug handles anything but a single valid range. One with an end is a cache's, which takes what comes for all of it.
    if requested is None or span is None or requested.ranges[0][1] is not None:
        return environ
    start, stop = span
    return {**environ, "HTTP_RANGE": f"bytes={start}-{min(stop, start + MAX_PIECE_BYTES) - 1}"}
