"""Calls of a library's `make`: the choice of the render mode, and the warnings that are suppressed."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
from gymnasium.envs.registration import load_env_creator

from ...errors import InvalidValueError
from . import gym_compat, opengl
from .dependencies import is_missing_dependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages import CreateRequest
    from .ids import Registration

Make: TypeAlias = Callable[..., Any]


def make_single(registration: Registration, request: CreateRequest, **kwargs: Any) -> Any:
    """Return the environment that the library's `make` returns for a specification."""
    module = gymnasium if registration.library == "gymnasium" else gym_compat.load()
    return module.make(
        registration.specification, max_episode_steps=request.max_episode_steps, disable_env_checker=True, **kwargs
    )


def adapted(environment: Any, registration: Registration, request: CreateRequest) -> Any:
    """Return an environment with Gymnasium's interface, whichever library made it."""
    if registration.library == "gymnasium":
        return environment
    with closing_on_error(environment):
        return gym_compat.Adapted(
            environment, registration.env_id, request.max_episode_steps or registration.specification.max_episode_steps
        )


def construct(
    registration: Registration,
    kwargs: dict[str, Any],
    request: CreateRequest,
    entry_point: Any = None,
    make: Make = make_single,
) -> tuple[Any, str | None]:
    """Return a new environment and its render mode.

    Args:
        registration: the registration that serves the id.
        kwargs: keyword arguments for the environment's constructor.
        request: the client's request.
        entry_point: the constructor or its name, if it is not the specification's.
        make: called with `registration`, `request` and the keyword arguments.

    Raises:
        InvalidValueError: the environment does not have the requested render mode.
        Exception: any exception of the constructor.
    """
    entry_point = entry_point or registration.specification.entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    opengl.keep_from_aborting()
    modes = render_modes(creator)

    def call(mode: str | None) -> tuple[Any, str | None]:
        environment = make(registration, request, **kwargs, **({} if mode is None else {"render_mode": mode}))
        opengl.keep_from_aborting()  # again, because the constructor may have imported mujoco
        # Some environments take the argument without setting the attribute; in **kwargs alone it has no effect.
        return environment, getattr(environment, "render_mode", None) or (mode if takes else None)

    # gym's wrapper around environments of the old API takes the mode instead of the constructor.
    wrapped = bool(getattr(registration.specification, "apply_api_compatibility", False))
    takes = wrapped or _takes(creator)
    may_take = "render_mode" not in registration.specification.kwargs and (takes or _takes(creator, in_kwargs=True))
    if request.render_mode is not None:
        _check(registration, request.render_mode, modes)
        environment, mode = call(request.render_mode)
        if modes is None:
            with closing_on_error(environment):
                _check(registration, request.render_mode, render_modes(environment))
        return environment, mode
    if not may_take:
        return call(None)
    if modes is None:
        return _made_to_learn_modes(call)
    preferred = _preferred(modes)
    try:
        return call(preferred)
    except Exception as error:
        # The client did not ask for this mode. Try once without it if **kwargs are passed on to code that does not
        # know the argument, or if the drawing library is not installed.
        unknown = isinstance(error, TypeError) and not takes
        if preferred is None or not (unknown or is_missing_dependency(error)):
            raise
    return call(None)


def _made_to_learn_modes(call: Callable[[str | None], tuple[Any, str | None]]) -> tuple[Any, str | None]:
    """Make an environment whose entry point does not name its modes: without a mode, then again with the best one."""
    plain, mode = call(None)
    preferred = _preferred(render_modes(plain) or [])
    if preferred is None or mode is not None:
        return plain, mode
    try:
        better = call(preferred)
    except Exception:  # noqa: BLE001 -- the client asked for no mode, and `plain` has none
        return plain, None
    with contextlib.suppress(Exception):
        plain.close()
    return better


def _takes(creator: Any, *, in_kwargs: bool = False) -> bool:
    """Return whether an entry point has the parameter `render_mode`, or with `in_kwargs` takes any keyword."""
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return False
    if in_kwargs:
        return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return any(parameter.name == "render_mode" for parameter in parameters)


def render_modes(holder: Any) -> list[str] | None:
    """Return the render modes in the metadata of an environment or its class, or None if they are not declared."""
    metadata = getattr(holder, "metadata", None)
    if not isinstance(metadata, dict):
        return None
    modes = metadata.get("render_modes", metadata.get("render.modes"))
    return None if modes is None else [str(mode) for mode in modes]


def _check(registration: Registration, mode: str, modes: list[str] | None) -> None:
    if modes is None:
        return
    # `make` adds lists of frames, and a window that shows `rgb_array` frames.
    window = {"human"} if {"rgb_array", "rgb_array_list"} & set(modes) else set()
    if mode not in {*modes, *(f"{name}_list" for name in modes), *window}:
        have = ", ".join(sorted(modes)) or "none at all"
        raise InvalidValueError(f"{registration.env_id} has no render mode {mode!r}: it has {have}", render_modes=modes)


def _preferred(modes: list[str]) -> str | None:
    return next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)


@contextlib.contextmanager
def closing_on_error(environment: Any) -> Iterator[None]:
    """Close the environment if the body raises."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            environment.close()
        raise


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings that gymnasium and gym themselves give in `make`; those of environments pass."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        # Both conditions: an environment's warning with stacklevel 2 has the library's module, and one through the
        # library's logger has the prefix.
        warnings.filterwarnings("ignore", message=r".*(WARN|ERROR): ", module=r"(gym|gymnasium)(\.|$)")
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # pygame's
        yield
