"""What viewers are told of an instance: its latest step, its current episodes, and the returns of its latest ones.

A step keeps references and adds to two sums. What they refer to is read and encoded only when somebody looks, between two calls.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..recording.component_returns import ComponentReturns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..values.outcomes import Parts

Array: TypeAlias = "np.ndarray[Any, Any]"

MAX_EPISODES: Final = 500
"""Number of episodes whose returns are kept."""

NO_STEP: Final = (None, None, None, False, False)
"""The latest step of an episode that has just begun: action, reward, parts of the outcome, terminated, truncated."""


class LatestEpisodes:
    """Number, lane, return and length of the latest episodes that ended."""

    def __init__(self) -> None:
        self._count = 0
        self._latest: collections.deque[tuple[int, int, float | None, int]] = collections.deque(maxlen=MAX_EPISODES)

    def add(self, lane: int, total: float | None, length: int) -> None:
        """Add an episode."""
        self._count += 1
        self._latest.append((self._count, lane, total, length))

    def after(self, number: int) -> list[dict[str, Any]]:
        """Return the kept episodes that ended after the one with this number, counted from 1, in order."""
        return [
            {"number": each, "lane": lane, "return": total, "length": length}
            for each, lane, total, length in self._latest
            if each > number
        ]


class LiveEpisode:
    """The latest step and the current episode of a single environment.

    Attributes:
        episodes: its latest episodes.
    """

    def __init__(self) -> None:
        self.episodes = LatestEpisodes()
        self._components = ComponentReturns()
        self._step: tuple[Any, float | None, Parts | None, bool, bool] = NO_STEP
        self._total, self._length = 0.0, 0

    def began(self) -> None:
        """Record that an episode began."""
        self._step = NO_STEP
        self._total, self._length = 0.0, 0
        self._components.begin((0,))

    def stepped(
        self, action: Any, reward: float | None, parts: Parts | None, terminated: bool, truncated: bool
    ) -> None:
        """Record a step; `reward` is the single one, None where there is none."""
        self._step = action, reward, parts, terminated, truncated
        self._length += 1
        if reward is None:
            self._components.add(0, None if parts is None else parts.get("rewards"))
        else:
            self._total += reward
        if terminated or truncated:
            total, length, _ = self._components.end(0, self._total, self._length)
            self.episodes.add(0, total, length)

    @property
    def state(self) -> Any:
        """What a snapshot saves, of values that do not change."""
        return self._step, self._total, self._length

    @state.setter
    def state(self, saved: Any) -> None:
        self._step, self._total, self._length = saved
        self._components.begin((0,))

    def told(self) -> dict[str, Any]:
        """Return the members of the contract's `LiveLane` but for the observation, and the action as it was taken."""
        action, reward, parts, terminated, truncated = self._step
        return {
            "action": action,
            "reward": reward,
            **(parts or {}),
            "terminated": terminated,
            "truncated": truncated,
            "return": self._total,
            "length": self._length,
        }


class LiveLanes:
    """The latest step and the current episodes of the lanes of a batch.

    Args:
        lanes: number of lanes.

    Attributes:
        episodes: the latest episodes of all lanes.
    """

    def __init__(self, lanes: int) -> None:
        self.episodes = LatestEpisodes()
        self._components = ComponentReturns()
        self._actions: Any = None
        self._outcome: tuple[Array, list[Parts | None] | None, Array, Array] | None = None
        self._totals = np.zeros(lanes)
        # The number of steps of the batch, and those before the current episode of each lane.
        self._steps = 0
        self._begins = np.zeros(lanes, np.int64)

    def began(self, lanes: Array) -> None:
        """Record that episodes began in the lanes of a mask."""
        if lanes.all():
            self._actions = self._outcome = None
        self.lanes_reset(lanes)

    def lanes_reset(self, lanes: Array) -> None:
        """Record that the latest step, or the end of it, was a reset in the lanes of a mask."""
        self._totals[lanes] = 0.0
        self._begins[lanes] = self._steps
        self._components.begin(np.flatnonzero(lanes).tolist())

    def stepped(
        self,
        actions: Any,
        rewards: Array,
        parts: list[Parts | None] | None,
        terminated: Array,
        truncated: Array,
        ended: Array | None,
    ) -> None:
        """Record a step of all lanes.

        Args:
            actions: the actions of the lanes, in the form of their space.
            rewards: the single reward of each lane; NaN where there is none.
            parts: the parts of each lane's outcome; None if no lane has any.
            terminated: where a terminal state was reached.
            truncated: where an episode was cut off.
            ended: where an episode ended; None where none did.
        """
        self._actions = actions
        self._outcome = rewards, parts, terminated, truncated
        self._steps += 1
        if parts is not None:
            for lane in np.flatnonzero(np.isnan(rewards)).tolist():
                part = parts[lane]
                self._components.add(lane, None if part is None else part.get("rewards"))
            rewards = np.nan_to_num(rewards)
        self._totals += rewards
        if ended is not None:
            for lane in np.flatnonzero(ended).tolist():
                length = self._steps - int(self._begins[lane])
                total, length, _ = self._components.end(lane, float(self._totals[lane]), length)
                self.episodes.add(lane, total, length)

    @property
    def state(self) -> Any:
        """What a snapshot saves."""
        return self._actions, self._outcome, self._totals.copy(), self._steps - self._begins

    @state.setter
    def state(self, saved: Any) -> None:
        self._actions, self._outcome, totals, lengths = saved
        self._totals, self._begins = totals.copy(), self._steps - lengths
        self._components.begin(range(len(totals)))

    @property
    def actions(self) -> Any:
        """The actions of the latest step; None before the first."""
        return self._actions

    def told(self, lane: int) -> Mapping[str, Any]:
        """Return the members of the contract's `LiveLane` of a lane but for action and observation."""
        reward, parts, terminated, truncated = None, None, False, False
        if self._outcome is not None:
            rewards, all_parts, ends, cuts = self._outcome
            reward, terminated, truncated = float(rewards[lane]), bool(ends[lane]), bool(cuts[lane])
            parts = None if all_parts is None else all_parts[lane]
        return {
            "reward": None if reward is None or np.isnan(reward) else reward,
            **(parts or {}),
            "terminated": terminated,
            "truncated": truncated,
            "return": float(self._totals[lane]),
            "length": self._steps - int(self._begins[lane]),
        }
