"""`CountingStepper`: the returns that a replay gives, counted as a monitor does; and their comparison with an evaluation."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..results.evaluation import WINDOW, Curve, finite, running_means
from ..runtime.recording.component_returns import ComponentReturns
from ..runtime.values.outcomes import NUMBERS, reduced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.evaluation import Evaluation
    from .stepper import ServedStepper


class Claim(NamedTuple):
    """What an evaluation says of an episode, and a replay gives: its return, and its number of steps."""

    episode_return: float
    length: int


class CountingStepper:
    """A stepper that counts the return of the current episode.

    Args:
        stepper: the environment.
        component: the component of the rewards; None where they are single numbers.
        begin: called when an episode begins, with this stepper.
        is_lane: give rewards as a batch does, of NumPy's type.
    """

    def __init__(
        self,
        stepper: ServedStepper,
        component: str | None,
        begin: Callable[[CountingStepper], None],
        *,
        is_lane: bool = False,
    ) -> None:
        self._stepper = stepper
        self._is_lane = is_lane
        self._begin = begin
        self._component = component
        self._components = ComponentReturns()
        self._return, self._length = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start an episode; return its first observation and info."""
        self._return, self._length = 0.0, 0
        self._components.begin((0,))
        self._begin(self)
        return self._stepper.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take one action; return observation, reward, terminated, truncated and info."""
        observation, reward, terminated, truncated, info = self._stepper.step(action)
        number: float | None
        if type(reward) in NUMBERS:
            number, parts = float(reward), None
        else:
            number, _, _, parts = reduced(reward, terminated, truncated)
        if number is None:
            self._components.add(0, None if parts is None else parts.get("rewards"))
        else:
            self._return += number
            if self._is_lane:
                reward = np.float64(number)
        self._length += 1
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Close the environment."""
        self._stepper.close()

    def claim(self) -> Claim:
        """Return what the episode that is over gave; a return of NaN where it has none."""
        total, length, by_component = self._components.end(0, self._return, self._length)
        if self._component is not None:
            total = (by_component or {}).get(self._component)
        return Claim(math.nan if total is None else total, length)


def difference(evaluation: Evaluation, curve: Curve, replayed: Sequence[Claim]) -> tuple[int | None, str] | None:
    """Return the first difference between what an evaluation claims and what a replay gives; None if there is none.

    Args:
        evaluation: the evaluation.
        curve: its learning curve, from the uploaded files.
        replayed: what the replay gives for as many episodes, in the order in which they ended.

    Returns:
        The episode's place in the order of ends, None where it is a score of all; and the difference in words.
    """
    claims = [Claim(*pair) for pair in zip(curve.episode_returns, curve.episode_lengths, strict=True)]
    given = [Claim(finite(claim.episode_return), claim.length) for claim in replayed]
    # Episodes of several lanes may end in one step, and then have no order.
    at = 0
    for _, same in itertools.groupby(curve.seconds):
        end = at + len(list(same))
        for place, (claim, other) in enumerate(zip(sorted(claims[at:end]), sorted(given[at:end]), strict=True), at):
            if claim != other:
                return place, (
                    f"a return of {claim.episode_return:.17g} in {claim.length} steps is claimed, and the replay gives "
                    f"{other.episode_return:.17g} in {other.length}"
                )
        at = end
    means = running_means(tuple(claim.episode_return for claim in claims))
    scores: dict[str, float | None] = {
        "episodes": len(claims),
        "total_steps": sum(claim.length for claim in claims),
        "mean_return": math.fsum(claim.episode_return for claim in claims) / len(claims) if claims else None,
        "best_mean_return": max(means[WINDOW - 1 :], default=None),
    }
    for name, score in scores.items():
        claimed = getattr(evaluation, name)
        if not _is_close(claimed, score):
            return None, f"{name} is claimed to be {claimed}, and the replay gives {score}"
    return None


def _is_close(claimed: float | None, score: float | None) -> bool:
    if claimed is None or score is None:
        return claimed is score
    return math.isclose(claimed, score, rel_tol=1e-9)
