"""Evaluations in memory, for the tests of the scoreboard."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gym_http_server.errors import UnknownEvaluationError, UploadTargetError


@dataclass(frozen=True)
class Evaluation:
    evaluation_id: str = "20261123T093112-5f2b9c1e"
    env_id: str = "CartPole-v1"
    library: str = "gymnasium 1.4.0"
    algorithm_id: str | None = "ppo"
    created_at: datetime = datetime(2026, 11, 23, 9, 31, 12, tzinfo=UTC)
    episodes: int = 300
    total_steps: int = 118034
    mean_return: float = 393.446
    best_mean_return: float | None = 490.674
    reward_threshold: float | None = 475.0
    episodes_to_threshold: int | None = 72
    seconds_to_threshold: float | None = 116.0
    videos: tuple[str, ...] = ()
    component: str | None = None
    trajectories: None = None

    @property
    def score(self):
        return self.mean_return if self.best_mean_return is None else self.best_mean_return


@dataclass(frozen=True)
class Curve:
    episode_returns: tuple[float, ...]
    episode_lengths: tuple[int, ...]
    running_means: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, returns):
        """Return the curve of episodes with these returns, of ten steps and a tenth of a second each."""
        means = [sum(part) / len(part) for part in (returns[max(0, n - 99) : n + 1] for n in range(len(returns)))]
        seconds = tuple((n + 1) / 10 for n in range(len(returns)))
        return cls(tuple(returns), (10,) * len(returns), tuple(means), seconds)


@dataclass
class Results:
    all: list[Evaluation] = field(default_factory=list)
    returns: list[float] = field(default_factory=lambda: [float(min(500, 20 + 3 * n)) for n in range(300)])
    files: dict[str, bytes] = field(default_factory=dict)
    opened: list[io.BytesIO] = field(default_factory=list)
    down: bool = False

    def evaluations(self, env_id=None, order="newest"):
        self._reach()
        assert order == "newest"
        chosen = [each for each in self.all if env_id in (None, each.env_id)]
        return sorted(chosen, key=lambda each: each.created_at, reverse=True)

    def best(self, *, verified=False):
        if verified:
            return []
        self._reach()
        return sorted(self.all, key=lambda each: (each.env_id, -(each.best_mean_return or each.mean_return)))

    def get(self, evaluation_id):
        self._reach()
        for each in self.all:
            if each.evaluation_id == evaluation_id:
                return each
        raise UnknownEvaluationError(f"there is no evaluation {evaluation_id!r}")

    def curve(self, evaluation_id):
        self.get(evaluation_id)
        return Curve.of(self.returns)

    def open_file(self, evaluation_id, name):
        if name not in self.get(evaluation_id).videos:
            raise UnknownEvaluationError(f"{evaluation_id} has no video {name!r}")
        self.opened.append(io.BytesIO(self.files[name]))
        return self.opened[-1]

    def verification(self, _evaluation):
        return None

    def is_verified(self, _evaluation):
        return False

    def _reach(self):
        if self.down:
            raise UploadTargetError("cannot read s3://results: Access Denied")
