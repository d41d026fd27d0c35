"""Pages of the recordings that lie on the server's machine, and of their episodes."""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING, Any, cast

import flask
from werkzeug.exceptions import NotFound

from ..errors import NoRecordingError, UnknownEpisodeError
from ..results.evaluation import curve_of
from ..results.recording import COMPONENTS
from ..verification.dataset import missing_package
from . import videos
from .scoreboard import PLAY_RATES, learned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..results.recordings import Recordings
    from ..results.scoreboard import Results
    from ..results.trajectories import Trajectories

MAX_ROWS = 200

recordings = flask.Blueprint("recordings", __name__)


@recordings.get("/recordings", strict_slashes=False)
def listing() -> str:
    """The recordings in the results roots, the newest first."""
    found, is_complete = _recordings().search()
    return flask.render_template(
        "recordings.html",
        rows=[_recordings().describe(*each) for each in found[:MAX_ROWS]],
        count=len(found),
        is_complete=is_complete,
        roots=[str(path) for path in _results().roots.paths],
        address=flask.request.url_root.rstrip("/"),
    )


@recordings.get("/recordings/details", strict_slashes=False)
def recording() -> str:
    """A recording: its curve, its videos and its episodes."""
    directory = _directory()
    described = _recordings().describe(directory)
    if described.problem is not None:
        raise NoRecordingError(described.problem)
    read = _recordings().read(directory)
    names = [name for name, is_video in _recordings().videos(directory, read).items() if is_video]
    components = sorted({name for each in read.results.get(COMPONENTS, ()) for name in each or ()})
    component = flask.request.args.get("component", components[0] if components else None)
    curve = curve_of(read, str(directory), component)
    recorded, numbers = 0, None
    if described.trajectories != "none":
        with _recordings().open_trajectories(directory) as trajectories:
            recorded, numbers = trajectories.count(), _numbers(trajectories, len(curve.episode_returns))
    return flask.render_template(
        "recording.html",
        recording=described,
        recorded=recorded,
        components=components,
        component=component,
        steps=sum(curve.episode_lengths),
        mean_return=math.fsum(curve.episode_returns) / max(1, len(curve.episode_returns)),
        no_dataset=missing_package(),
        where={"directory": str(directory)},
        what=f"{described.env_id} in {directory}",
        numbers=numbers,
        **learned(curve, names, None),
    )


@recordings.get("/recordings/videos/<name>")
def video(name: str) -> flask.Response:
    """A video's file, or a range of it."""
    directory = _directory()
    file = _recordings().open_video(directory, name)
    # Another recording may be in the directory tomorrow.
    return videos.reply(f"{directory}/{os.fstat(file.fileno()).st_mtime_ns}", name, file, max_age=0)


@recordings.get("/recordings/episodes/<int:number>")
def episode(number: int) -> str:
    """A recorded episode, to scrub through."""
    directory = _directory()
    described = _recordings().describe(directory)
    with _recordings().open_trajectories(directory) as trajectories:
        count = trajectories.count()
    if number >= count:
        raise UnknownEpisodeError(f"the recording in {str(directory)!r} has {count} recorded episodes, and no {number}")
    film = None
    # A recording whose statistics are damaged has episodes all the same.
    with contextlib.suppress(NoRecordingError):
        read = _recordings().read(directory)
        # Of several recordings in one, each counts its videos from 0.
        if len(read.trajectories) == 1:
            names = _recordings().videos(directory, read)
            film = videos.film_of([name for name, is_video in names.items() if is_video], number)
    where: dict[str, Any] = {"directory": str(directory)}
    return flask.render_template(
        "episode.html",
        number=number,
        count=count,
        where=where,
        what=described.env_id,
        crumbs=(
            ("Recordings", flask.url_for(".listing")),
            (str(directory), flask.url_for(".recording", **where)),
        ),
        api=flask.url_for("pages.recorded_episode", number=number, **where),
        film=film,
        rates=PLAY_RATES,
    )


def _numbers(trajectories: Trajectories, completed: int) -> Sequence[int] | None:
    """Return the numbers of the completed episodes in the order in which they ended; None where that is not known."""
    # Those of several lanes may end in one step.
    numbers = trajectories.completed() if trajectories.num_envs is None else ()
    return numbers if len(numbers) == completed else None


def _directory() -> Path:
    named = flask.request.args.get("directory")
    if not named:
        raise NotFound("The address of a recording names its directory: choose one of the recordings")
    return _results().roots.resolve(named)


def _results() -> Results:
    return cast("Results", flask.current_app.extensions["results"])


def _recordings() -> Recordings:
    return _results().recordings
