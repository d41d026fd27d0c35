"""Rollouts: many steps in one call, collected and stacked into arrays."""

from __future__ import annotations

import abc
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, GraphInstance, MultiBinary, MultiDiscrete, Space, Tuple

from ...errors import InvalidActionError, InvalidValueError, ReplyTooLargeError, RolloutTimeoutError
from ..messages import JSON, MSGPACK, Reply
from ..values.codec import encoder
from ..values.outcomes import several
from ..values.spaces import element_count
from ..values.value_types import joined, note, observation_note
from .space_calls import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..shared.usage import Usage
    from ..values.outcomes import Parts
    from ..values.value_types import Types


STEPS_SHARE: Final = 0.8
"""Share of `call_timeout` for the steps of a rollout; the rest is for the last step and the reply."""


class RolloutCalls(abc.ABC):
    """A mixin: takes many steps of a single environment in one call.

    Attributes:
        usage: its counters.
    """

    usage: Usage
    _action_space: Space[Any]
    _observation_space: Space[Any]
    _call_timeout: float | None
    _observation: Any
    _under_way: bool

    @abc.abstractmethod
    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        """Start an episode; return observation and info."""

    @abc.abstractmethod
    def _decoded(self, action: Any, where: str = "") -> Any:
        """Return a decoded action; raise `InvalidActionError`, whose text begins with `where`, for one outside its space."""

    @abc.abstractmethod
    def _step(self, action: Any, types: Types | None = None) -> tuple[Any, float | None, bool, bool, Any, Parts | None]:
        """Take a decoded action; return observation, reward, terminated, truncated, info and the parts of the outcome."""

    def rollout(
        self,
        limit: int,
        actions: Any = None,
        steps: int | None = None,
        episodes: int | None = None,
        seed: int | str | None = None,
        media_type: str = JSON,
        types: bool = False,
    ) -> Reply:
        """Take many steps; reply the trajectory (see `RolloutBuffer`).

        Args:
            limit: maximum size of the reply in bytes.
            actions: the actions, in order; None for random ones.
            steps: number of random actions.
            episodes: number of episodes with random actions, instead of `steps`.
            seed: seed of a reset before the first step and, for random actions, of the action space; as for `reset`.
            media_type: the media type of the reply.
            types: reply `types` as well (see `value_types`).

        Raises:
            ReplyTooLargeError: the trajectory exceeds the limit.
            RolloutTimeoutError: the time limit is reached.
        """
        self.usage.begin_rollout()
        seed = None if seed is None else int(seed)
        remaining = None if actions is None else iter(self._planned(actions, needs_reset=not self._under_way))
        trajectory = RolloutBuffer(self._observation_space, self._action_space, limit, self._call_timeout)
        steps = steps if actions is None else len(actions)
        trajectory.refuse_beyond(steps)
        if actions is None and seed is not None:
            self._action_space.seed(seed)
        space = self._action_space
        if seed is not None or not self._under_way:
            self._reset(seed, None)
        trajectory.start(self._observation)
        while trajectory.goes_on(steps, episodes):
            if not self._under_way:
                self._reset(None, None)
                trajectory.restart(self._observation)
            if space is not self._action_space:
                space = self._action_space
                if actions is not None:
                    remaining = iter(self._planned(actions, trajectory.steps))
            action = space.sample() if remaining is None else next(remaining)
            taken = kept(action)  # the environment may write into it
            noted: Types | None = {} if types else None
            observation, reward, terminated, truncated, _, parts = self._step(action, noted)
            trajectory.add(taken, observation, reward, parts, noted, terminated=terminated, truncated=truncated)
        trajectory.use_spaces(self._observation_space, self._action_space)
        reply = trajectory.arrays()
        if types:
            trajectory.note_types(reply, packed=media_type == MSGPACK)
        return encoded(reply, media_type)

    def _planned(self, actions: Any, start: int = 0, *, needs_reset: bool = False) -> list[Any]:
        """Return the decoded actions of a request.

        Args:
            actions: the actions.
            start: how many of them are left out.
            needs_reset: there is a reset before the first one anyway, which may bring the space that they are for.
        """
        try:
            return [self._decoded(action, f"actions[{at}]: ") for at, action in planned(actions) if at >= start]
        except InvalidActionError:
            before = self._action_space
            if needs_reset:
                self._reset(None, None)
            if before is self._action_space:
                raise
            return self._planned(actions, start)


class RolloutBuffer:
    """The steps of a rollout.

    Args:
        observation_space: the environment's observation space.
        action_space: the environment's action space.
        limit: maximum size of the reply in bytes.
        call_timeout: time limit of the rollout in seconds; None for none.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        limit: int,
        call_timeout: float | None = None,
    ) -> None:
        self._observation_space = observation_space
        self._action_space = action_space
        self._limit = limit
        self._call_timeout = call_timeout
        self._deadline = None if call_timeout is None else time.monotonic() + STEPS_SHARE * call_timeout
        # An element takes at least a byte, in JSON and in MessagePack.
        self._bytes_a_step = element_count(observation_space) + element_count(action_space) + 10
        self._observations: list[Any] = []
        self._final_observations: list[Any] = []
        self._last: Any = None
        self._actions: list[Any] = []
        self._rewards: list[float | None] = []
        self._parts: list[Parts | None] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []
        self._reward_types: list[str] = []

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self._actions)

    @property
    def episodes(self) -> int:
        """Number of episodes that ended."""
        return len(self._final_observations)

    def refuse_beyond(self, steps: int | None) -> None:
        """Check that a rollout of this many steps may fit into the reply.

        Raises:
            ReplyTooLargeError: it has more bytes than the limit.
        """
        size = (steps or 0) * self._bytes_a_step
        if size > self._limit:
            raise ReplyTooLargeError.of(size, self._limit)

    def goes_on(self, steps: int | None, episodes: int | None) -> bool:
        """Return whether another step is to be taken.

        Args:
            steps: number of steps in all; None to count episodes.
            episodes: number of episodes in all.

        Raises:
            ReplyTooLargeError: the trajectory reached the size limit.
            RolloutTimeoutError: no time is left for the step.
        """
        self.refuse_beyond(self.steps)
        goes_on = self.steps < steps if steps is not None else self.episodes < (episodes or 0)
        if goes_on and self._deadline is not None and time.monotonic() > self._deadline:
            raise RolloutTimeoutError.of(self._call_timeout or 0.0, self.steps, self.episodes)
        return goes_on

    def start(self, observation: Any) -> None:
        """Set the observation that the next action is taken on, at the start of an episode."""
        self._last = kept(observation)

    restart = start

    def use_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Stack the values by these spaces: the environment may have others than at the beginning."""
        self._observation_space, self._action_space = observation_space, action_space

    def add(
        self,
        action: Any,
        observation: Any,
        reward: float | None,
        parts: Parts | None = None,
        noted: Types | None = None,
        *,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Add a step: an action and its outcome, with the types noted of that."""
        self._observations.append(self._last)
        self._last = kept(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._parts.append(kept(parts) if parts else None)
        self._terminated.append(terminated)
        self._truncated.append(truncated)
        if noted is not None:
            self._reward_types.append(noted.get("/reward", "float"))
        if terminated or truncated:
            self._final_observations.append(self._last)

    def arrays(self) -> dict[str, Any]:
        """Return the trajectory of T steps and E ended episodes.

        Returns:
            `observations` (T+1: before each action, and the last), `actions` (T), `rewards` (float64, T), `terminated` and
            `truncated` (bool, T), `final_observations` (E), and `outcomes.several` of the parts. Values of array-like
            spaces are stacked; see `stacked`.
        """
        return {
            "observations": stacked(self._observation_space, [*self._observations, self._last]),
            "actions": stacked(self._action_space, self._actions),
            "rewards": np.array(self._rewards, np.float64),
            "terminated": np.array(self._terminated, np.bool_),
            "truncated": np.array(self._truncated, np.bool_),
            "final_observations": stacked(self._observation_space, self._final_observations),
            **several(
                self._parts,
                {"rewards": self._rewards, "terminations": self._terminated, "truncations": self._truncated},
            ),
        }

    def note_types(self, reply: dict[str, Any], *, packed: bool) -> None:
        """Add `types` to the reply of `arrays` if there are any (see `value_types`); values that are stacked have one type."""
        types: Types = {}
        rows = {
            "observations": (self._observation_space, [*self._observations, self._last]),
            "actions": (self._action_space, self._actions),
            "final_observations": (self._observation_space, self._final_observations),
        }
        for name, (space, values) in rows.items():
            note_stacked(space, values, reply[name], f"/{name}", types, packed)
        names = {name.partition("[")[0] for name in self._reward_types} - {"list", "tuple"} or {"float"}
        dtype = np.result_type(*names)
        if dtype != np.float64:
            types["/rewards"] = f"{dtype.str}[{self.steps}]"
        for name in ("component_rewards", "terminations", "truncations"):
            note(reply.get(name), f"/{name}", types, packed)
        if types:
            reply["types"] = types


def planned(actions: Any) -> Iterator[tuple[int, Any]]:
    """Return the actions of a request with their positions; an array's first axis is time.

    Raises:
        InvalidValueError: there is no list of at least one action.
    """
    is_row = isinstance(actions, list) or (isinstance(actions, np.ndarray) and actions.ndim > 0)
    if not is_row or len(actions) == 0:
        raise InvalidValueError("actions is to be a list of at least one action")
    return enumerate(actions)


def kept(observation: Any) -> Any:
    """Return a copy of an observation: the environment may write the next one into the same array."""
    if isinstance(observation, np.ndarray):
        return observation.copy()
    if isinstance(observation, dict):
        return {key: kept(part) for key, part in observation.items()}
    if type(observation) in (tuple, list):
        return type(observation)(map(kept, observation))
    if isinstance(observation, GraphInstance):
        return GraphInstance(*map(kept, observation))
    return observation


class Columns(list[Any]):
    """What the parts of a Tuple are stacked to."""


def stacked(space: Space[Any], values: list[Any]) -> Any:
    """Return values of a space stacked along a new first axis.

    Returns:
        Box, Discrete, MultiDiscrete, MultiBinary: one array. Dict: a dict, and Tuple: `Columns`, of what their parts are
        stacked to. Every other space, and values that do not fit theirs: a list of the encoded values.
    """
    encode = encoder(space)
    try:
        if isinstance(space, Dict | Tuple) and any(len(each) != len(space.spaces) for each in values):
            return [encode(each) for each in values]
        if isinstance(space, Dict):
            return {str(key): stacked(part, [each[key] for each in values]) for key, part in space.spaces.items()}
        if isinstance(space, Tuple):
            return Columns(stacked(part, [each[at] for each in values]) for at, part in enumerate(space.spaces))
        if isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
            if not values:
                return np.empty((0, *(space.shape or ())), space.dtype)
            array = np.stack([np.asarray(encode(each)) for each in values])
            if array.dtype.kind in "biuf":
                # A Discrete's value is encoded as a plain integer.
                narrow = array.astype(space.dtype) if isinstance(space, Discrete) else array
                return narrow if np.array_equal(narrow, array) else array
    except (KeyError, IndexError, TypeError, ValueError):
        pass
    return [encode(each) for each in values]


def note_stacked(space: Space[Any], values: list[Any], stack: Any, pointer: str, types: Types, packed: bool) -> None:
    """Note the types in what `stacked` has made of values: of a whole array, else of each value.

    Args:
        space: the space.
        values: the values.
        stack: the result of `stacked`.
        pointer: its pointer.
        types: the notes to add to.
        packed: whether the reply is in MessagePack.
    """
    if isinstance(stack, np.ndarray):
        if (stack.dtype, stack.shape[1:]) != (space.dtype, space.shape):
            note(stack, pointer, types, packed)
    elif isinstance(space, Dict) and isinstance(stack, dict):
        for key, part in space.spaces.items():
            inside = [each[key] for each in values]
            note_stacked(part, inside, stack[str(key)], joined(pointer, key), types, packed)
    elif isinstance(space, Tuple) and isinstance(stack, Columns):
        for at, part in enumerate(space.spaces):
            note_stacked(part, [each[at] for each in values], stack[at], joined(pointer, at), types, packed)
    else:
        note_value = observation_note(space)
        for at, each in enumerate(values):
            note_value(each, joined(pointer, at), types, packed)
