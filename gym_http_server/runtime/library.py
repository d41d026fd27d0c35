"""The libraries of environments: which of them makes an id, and how. All that differs between them is here and in `gym_compat`.

Ids are resolved here and handed to the library as a specification, never as text: given text such as `module:Env-v0`,
both libraries import what it names.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from ..errors import (
    EnvironmentCreationError,
    GymHttpServerError,
    ImportFailedError,
    InvalidValueError,
    MissingDependencyError,
)
from . import gym_compat
from .env_ids import Found, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .messages import CreateRequest

PACKAGES = ("gymnasium", "gym", "ale-py", "box2d", "mujoco", "minigrid", "pettingzoo", "highway-env")
"""The distributions that the home page looks for."""

OWN_PROPERTIES = {"max_episode_steps", "render_mode"}
RESERVED = {"id", "disable_env_checker", "autoreset", "apply_api_compatibility"} | OWN_PROPERTIES
"""Arguments of the libraries' own `make`, which are no keyword arguments of an environment."""

DISTRIBUTION_OF = {
    "Box2D": "gymnasium[box2d]",
    "ale_py": "ale-py",
    "cv2": "opencv-python",
    "flax": "gymnasium[jax]",
    "jax": "gymnasium[jax]",
    "mujoco": "gymnasium[mujoco]",
    "mujoco_py": "gymnasium[mujoco]",
    "pygame": "gymnasium[classic-control]",
}
"""What to install for a module that is missing, where it goes by another name."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new environment, and what there is to know about it.

    Attributes:
        environment: what the library made, with the methods of `gymnasium.Env`.
        env_id: the id really served.
        library: library and version.
        render_mode: the render mode it was made with, or None.
        action_space, observation_space: its spaces, as Gymnasium's whichever library made it.
        prepare_action: what is to be done with a decoded action before `step`, or None for nothing.
        notice: that another id is served than the one asked for, or None.
    """

    environment: Any
    env_id: str
    library: str
    render_mode: str | None
    action_space: gymnasium.Space[Any]
    observation_space: gymnasium.Space[Any]
    prepare_action: Callable[[Any], Any] | None = None
    notice: str | None = None


def make(request: CreateRequest) -> Made:
    """Make an environment.

    Raises:
        UnknownEnvironmentError: no library registers the id, or it is malformed.
        InvalidValueError: a keyword argument belongs to `make` itself, or the environment has no such render mode.
        MissingDependencyError: a package that it needs is not installed.
        EnvironmentCreationError: its constructor refused.
    """
    _check_kwargs(request.kwargs)
    found = find(request)
    kwargs = {**found.kwargs, **request.kwargs}
    with _constructing(found.env_id), _quiet():
        environment = _construct(found, kwargs, request)
        spaces = environment.action_space, environment.observation_space
    if found.library == "gym":
        spaces = gym_compat.convert_space(spaces[0]), gym_compat.convert_space(spaces[1])
    return Made(
        environment,
        found.env_id,
        f"{found.library} {importlib.metadata.version(found.library)}",
        getattr(environment, "render_mode", None),
        *spaces,
        prepare_action=gym_compat.prepare_action_for(spaces[0]) if found.library == "gym" else None,
        notice=found.notice,
    )


def installed() -> dict[str, str]:
    """Return the version of each known package of environments that is installed; imports none of them."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def declare_imports(names: Iterable[str]) -> None:
    """Import the modules that the server was started with, which register their environments.

    Raises:
        ImportFailedError: one of them cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = str(error.name or name)
            raise ImportFailedError(
                f"--import {name}: {error}; install it with: pip install {distribution_of(missing)}", module=name
            ) from error
        except Exception as error:
            raise ImportFailedError(f"--import {name}: {type(error).__name__}: {error}", module=name) from error
    if "gym" in sys.modules:
        gym_compat.load()


def distribution_of(module: str) -> str:
    """Return what pip is to install for a missing module, quoted for a shell where that is needed."""
    top = module.split(".")[0]
    name = DISTRIBUTION_OF.get(top, top.replace("_", "-"))
    return f'"{name}"' if "[" in name else name


def _check_kwargs(kwargs: dict[str, Any]) -> None:
    for name in sorted(RESERVED & kwargs.keys()):
        how = f"it is a property beside kwargs, {name!r}" if name in OWN_PROPERTIES else "it cannot be set"
        raise InvalidValueError(f"kwargs are for the environment's constructor, and {name!r} is not one of them: {how}")


def _construct(found: Found, kwargs: dict[str, Any], request: CreateRequest) -> Any:
    creator = _creator(found)
    takes_mode = _takes(creator, "render_mode") and "render_mode" not in found.specification.kwargs
    modes = _render_modes(creator)
    mode = request.render_mode

    def construct(mode: str | None) -> Any:
        module = gymnasium if found.library == "gymnasium" else gym_compat.load()
        return module.make(
            found.specification,
            max_episode_steps=request.max_episode_steps,
            disable_env_checker=True,
            **kwargs,
            **({} if mode is None else {"render_mode": mode}),
        )

    if mode is not None:
        if modes is not None and mode not in _possible(modes):
            have = ", ".join(sorted(modes)) or "none at all"
            raise InvalidValueError(f"{found.env_id} has no render mode {mode!r}: it has {have}", render_modes=modes)
        return construct(mode)
    if modes is not None or not takes_mode:
        return construct(_preferred(modes or []) if takes_mode else None)
    # An entry point that is a function tells its modes only by what it makes.
    environment = construct(None)
    preferred = _preferred(_render_modes(environment) or [])
    if preferred is None or getattr(environment, "render_mode", None) is not None:
        return environment
    environment.close()
    return construct(preferred)


def _creator(found: Found) -> Any:
    entry_point = found.specification.entry_point
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


def _takes(creator: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(each.name == name or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _render_modes(holder: Any) -> list[str] | None:
    metadata = getattr(holder, "metadata", None)
    if not isinstance(metadata, dict):
        return None
    modes = metadata.get("render_modes", metadata.get("render.modes"))
    return None if modes is None else [str(mode) for mode in modes]


def _possible(modes: list[str]) -> set[str]:
    """Return the modes that the library's `make` gives: its own, lists of them, and a window around the pictures."""
    window = {"human"} if {"rgb_array", "rgb_array_list"} & set(modes) else set()
    return {*modes, *(f"{mode}_list" for mode in modes), *window}


def _preferred(modes: list[str]) -> str | None:
    return next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)


@contextlib.contextmanager
def _constructing(env_id: str) -> Iterator[None]:
    """Turn whatever a constructor raises into an error of ours, in its own words."""
    try:
        yield
    except GymHttpServerError:
        raise
    except ModuleNotFoundError as error:
        package = distribution_of(str(error.name or error))
        raise MissingDependencyError(
            f"{env_id} needs a package that is not installed: {error}; install it with: pip install {package}",
            package=package.strip('"'),
        ) from error
    except Exception as error:
        if type(error).__name__ == "DependencyNotInstalled":
            raise MissingDependencyError(f"{env_id} needs a package that is not installed: {error}") from error
        raise EnvironmentCreationError(f"{env_id} could not be made: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise EnvironmentCreationError(f"{env_id} could not be made: its constructor exited ({error})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the libraries say about ids and numpy: the caller asked for that id, and cannot change numpy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
