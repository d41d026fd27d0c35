"""How a library's `make` is called: with which render mode, and what its errors become."""

from __future__ import annotations

import contextlib
import inspect
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gymnasium
from gymnasium.envs.registration import load_env_creator

from ...errors import EnvironmentCreationError, GymHttpServerError, InvalidValueError, MissingDependencyError
from . import gym_compat, opengl
from .dependencies import missing_module, package_of, pip_command, requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages import CreateRequest
    from .found import Found

Make: TypeAlias = Callable[..., Any]

NAMED_IN_WORDS: Final = {
    # Gymnasium names a project for the ids that it registers only to say that they have gone there.
    "moved to the gymnasium-robotics project": ("gymnasium-robotics[mujoco-py]", "--import gymnasium_robotics"),
    # The MuJoCo of today no longer makes these: Gymnasium's Pusher-v4, gym's Hopper-v4 and Walker2d-v4, gym's Swimmer-v4.
    "only supported on `mujoco<3`": ("mujoco<3", ""),
    "global coordinates no longer supported": ("mujoco<=2.3.3", ""),
    "unrecognized attribute: 'collision'": ("mujoco<=2.3.3", ""),
}
"""What to install where an error names no module, by words of it, and what the server is to be started with besides."""


def make_single(found: Found, request: CreateRequest, **kwargs: Any) -> Any:
    """Return what the library's `make` makes of a specification."""
    module = gymnasium if found.library == "gymnasium" else gym_compat.load()
    return module.make(
        found.specification, max_episode_steps=request.max_episode_steps, disable_env_checker=True, **kwargs
    )


def adapted(environment: Any, found: Found, request: CreateRequest) -> Any:
    """Return what a library made as an environment of Gymnasium."""
    if found.library == "gymnasium":
        return environment
    with closing_on_error(environment):
        return gym_compat.Adapted(
            environment, found.env_id, request.max_episode_steps or found.specification.max_episode_steps
        )


def construct(
    found: Found, kwargs: dict[str, Any], request: CreateRequest, entry_point: Any = None, make: Make = make_single
) -> tuple[Any, str | None]:
    """Return the environment, and the render mode it has.

    Args:
        found: what serves the id.
        kwargs: keyword arguments for the environment's constructor.
        request: what is asked for.
        entry_point: the constructor or its name, where it is not the specification's own.
        make: makes it, given `found`, `request` and the keyword arguments.

    Raises:
        InvalidValueError: the environment has not the render mode that the request names.
        Exception: whatever the constructor raises.
    """
    entry_point = entry_point or found.specification.entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    opengl.keep_from_aborting()
    modes = render_modes(creator)

    def call(mode: str | None) -> tuple[Any, str | None]:
        environment = make(found, request, **kwargs, **({} if mode is None else {"render_mode": mode}))
        opengl.keep_from_aborting()  # now as well, for what its constructor imports
        # Some name the argument and keep it to themselves; where it only vanished in **kwargs, it has no effect.
        return environment, getattr(environment, "render_mode", None) or (mode if takes else None)

    # gym's own wrapper around an environment of the old API takes the mode in the constructor's stead.
    wrapped = bool(getattr(found.specification, "apply_api_compatibility", False))
    takes = wrapped or _takes(creator)
    may_take = "render_mode" not in found.specification.kwargs and (takes or _takes(creator, in_kwargs=True))
    if request.render_mode is not None:
        _check(found, request.render_mode, modes)
        made = call(request.render_mode)
        if modes is None:
            with closing_on_error(made[0]):
                _check(found, request.render_mode, render_modes(made[0]))
        return made
    if not may_take:
        return call(None)
    if modes is None:
        return _by_its_own_modes(call)
    preferred = _preferred(modes)
    try:
        return call(preferred)
    except Exception as error:
        # Nobody asked for this mode: without it the environment may do, when its **kwargs go to somebody who does not
        # know the argument, or what it draws with is not installed. Nothing else is tried twice.
        unknown = isinstance(error, TypeError) and not takes
        if preferred is None or not (unknown or is_missing_dependency(error)):
            raise
    return call(None)


def _by_its_own_modes(call: Callable[[str | None], tuple[Any, str | None]]) -> tuple[Any, str | None]:
    """Make what tells its modes only when it is made, as a function's result does: without one, then with the best."""
    plain, mode = call(None)
    preferred = _preferred(render_modes(plain) or [])
    if preferred is None or mode is not None:
        return plain, mode
    try:
        better = call(preferred)
    except Exception:  # noqa: BLE001 -- nobody asked for a mode, and without it the environment is made
        return plain, None
    with contextlib.suppress(Exception):
        plain.close()
    return better


def _takes(creator: Any, *, in_kwargs: bool = False) -> bool:
    """Return whether an entry point names `render_mode`; `in_kwargs` where it may only pass it on."""
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return False
    if in_kwargs:
        return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    return any(each.name == "render_mode" for each in parameters)


def render_modes(holder: Any) -> list[str] | None:
    """Return the render modes that an environment or its class names; None where it names none and may have some."""
    metadata = getattr(holder, "metadata", None)
    if not isinstance(metadata, dict):
        return None
    modes = metadata.get("render_modes", metadata.get("render.modes"))
    return None if modes is None else [str(mode) for mode in modes]


def _check(found: Found, mode: str, modes: list[str] | None) -> None:
    if modes is None:
        return
    # A library's make gives more than the environment's own: lists of frames, and a window around its pictures.
    window = {"human"} if {"rgb_array", "rgb_array_list"} & set(modes) else set()
    if mode not in {*modes, *(f"{each}_list" for each in modes), *window}:
        have = ", ".join(sorted(modes)) or "none at all"
        raise InvalidValueError(f"{found.env_id} has no render mode {mode!r}: it has {have}", render_modes=modes)


def _preferred(modes: list[str]) -> str | None:
    return next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)


def is_missing_dependency(error: BaseException) -> bool:
    """Return whether an error says that a package is missing, in Python's words or in a library's."""
    return isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled"


@contextlib.contextmanager
def closing_on_error(environment: Any) -> Iterator[None]:
    """Close an environment that nobody is going to get."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            environment.close()
        raise


@contextlib.contextmanager
def constructing(env_id: str) -> Iterator[None]:
    """Turn whatever a constructor raises into an error of ours, in its own words."""
    try:
        yield
    except GymHttpServerError:
        raise
    except Exception as error:
        if is_missing_dependency(error) or _named_in_words(error) is not None:
            raise missing(env_id, error) from error
        raise EnvironmentCreationError(f"{env_id} could not be made: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise EnvironmentCreationError(f"{env_id} could not be made: SystemExit: {error}") from error


def missing(what: str, error: BaseException, **facts: Any) -> MissingDependencyError:
    """Return the error for what needs a package that is not installed, with the pip command where that is known.

    Args:
        what: what needs it.
        error: what was raised for it (see `is_missing_dependency`).
        facts: further members of the error.
    """
    # A library that catches the ImportError to say it nicer leaves it as the cause or the context.
    causes = [each for each in (error, error.__cause__, error.__context__) if isinstance(each, ImportError)]
    module = next((each.name for each in causes if isinstance(each, ModuleNotFoundError) and each.name), None)
    if module is None and (named := re.search(r"No module named '([\w.]+)'", str(error))):
        module = named[1]  # gym's MuJoCo keeps the text of the ImportError alone
    # Or it is there and a library of the system is not, as libGL is for OpenCV: then its path is told.
    broken = None if module is not None else next((each for each in causes if each.path and each.name == "cv2"), None)
    if broken is not None:
        module = broken.name
    requirement, option = None if module is None else requirement_of(module), ""
    if module is None and (found := _named_in_words(error)) is not None:
        requirement, option = found
    if broken is not None:
        text = f"{what} needs a package that cannot be loaded: {broken}"
    elif module is not None and requirement is None:
        return MissingDependencyError(f"{what}: {missing_module(module, 'its working directory')}", **facts)
    else:
        version = " in a version" if requirement is not None and "<" in requirement else ""
        text = f"{what} needs a package{version} that is not installed: {error}"
    if requirement is None:
        return MissingDependencyError(text, **facts)
    package = package_of(requirement)
    # gym's own advice (gym[box2d]) names packages that no longer build; Gymnasium's is right.
    if f'pip install "{package}"' not in str(error):
        text += f"; install it with: {pip_command(requirement)}"
    if option:
        text += f", and start the server with {option}"
    return MissingDependencyError(text, package=package, **facts)


def _named_in_words(error: BaseException) -> tuple[str, str] | None:
    text = str(error)
    return next((found for words, found in NAMED_IN_WORDS.items() if words in text), None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the libraries themselves say while they make an environment: the caller asked for just that.

    What an environment of another package warns of is let through.
    """
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        # Both conditions: a warning of an environment with stacklevel 2 has the library's module, and one that it
        # gives through the library's logger has the prefix.
        warnings.filterwarnings("ignore", message=r".*(WARN|ERROR): ", module=r"(gym|gymnasium)(\.|$)")
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # pygame's
        yield
