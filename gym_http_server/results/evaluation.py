"""`Evaluation` and `Curve`: scores and learning curve of a recording, and their JSON form.

A return of NaN counts as -1e100 and ±infinity as ±1e100: JSON has neither, and NaN must not lead the scoreboard.
"""

from __future__ import annotations

import itertools
import math
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import InvalidValueError, NoRecordingError
from ..runtime.messages import JSON_INFINITY
from ..support.deferred import np
from .evaluated_trajectories import EvaluatedTrajectories
from .recording import COMPONENTS, DAMAGE, FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .recording import Recording

WINDOW: Final = 100
"""Number of consecutive episodes whose mean return is a score, as on Gym's scoreboard."""

EVALUATION_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
ENV_ID: Final = re.compile(r"(?:[\w:-]+/)?[\w:-][\w:.-]*")
"""Ids of gym and Gymnasium, except names with a leading dot: an id is a folder of the upload target."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a recording.

    Attributes:
        evaluation_id: time of creation and 8 hex digits.
        env_id: the environment.
        library: library and version of the environment.
        algorithm_id: name of the algorithm, or None.
        created_at: time in UTC, to the millisecond.
        episodes: number of completed episodes.
        total_steps: their total number of steps.
        mean_return: mean of their returns, or None without a completed episode.
        best_mean_return: best mean return of 100 consecutive episodes, or None if there are fewer.
        reward_threshold: mean return of 100 consecutive episodes at which the environment counts as solved, or None.
        episodes_to_threshold: number of episodes before the first 100 consecutive ones that reached it, or None.
        seconds_to_threshold: seconds from the first reset to the end of these episodes, 0 if there are none; or None.
        videos: names of the videos, the earliest first.
        component: the component of the rewards whose returns are the scores; None where rewards are single numbers.
        trajectories: the trajectories beside it; None for none.
    """

    evaluation_id: str
    env_id: str
    library: str
    algorithm_id: str | None
    created_at: datetime
    episodes: int
    total_steps: int
    mean_return: float | None
    best_mean_return: float | None
    reward_threshold: float | None
    episodes_to_threshold: int | None
    seconds_to_threshold: float | None
    videos: tuple[str, ...]
    component: str | None = None
    trajectories: EvaluatedTrajectories | None = None

    @property
    def score(self) -> float | None:
        """The best mean return of 100 consecutive episodes, else the mean of all; None without a completed episode."""
        return self.mean_return if self.best_mean_return is None else self.best_mean_return

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Sort key, the best is the largest: with 100 episodes before fewer, then by score, then by the mean of all."""
        score, mean = (-math.inf if value is None else value for value in (self.score, self.mean_return))
        return self.best_mean_return is not None, score, mean

    def to_json(self) -> dict[str, Any]:
        """Return the contract's `Evaluation` as plain JSON values."""
        created_at = self.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        value = {name: getattr(self, name) for name in _KINDS}
        value |= {"created_at": created_at, "videos": list(self.videos)}
        return value if self.trajectories is None else {**value, "trajectories": self.trajectories.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> Evaluation:
        """Rebuild an evaluation from the value of `to_json`; unknown members are ignored.

        Raises:
            ValueError: it is not such a value.
        """
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY004 -- callers catch ValueError
        members = {name: _checked(name, value.get(name), kinds) for name, kinds in _KINDS.items()}
        if not EVALUATION_ID.fullmatch(members["evaluation_id"]) or not ENV_ID.fullmatch(members["env_id"]):
            raise ValueError("its ids are none")
        if not all(isinstance(name, str) and FILE.fullmatch(name) for name in members["videos"]):
            raise ValueError("videos are no names of files of a recording")
        if members["episodes"] > 0 and members["mean_return"] is None:
            raise ValueError("mean_return is to be a number")
        created_at = datetime.fromisoformat(members["created_at"])
        if created_at.tzinfo is None:
            raise ValueError("created_at has no time zone")
        members |= {"created_at": created_at.astimezone(UTC), "videos": tuple(members["videos"])}
        return cls(**members, trajectories=EvaluatedTrajectories.from_json(value.get("trajectories")))


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve: an entry for each completed episode, in the order in which they ended.

    Attributes:
        episode_returns: sum of the rewards.
        episode_lengths: number of steps.
        running_means: mean return of the episode and up to 99 before it.
        seconds: seconds from the first reset to the end of the episode.
    """

    episode_returns: tuple[float, ...]
    episode_lengths: tuple[int, ...]
    running_means: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, results: Mapping[str, Any], component: str | None = None) -> Curve:
        """Return the curve of the value of `load_results`.

        Args:
            results: that value.
            component: the component of the rewards; None where rewards are single numbers.

        Raises:
            InvalidValueError: an episode has no such component, or without one no return.
            ValueError, TypeError, OverflowError: a value is not a plausible number.
        """
        returns = tuple(finite(float(each)) for each in _returns(results, component))
        ends = [float(timestamp) for timestamp in results["timestamps"]]
        start = float(results["initial_reset_timestamp"])
        if not all(abs(timestamp) < _IMPLAUSIBLE for timestamp in [start, *ends]):
            raise ValueError("timestamps are to be seconds since 1970")
        lengths = tuple(int(length) for length in results["episode_lengths"])
        if not all(0 <= length < _IMPLAUSIBLE for length in lengths):
            raise ValueError("episode lengths are to be numbers of steps")
        return cls(
            episode_returns=returns,
            episode_lengths=lengths,
            running_means=running_means(returns),
            # The clock may have been set back.
            seconds=tuple(max(0.0, end - start) for end in ends),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contract's `LearningCurve` as plain JSON values."""
        # `asdict` would take seconds for a million episodes.
        return {
            "episode_returns": list(self.episode_returns),
            "episode_lengths": list(self.episode_lengths),
            "running_means": list(self.running_means),
            "seconds": list(self.seconds),
        }


def _returns(results: Mapping[str, Any], component: str | None) -> list[Any]:
    returns, by_component = results["episode_rewards"], results.get(COMPONENTS, [])
    names = sorted({name for each in by_component for name in each or ()})
    if component is None:
        if None not in returns:
            return list(returns)
        why = f"name one of its components: {_some(names)}" if names else "the environment gave no rewards"
        raise InvalidValueError(
            f"the recording has episodes without a single return, because their rewards are no single numbers: {why}",
            parameter="component",
        )
    if not names:
        raise InvalidValueError(
            f"the recording has no component {component!r}: its rewards are single numbers, so leave component out",
            parameter="component",
        )
    for number, each in enumerate(by_component):
        if component not in (each or ()):
            raise InvalidValueError(
                f"episode {number} of the recording has no component {component!r}; its components: {_some(names)}",
                parameter="component",
            )
    return [each[component] for each in by_component]


def _some(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name[:64]) for name in names[:most]) + more


def running_means(returns: tuple[float, ...]) -> tuple[float, ...]:
    """Return for each entry the mean of it and up to 99 before it.

    Each window has its own sum: differences of one running sum would lose all digits after an entry of 1e100.
    """
    sums = itertools.accumulate(returns[: WINDOW - 1])
    means = [total / count for count, total in enumerate(sums, 1)]
    if len(returns) >= WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(np.array(returns), WINDOW)
        means += windows.mean(axis=1).tolist()
    return tuple(means)


def evaluate(
    curve: Curve,
    *,
    env_id: str,
    library: str,
    algorithm_id: str | None,
    reward_threshold: float | None,
    videos: tuple[str, ...],
    component: str | None = None,
    trajectories: EvaluatedTrajectories | None = None,
) -> Evaluation:
    """Return a new evaluation; see `Evaluation` for the arguments."""
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    full = curve.running_means[WINDOW - 1 :]
    before = None
    if reward_threshold is not None:
        before = next((index for index, mean in enumerate(full) if mean >= reward_threshold), None)
    return Evaluation(
        evaluation_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        env_id=env_id,
        library=library,
        algorithm_id=algorithm_id,
        created_at=now,
        episodes=len(curve.episode_returns),
        total_steps=sum(curve.episode_lengths),
        mean_return=math.fsum(curve.episode_returns) / len(curve.episode_returns) if curve.episode_returns else None,
        best_mean_return=max(full, default=None),
        reward_threshold=reward_threshold,
        episodes_to_threshold=before,
        seconds_to_threshold=None if before is None else curve.seconds[before - 1] if before else 0.0,
        videos=videos,
        component=component,
        trajectories=trajectories,
    )


def curve_of(recording: Recording, where: str, component: str | None) -> Curve:
    """Return the learning curve of a recording.

    Args:
        recording: the recording.
        where: names it in errors.
        component: the component of the rewards; None where rewards are single numbers.

    Raises:
        NoRecordingError: it is damaged.
        InvalidValueError: an episode has no such component, or without one no return.
    """
    try:
        return Curve.of(recording.results, component)
    except DAMAGE as error:
        raise NoRecordingError(f"the recording in {where!r} is damaged: {error}") from None


def library_of(gym_version: str) -> str:
    """Return library and version; Gym before 0.26 wrote only its version."""
    return f"gym {gym_version}" if re.match(r"\d", gym_version) else gym_version


def finite(value: float) -> float:
    """Return a return as evaluations have it; see the module."""
    return -JSON_INFINITY if math.isnan(value) else min(max(value, -JSON_INFINITY), JSON_INFINITY)


_IMPLAUSIBLE: Final = 1e12
"""Timestamps in seconds and episode lengths in steps must be smaller."""

_NONE = type(None)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "evaluation_id": (str,),
    "env_id": (str,),
    "library": (str,),
    "algorithm_id": (str, _NONE),
    "created_at": (str,),
    "episodes": (int,),
    "total_steps": (int,),
    "mean_return": (float, int, _NONE),
    "best_mean_return": (float, int, _NONE),
    "reward_threshold": (float, int, _NONE),
    "episodes_to_threshold": (int, _NONE),
    "seconds_to_threshold": (float, int, _NONE),
    "videos": (list,),
    "component": (str, _NONE),
}


def _checked(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{name} is to be of another type")  # noqa: TRY004 -- callers catch ValueError
    if float not in kinds or value is None:
        return value
    number = float(cast("float", value))
    if not math.isfinite(number):
        raise ValueError(f"{name} is to be finite")
    return number
