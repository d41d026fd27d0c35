"""`ComponentReturns`: the returns of episodes whose rewards are no single numbers, by component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..values.outcomes import components

if TYPE_CHECKING:
    from collections.abc import Iterable


class ComponentReturns:
    """The sums of each component, in the current episode of each lane and over all complete episodes."""

    def __init__(self) -> None:
        # Of the current episode, by lane: the sums, and the number of steps whose reward was no single number.
        self._sums: dict[int, dict[str, float]] = {}
        self._steps: dict[int, int] = {}
        # Of the complete episodes, by component: their number and the sum of their returns.
        self._totals: dict[str, tuple[int, float]] = {}
        self._last: dict[str, float] = {}

    def begin(self, lanes: Iterable[int]) -> None:
        """Forget the current episodes of some lanes."""
        if self._steps:
            for lane in lanes:
                self._steps.pop(lane, None)
                self._sums.pop(lane, None)

    def add(self, lane: int, rewards: Any) -> None:
        """Add the reward of a step: several, or None where the environment gave none."""
        self._steps[lane] = self._steps.get(lane, 0) + 1
        sums = self._sums.setdefault(lane, {})
        for name, value in components(rewards).items():
            sums[name] = sums.get(name, 0.0) + value

    def end(self, lane: int, total: float, length: int) -> tuple[float | None, int, dict[str, float] | None]:
        """Return return, length and returns by component of a complete episode; a return of None if no reward was a number."""
        if lane not in self._steps:
            return total, length, None
        returns = self._sums.pop(lane)
        for name, value in returns.items():
            count, sum_of_returns = self._totals.get(name, (0, 0.0))
            self._totals[name] = count + 1, sum_of_returns + value
        self._last = returns
        return None if self._steps.pop(lane) == length else total, length, returns or None

    def state(self) -> dict[str, Any]:
        """Return the members of the contract's `MonitorState` about components; none before there were any."""
        if not self._totals:
            return {}
        means = {name: total / count for name, (count, total) in self._totals.items()}
        return {"last_component_returns": self._last, "mean_component_returns": means}
