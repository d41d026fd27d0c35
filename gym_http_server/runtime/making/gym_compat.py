"""gym 0.26, unmaintained since 2022, on a current numpy: loaded when it is needed, mended, and its spaces turned into Gymnasium's.

The mends, each for an environment that fails without it: `np.bool8` and `np.float_`, which numpy 2 removed (Acrobot's
integrator uses one, the environment checker the other); and actions of float64, because numpy 2 no longer promotes a
float32 scalar to the precision of Python's floats (NEP 50), which Box2D and pygame refuse (CarRacing, Pendulum's
rendering). gym's continuous lunar lander narrows its action to float32 again by itself, and so gets one that stays wide.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ...errors import MissingDependencyError
from .dependencies import REQUIREMENTS, pip_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

REMOVED = {"bool8": np.bool_, "float_": np.float64}
"""Names that numpy 2 removed and gym 0.26 uses."""

ERRORS_ONLY = 40
"""gym's own level for errors (`gym.logger.ERROR`)."""


@functools.cache
def load() -> ModuleType:
    """Return the module gym, mended.

    Raises:
        MissingDependencyError: it is not installed.
    """
    for name, value in REMOVED.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    try:
        # It would print, at each start of an environment, that it is unmaintained: whoever asks for it knows.
        importlib.import_module("gym_notices.notices").notices.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gym = importlib.import_module("gym")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"gym is not installed ({error}); install it with: {pip_command(REQUIREMENTS['gym'])}", package="gym"
        ) from None
    gym.logger.set_level(ERRORS_ONLY)
    return gym


def available() -> bool:
    """Return whether gym is installed; does not import it."""
    return importlib.util.find_spec("gym") is not None


def convert_space(space: Any) -> gymnasium.Space[Any]:
    """Return gym's space as the equal one of Gymnasium; one that is Gymnasium's already comes back as it is.

    Raises:
        TypeError: it is of a kind that gym 0.26 does not have.
    """
    if isinstance(space, gymnasium.Space):
        return space
    made = gymnasium.spaces
    # A subclass is what the class of gym's is that it comes from.
    kinds = (cls.__name__ for cls in type(space).__mro__ if cls.__module__.startswith("gym.spaces."))
    match next(kinds, None):
        case "Box":
            return made.Box(space.low, space.high, space.shape, space.dtype.type)
        case "Discrete":
            return made.Discrete(int(space.n), start=int(space.start))
        case "MultiDiscrete":
            return made.MultiDiscrete(space.nvec, dtype=space.dtype.type)
        case "MultiBinary":
            return made.MultiBinary(list(space.n) if isinstance(space.n, (tuple, list, np.ndarray)) else int(space.n))
        case "Text":
            return made.Text(
                int(space.max_length), min_length=int(space.min_length), charset="".join(sorted(space.character_set))
            )
        case "Tuple":
            return made.Tuple([convert_space(each) for each in space.spaces])
        case "Dict":
            return made.Dict([(key, convert_space(each)) for key, each in space.spaces.items()])
        case "Sequence":
            return made.Sequence(convert_space(space.feature_space))
        case "Graph":
            edges = None if space.edge_space is None else convert_space(space.edge_space)
            return made.Graph(convert_space(space.node_space), edges)
    raise TypeError(f"gym's space {space!r} of the class {type(space).__name__} has no counterpart")


class _Wide(np.ndarray[Any, Any]):
    """An action that stays float64 when an environment narrows it."""

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return super().astype(np.float64 if dtype == np.float32 else dtype, *args, **kwargs)


class Adapted(gymnasium.Env[Any, Any]):
    """An environment of gym as one of Gymnasium, so that it can be a lane of Gymnasium's batches, and be wrapped.

    Args:
        environment: what gym made.
        env_id: its id.
        max_episode_steps: steps after which gym truncates an episode, or None; some wrappers want to know.

    Raises:
        TypeError: one of its spaces has no counterpart.
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
        """The environment inside, which is gym's."""
        return self.environment.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)  # wrappers draw from this generator
        observation, info = self.environment.reset(seed=seed, options=options)
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
    """Return whether an environment turns its action into float32 itself and then gives parts of it to Box2D."""
    return type(environment.unwrapped).__module__ == "gym.envs.box2d.lunar_lander"


def prepare_action_for(space: gymnasium.Space[Any], *, narrows: bool = False) -> Callable[[Any], Any] | None:
    """Return what makes an action of the space fit for gym's environments: its float arrays as float64. None if nothing does.

    Args:
        space: the action space.
        narrows: the environment would turn them into float32 again, and is kept from it.
    """
    match space:
        case gymnasium.spaces.Box() if narrows:
            return lambda action: action.astype(np.float64).view(_Wide)
        case gymnasium.spaces.Box() if np.issubdtype(space.dtype, np.floating) and space.dtype != np.float64:
            return lambda action: action.astype(np.float64)
        case gymnasium.spaces.Tuple():
            inner = [prepare_action_for(each) for each in space.spaces]
            if any(inner):
                return lambda action: tuple(
                    each(part) if each else part for each, part in zip(inner, action, strict=True)
                )
        case gymnasium.spaces.Dict():
            named = {key: prepare_action_for(each) for key, each in space.spaces.items()}
            if any(named.values()):
                return lambda action: {
                    key: each(action[key]) if (each := named[key]) else action[key] for key in action
                }
    return None
