"""gym 0.26, unmaintained since 2022, on NumPy 2: loaded on first use, patched, its spaces converted to Gymnasium's.

Two patches, without which environments fail:

- `np.bool8` and `np.float_`, which NumPy 2 removed: the environment checker and Acrobot's integrator use them.
- Actions as float64. NumPy 2 no longer promotes a float32 scalar to the precision of Python's floats (NEP 50), and Box2D
  and pygame refuse float32 (CarRacing, Pendulum's rendering). gym's continuous lunar lander narrows its action to float32
  itself, so it gets an array that stays float64.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from ...errors import MissingDependencyError
from ..values.opaque import OpaqueSpace
from .dependencies import REQUIREMENTS, pip_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

REMOVED = {"bool8": np.bool_, "float_": np.float64}
"""Names that NumPy 2 removed and gym 0.26 uses."""

ERROR_LEVEL = 40
"""`gym.logger.ERROR`."""


@functools.cache
def load() -> ModuleType:
    """Return the patched module gym.

    Raises:
        MissingDependencyError: gym is not installed.
    """
    for name, value in REMOVED.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    try:
        # Otherwise gym prints at each start that it is unmaintained.
        importlib.import_module("gym_notices.notices").notices.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gym = importlib.import_module("gym")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"gym is not installed ({error}); install it with: {pip_command(REQUIREMENTS['gym'])}", package="gym"
        ) from None
    gym.logger.set_level(ERROR_LEVEL)
    return gym


def available() -> bool:
    """Return whether gym is installed, without importing it."""
    return importlib.util.find_spec("gym") is not None


def convert_space(space: Any) -> gymnasium.Space[Any]:
    """Return Gymnasium's equal of a space of gym; a space of Gymnasium is returned unchanged.

    One of another kind, with `sample` and `contains`, becomes an `OpaqueSpace`.

    Raises:
        TypeError: it is no space.
    """
    if isinstance(space, gymnasium.Space):
        return space
    # The class of gym that a subclass derives from.
    kinds = (cls.__name__ for cls in type(space).__mro__ if cls.__module__.startswith("gym.spaces."))
    match next(kinds, None):
        case "Box":
            return spaces.Box(space.low, space.high, space.shape, space.dtype.type)
        case "Discrete":
            return spaces.Discrete(int(space.n), start=int(space.start))
        case "MultiDiscrete":
            return spaces.MultiDiscrete(space.nvec, dtype=space.dtype.type)
        case "MultiBinary":
            return spaces.MultiBinary(list(space.n) if isinstance(space.n, (tuple, list, np.ndarray)) else int(space.n))
        case "Text":
            return spaces.Text(
                int(space.max_length), min_length=int(space.min_length), charset="".join(sorted(space.character_set))
            )
        case "Tuple":
            return spaces.Tuple(map(convert_space, space.spaces))
        case "Dict":
            return spaces.Dict([(key, convert_space(part)) for key, part in space.spaces.items()])
        case "Sequence":
            return spaces.Sequence(convert_space(space.feature_space))
        case "Graph":
            edges = None if space.edge_space is None else convert_space(space.edge_space)
            return spaces.Graph(convert_space(space.node_space), edges)
    if isinstance(space, type) or not (
        callable(getattr(space, "sample", None)) and callable(getattr(space, "contains", None))
    ):
        raise TypeError(f"an object of type {type(space).__module__}.{type(space).__qualname__} is no space")
    return OpaqueSpace.of(space)


class _Wide(np.ndarray[Any, Any]):
    """An action that stays float64 when an environment converts it to float32."""

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return super().astype(np.float64 if dtype == np.float32 else dtype, *args, **kwargs)


class Adapted(gymnasium.Env[Any, Any]):
    """An environment of gym with Gymnasium's interface, for batches and wrappers.

    Args:
        environment: the environment of gym.
        env_id: its id.
        max_episode_steps: steps after which gym truncates an episode, or None; some wrappers read it.

    Raises:
        TypeError: one of its spaces is no space.
    """

    def __init__(self, environment: Any, env_id: str, max_episode_steps: int | None) -> None:
        self.environment = environment
        self.spec = EnvSpec(env_id, max_episode_steps=max_episode_steps)
        self.action_space = convert_space(environment.action_space)
        self.observation_space = convert_space(environment.observation_space)
        self.metadata = environment.metadata
        self.render_mode = environment.render_mode
        self._prepare_action = prepare_action_for(self.action_space, narrows=narrows(environment))

    @property
    def unwrapped(self) -> Any:
        """The innermost environment, which is gym's."""
        return self.environment.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)  # wrappers draw from this generator
        observation, info = self.environment.reset(seed=seed, options=options)  # raises for another number of values
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action."""
        if self._prepare_action is not None:
            action = self._prepare_action(action)
        observation, reward, terminated, truncated, info = self.environment.step(action)
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """Return the current frame."""
        return self.environment.render()

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()


def narrows(environment: Any) -> bool:
    """Return whether an environment itself converts its action to float32 and passes it to Box2D."""
    return type(environment.unwrapped).__module__ == "gym.envs.box2d.lunar_lander"


def prepare_action_for(space: gymnasium.Space[Any], *, narrows: bool = False) -> Callable[[Any], Any] | None:
    """Return the function that converts the float arrays of an action to float64; None if there are none.

    Args:
        space: the action space.
        narrows: the environment would convert them back to float32; the arrays prevent it.
    """
    match space:
        case gymnasium.spaces.Box() if narrows:
            return lambda action: action.astype(np.float64).view(_Wide)
        case gymnasium.spaces.Box() if np.issubdtype(space.dtype, np.floating) and space.dtype != np.float64:
            return lambda action: action.astype(np.float64)
        case gymnasium.spaces.Tuple():
            prepares = [prepare_action_for(part) for part in space.spaces]
            if any(prepares):
                return lambda action: tuple(
                    prepare(part) if prepare else part for prepare, part in zip(prepares, action, strict=True)
                )
        case gymnasium.spaces.Dict():
            named = {key: prepare_action_for(part) for key, part in space.spaces.items()}
            if any(named.values()):
                return lambda action: {
                    key: prepare(part) if (prepare := named[key]) else part for key, part in action.items()
                }
    return None
