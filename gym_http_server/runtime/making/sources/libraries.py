"""Libraries that clients ask for by name: `library: envpool`. Their packages are imported when one is asked for."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ....errors import InvalidValueError, MissingDependencyError, UnknownEnvironmentError
from ...messages import OWN_IDS
from ..dependencies import pip_command
from .pettingzoo_ids import pettingzoo_ids, pettingzoo_specification

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class Library:
    """A package with environments that it registers with no other library.

    Attributes:
        ids: returns the ids that the module makes.
        specify: returns the specification of an id.
        check: raises if an id cannot be made, as making it would; None if every id can.
        note: what else is to be known where the package is missing.
    """

    ids: Callable[[ModuleType], Collection[str]]
    specify: Callable[[ModuleType, str], EnvSpec]
    check: Callable[[ModuleType, str], object] | None = None
    note: str = ""


def specification(name: str, env_id: str) -> EnvSpec:
    """Return the specification of an id of a library.

    Raises:
        MissingDependencyError: the library is not installed.
        UnknownEnvironmentError: it has no such id.
    """
    library = LIBRARIES[name]
    module = import_library(name)
    ids = library.ids(module)
    if env_id not in ids:
        near = difflib.get_close_matches(env_id, ids)
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownEnvironmentError.of(env_id, f"{name} has no such environment{meant}")
    return library.specify(module, env_id)


def import_library(name: str) -> ModuleType:
    """Return the module of a library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return _imported(f"library {name!r}", OWN_IDS[name], (name,), LIBRARIES[name].note)


def register_namespace(namespace: str | None) -> None:
    """Import the package that registers the ids of a namespace, if this module knows it.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    if namespace == "dm_control":
        for name in ("dm_control", "shimmy"):
            _imported("dm_control", name, ("shimmy[dm-control]", "mujoco<4"))


def _imported(what: str, name: str, requirements: tuple[str, ...], note: str = "") -> ModuleType:
    if importlib.util.find_spec(name) is None:
        package = requirements[0]
        raise MissingDependencyError(
            f"{what} needs the package {package}, which is not installed; install it with: {pip_command(*requirements)}{note}",
            package=package,
        )
    return importlib.import_module(name)


ENVPOOL_RESERVED: Final[dict[str, str]] = {
    "batch_size": "a batch waits for all of its lanes",
    "env_type": "it is always 'gymnasium'",
    "num_envs": "it is a property beside kwargs",
}
"""Options of `envpool.make` that clients cannot set, and why."""


class EnvPoolBatch(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """A pool of EnvPool, with Gymnasium's spaces of batches and seeds of resets.

    EnvPool seeds when a pool is made, so a reset with a seed makes it anew.

    Args:
        env_id: the id.
        num_envs: the number of lanes.
        seed: its seed, or a seed for each lane.
        **options: further options of `envpool.make`.
    """

    def __init__(self, env_id: str, num_envs: int, seed: Any = None, **options: Any) -> None:
        for name in sorted(ENVPOOL_RESERVED.keys() & options.keys()):
            raise InvalidValueError(f"kwargs: {name!r} cannot be set for envpool: {ENVPOOL_RESERVED[name]}")
        make = importlib.import_module("envpool").make
        self._make = functools.partial(make, env_id, env_type="gymnasium", num_envs=num_envs, **options)
        self._pool = self._made(seed)
        self.num_envs = num_envs
        self.single_observation_space = self._pool.observation_space
        self.single_action_space = self._pool.action_space
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.render_mode = options.get("render_mode")

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane; options are EnvPool's."""
        if seed is not None:
            self._pool.close()
            self._pool = self._made(seed)
        observations, infos = self._pool.reset(options=options)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action in every lane."""
        observations, rewards, terminated, truncated, infos = self._pool.step(actions)
        return observations, rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return a frame of each lane."""
        return None if self.render_mode is None else tuple(self._pool.render(env_ids=list(range(self.num_envs))))

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 -- Gymnasium's signature
        """Close the pool."""
        self._pool.close()

    def _made(self, seed: Any) -> Any:
        return self._make(**({} if seed is None else {"seed": seed}))


class EnvPoolEnv(gymnasium.Env[Any, Any]):
    """A pool of EnvPool with one lane, as a single environment; arguments as of `EnvPoolBatch`."""

    def __init__(self, env_id: str, render_mode: str | None = None, **options: Any) -> None:
        given = options if render_mode is None else {**options, "render_mode": render_mode}
        self._batch = EnvPoolBatch(env_id, 1, **given)
        self.action_space = self._batch.single_action_space
        self.observation_space = self._batch.single_observation_space
        self.metadata = {"render_modes": ["rgb_array"]}
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        observation, info = self._batch.reset(seed=seed, options=options)
        return _first(observation), _first(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action."""
        observation, reward, terminated, truncated, info = self._batch.step(_batched(action))
        return _first(observation), reward[0], bool(terminated[0]), bool(truncated[0]), _first(info)

    def render(self) -> Any:
        """Return the current frame."""
        frames = self._batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the pool."""
        self._batch.close()


def _first(values: Any) -> Any:
    return {name: _first(value) for name, value in values.items()} if isinstance(values, dict) else values[0]


def _batched(action: Any) -> Any:
    import numpy as np

    return (
        {name: _batched(value) for name, value in action.items()}
        if isinstance(action, dict)
        else np.asarray(action)[None]
    )


def _envpool(_: ModuleType, env_id: str) -> EnvSpec:
    # Not the module as an argument: Gymnasium copies specifications, and a module cannot be copied.
    single: Any = functools.partial(EnvPoolEnv, env_id)
    batch: Any = functools.partial(EnvPoolBatch, env_id)
    # EnvPool has ids such as `dm_control/locomotion/walker_run`, which Gymnasium's specifications refuse.
    *namespaces, name = env_id.split("/")
    spec_id = f"{'-'.join(namespaces)}/{name}" if namespaces else name
    return EnvSpec(spec_id, entry_point=single, vector_entry_point=batch)


def _stable_retro(module: ModuleType, game: str) -> EnvSpec:
    def make(*, render_mode: str = "rgb_array", **kwargs: Any) -> Any:
        enumerations = {
            "use_restricted_actions": module.Actions,
            "obs_type": module.Observations,
            "inttype": module.data.Integrations,
        }
        for name, enumeration in enumerations.items():
            if isinstance(kwargs.get(name), str):
                members = enumeration.__members__
                if kwargs[name] not in members:
                    raise ValueError(f"{name} is {kwargs[name]!r} and must be one of {', '.join(members)}")
                kwargs[name] = members[kwargs[name]]
        return module.make(game, render_mode=render_mode, **kwargs)

    return EnvSpec(game, entry_point=make)


class CostInInfo(gymnasium.Env[Any, Any]):
    """An environment of Safety-Gymnasium, whose steps have a cost, with the cost in `info`."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.action_space, self.observation_space = environment.action_space, environment.observation_space
        self.metadata, self.render_mode = environment.metadata, environment.render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        observation, info = self.environment.reset(seed=seed, options=options)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action."""
        observation, reward, cost, terminated, truncated, info = self.environment.step(action)
        return observation, reward, terminated, truncated, {**info, "cost": cost}

    def render(self) -> Any:
        """Return the current frame."""
        return self.environment.render()

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()


def _safety_gymnasium(module: ModuleType, env_id: str) -> EnvSpec:
    def make(*, render_mode: str | None = "rgb_array", **kwargs: Any) -> Any:
        return CostInInfo(module.make(env_id, render_mode=render_mode, **kwargs))

    return EnvSpec(env_id, entry_point=make)


LIBRARIES: Final = {
    "envpool": Library(lambda module: module.list_all_envs(), _envpool),
    "pettingzoo": Library(
        pettingzoo_ids,
        pettingzoo_specification,
        check=lambda package, env_id: importlib.import_module(pettingzoo_ids(package)[env_id]),
    ),
    "safety-gymnasium": Library(
        lambda module: module.utils.registration.safe_registry,
        _safety_gymnasium,
        note=" in a Python of its own, because its requirements conflict with the server's; start the server with "
        "--interpreter NAME=PYTHON and --interpreter-import NAME=safety_gymnasium, and ask for ids such as "
        "SafetyPointGoal1Gymnasium-v0 without library",
    ),
    "stable-retro": Library(
        lambda module: module.data.list_games(module.data.Integrations.ALL),
        _stable_retro,
        check=lambda module, game: module.data.get_romfile_path(game, module.data.Integrations.ALL),
    ),
}
"""By `library` of `createEnv`."""
