"""The scoreboard: the best evaluations of each environment, and a page for each evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import flask
from werkzeug.exceptions import NotFound

from ..verification.dataset import missing_package
from . import videos
from .plot import NARROW, WIDE, learning_curve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results.evaluation import Curve, Evaluation
    from ..results.scoreboard import Results
    from ..results.verifications import Verification
    from ..verification.verifier import Replays

# Rows of a table.
MAX_ALGORITHMS = 10
MAX_NEWEST = 10
MAX_EPISODES = 10
# Videos that are loaded with the page, a request for each; others are fetched when they are played.
MAX_PRELOADED_VIDEOS = 12
# Steps a second in which an episode can be played.
PLAY_RATES = (1, 2, 5, 10, 20, 30)
UNNAMED = "Unnamed algorithm"

scoreboard = flask.Blueprint("scoreboard", __name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table of evaluations; `rank` is None in a table without ranks."""

    evaluation: Evaluation
    verification: Verification | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The best evaluations of one environment and component of its rewards, one for each algorithm, the best first."""

    env_id: str
    component: str | None
    rows: list[Row]

    @property
    def threshold(self) -> float | None:
        """Score at which the environment counts as solved."""
        thresholds = (row.evaluation.reward_threshold for row in self.rows)
        return next((threshold for threshold in thresholds if threshold is not None), None)


@scoreboard.get("/scoreboard", strict_slashes=False)
def board() -> str:
    """The best score of each algorithm in each environment, and the newest evaluations."""
    env_id = flask.request.args.get("env_id") or None
    verified = flask.request.args.get("verified") == "1"
    groups = _groups(_results().best(verified=verified))
    newest = _results().evaluations(env_id, "newest")
    if verified:
        newest = [each for each in newest if _results().is_verified(each)]
    return flask.render_template(
        "scoreboard.html",
        env_id=env_id,
        verified=verified,
        env_ids=list(dict.fromkeys(group.env_id for group in groups)),
        groups=[group for group in groups if env_id in (None, group.env_id)],
        most=MAX_ALGORITHMS if env_id is None else None,
        newest=[Row(each, _verification(each)) for each in newest[:MAX_NEWEST]],
        count=len(newest),
        address=flask.request.url_root.rstrip("/"),
    )


@scoreboard.get("/scoreboard/<evaluation_id>", strict_slashes=False)
def evaluation(evaluation_id: str) -> str:
    """An evaluation's scores, learning curve and videos."""
    shown, curve = _results().get(evaluation_id), _results().curve(evaluation_id)
    return flask.render_template(
        "evaluation.html",
        evaluation=shown,
        verification=_verification(shown),
        no_dataset=missing_package(),
        where={"evaluation_id": evaluation_id},
        what=f"{shown.algorithm_id or UNNAMED} in {shown.env_id}",
        # Episodes of several lanes begin in another order than they end, and some were cut short.
        numbers=range(shown.episodes) if _is_numbered(shown) else None,
        **learned(curve, shown.videos, shown.reward_threshold),
    )


def learned(curve: Curve, names: Iterable[str], threshold: float | None) -> dict[str, Any]:
    """Return what the template `learned.html` shows of a curve and videos."""
    columns = (curve.episode_returns, curve.running_means, curve.episode_lengths, curve.seconds)
    last = list(enumerate(zip(*columns, strict=True)))[-MAX_EPISODES:]
    return {
        "episodes": len(curve.episode_returns),
        "plots": [learning_curve(curve, threshold, shape) for shape in (WIDE, NARROW)],
        "reward_threshold": threshold,
        "seconds": curve.seconds[-1] if curve.seconds else None,
        "last": last[::-1],
        "videos": videos.in_order(names),
        "max_preloaded": MAX_PRELOADED_VIDEOS,
    }


@scoreboard.get("/scoreboard/<evaluation_id>/videos/<name>")
def video(evaluation_id: str, name: str) -> flask.Response:
    """A video's file, or a range of it."""
    return videos.reply(evaluation_id, name, _results().open_file(evaluation_id, name))


@scoreboard.get("/scoreboard/<evaluation_id>/episodes/<int:number>")
def episode(evaluation_id: str, number: int) -> str:
    """A recorded episode, to scrub through."""
    shown = _results().get(evaluation_id)
    trajectories = shown.trajectories
    if trajectories is None or number >= trajectories.recorded:
        raise NotFound(f"Evaluation {evaluation_id} has no recorded episode {number}")
    where: dict[str, Any] = {"evaluation_id": evaluation_id}
    # Of several recordings in one, each counts its videos from 0.
    film = videos.film_of(shown.videos, number) if len(trajectories.files) == 1 else None
    return flask.render_template(
        "episode.html",
        number=number,
        count=trajectories.recorded,
        where=where,
        what=f"{shown.algorithm_id or UNNAMED} in {shown.env_id}",
        crumbs=(
            ("Scoreboard", flask.url_for(".board")),
            (shown.env_id, flask.url_for(".board", env_id=shown.env_id)),
            (shown.algorithm_id or UNNAMED, flask.url_for(".evaluation", **where)),
        ),
        api=flask.url_for("pages.episode", number=number, **where),
        film=film,
        rates=PLAY_RATES,
    )


def _results() -> Results:
    return cast("Results", flask.current_app.extensions["results"])


def _is_numbered(evaluation: Evaluation) -> bool:
    """Return whether the recorded episodes have the numbers of the completed ones."""
    trajectories = evaluation.trajectories
    if trajectories is None or (trajectories.environment or {}).get("num_envs") is not None:
        return False
    return trajectories.recorded == trajectories.episodes == evaluation.episodes


def _verification(evaluation: Evaluation) -> Verification | None:
    replays: Replays | None = flask.current_app.extensions["replays"]
    return _results().verification(evaluation) if replays is None else replays.verifier.of(evaluation)


def _groups(best: Iterable[Evaluation]) -> list[Group]:
    by_component = groupby(best, key=lambda each: (each.env_id, each.component))
    return [Group(env_id, component, _ranked(rows)) for (env_id, component), rows in by_component]


def _ranked(evaluations: Iterable[Evaluation]) -> list[Row]:
    rows: list[Row] = []
    previous = None
    for place, evaluation in enumerate(evaluations, 1):
        score = evaluation.score, evaluation.best_mean_return is None
        # Many environments have a maximum score: all that reach it share a rank.
        rank = rows[-1].rank if score == previous else place
        rows.append(Row(evaluation, _verification(evaluation), rank))
        previous = score
    return rows
