"""The figures of an evaluation, against the plainest reading of what they mean."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.results.evaluation import Curve, Evaluation, evaluate

RETURNS = st.lists(st.one_of(st.integers(-3, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=260)


def made(returns: list[Any], threshold: float | None = None, **changed: Any) -> tuple[Evaluation, Curve]:
    results = {
        "episode_rewards": returns,
        "episode_lengths": [2] * len(returns),
        "timestamps": [100.0 + 0.5 * index for index in range(len(returns))],
        "initial_reset_timestamp": 99.0,
        **changed,
    }
    curve = Curve.of(results)
    words = {"env_id": "CartPole-v1", "library": "gymnasium 1.4.0", "algorithm_id": None, "videos": ()}
    return evaluate(curve, reward_threshold=threshold, **words), curve


@settings(deadline=None)
@given(RETURNS, st.floats(-3, 3))
def test_the_figures_are_those_of_a_naive_model(returns: list[float], threshold: float) -> None:
    """Means by the textbook, over every hundred consecutive episodes."""
    evaluation, curve = made(returns, threshold)
    windows = [returns[index : index + 100] for index in range(len(returns) - 99)]
    near = {"rel": 1e-9, "abs": 1e-6}
    assert evaluation.mean_return == pytest.approx(statistics.fmean(returns), **near)
    assert evaluation.episodes == len(returns)
    assert evaluation.total_steps == 2 * len(returns)
    for index, mean in enumerate(curve.running_means):
        assert mean == pytest.approx(statistics.fmean(returns[max(0, index - 99) : index + 1]), **near)
    assert (evaluation.best_mean_return is None) == (not windows)
    if windows:
        assert evaluation.best_mean_return == pytest.approx(max(map(statistics.fmean, windows)), **near)
    reached = [index for index, mean in enumerate(curve.running_means[99:]) if mean >= threshold]
    assert evaluation.episodes_to_threshold == (reached[0] if reached else None)
    assert (evaluation.seconds_to_threshold is None) == (not reached)
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize(
    ("returns", "episodes", "seconds"),
    [
        ([1.0] * 100, 0, 0.0),
        ([1.0] * 99, None, None),
        ([0.0] * 30 + [1.0] * 100, 30, 15.5),
        ([0.0] * 300, None, None),
        ([0.0] * 100 + [1.0] * 100 + [0.0] * 100, 100, 50.5),
    ],
)
def test_the_way_to_the_threshold_ends_before_the_hundred_that_reached_it(
    returns: list[float], episodes: int | None, seconds: float | None
) -> None:
    """Episodes before the first hundred whose mean reached it, and the time from the first reset to their end."""
    evaluation, _ = made(returns, 1.0)
    assert (evaluation.episodes_to_threshold, evaluation.seconds_to_threshold) == (episodes, seconds)


def test_without_a_threshold_there_is_no_way_to_it() -> None:
    """The two figures are null."""
    evaluation, _ = made([1.0] * 200)
    assert (evaluation.reward_threshold, evaluation.episodes_to_threshold, evaluation.seconds_to_threshold) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_returns_that_json_does_not_know_are_bounded(bad: float) -> None:
    """Not a number counts as the worst, infinities as ±1e100, and every figure is a finite number."""
    evaluation, curve = made([1.0] * 150 + [bad] + [2.0] * 150, 1.0)
    assert abs(curve.episode_returns[150]) == 1e100
    assert curve.episode_returns[150] == (-1e100 if math.isnan(bad) else math.copysign(1e100, bad))
    assert all(map(math.isfinite, [*curve.running_means, evaluation.mean_return, evaluation.best_mean_return]))
    assert curve.running_means[-1] == 2.0


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    """Seconds begin at 0."""
    evaluation, curve = made([1.0] * 101, 2.0, initial_reset_timestamp=120.0)
    assert min(curve.seconds) == 0.0
    assert evaluation.seconds_to_threshold is None


@pytest.mark.parametrize(
    "changed",
    [
        {"timestamps": [math.nan]},
        {"initial_reset_timestamp": math.inf},
        {"episode_rewards": ["much"]},
        {"episode_lengths": [None]},
        {"episode_lengths": [-1]},
        {"episode_lengths": [10**30]},
        {"timestamps": [1e308]},
        {"initial_reset_timestamp": -1e308},
        {"episode_rewards": [10**400]},
    ],
)
def test_what_is_no_number_is_refused(changed: dict[str, Any]) -> None:
    """The reader of recordings makes a NoRecordingError of it."""
    with pytest.raises((ValueError, TypeError, OverflowError)):
        made([1.0], **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"evaluation_id": "../x"},
        {"evaluation_id": None},
        {"env_id": "../../etc"},
        {"env_id": "a/.."},
        {"env_id": "a/b/c"},
        {"env_id": ""},
        {"episodes": True},
        {"episodes": 1.5},
        {"mean_return": None},
        {"mean_return": math.nan},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01"},
        {"videos": ["../../etc/passwd"]},
        {"videos": ["openaigym./../x"]},
        {"videos": [5]},
        {"videos": "openaigym.x"},
        {"algorithm_id": 5},
    ],
)
def test_what_is_no_evaluation_is_refused(changed: dict[str, Any]) -> None:
    """Nothing that is read from a target becomes a path or a figure unchecked."""
    value = made([1.0])[0].to_json()
    assert Evaluation.from_json({**value, "more": 1}).to_json() == value
    with pytest.raises(ValueError, match=r"."):
        Evaluation.from_json({**value, **changed})
    with pytest.raises(ValueError, match="no JSON object"):
        Evaluation.from_json([])


def test_what_has_a_hundred_episodes_ranks_before_what_has_not() -> None:
    """Then the better mean."""
    few, many, more = made([9.0] * 99)[0], made([1.0] * 100)[0], made([0.0] * 50 + [2.0] * 100)[0]
    assert more.rank > many.rank > few.rank
    assert (few.score, more.score) == (9.0, 2.0)
