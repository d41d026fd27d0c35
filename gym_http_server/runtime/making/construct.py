"""Calls of a library's `make`: the choice of the render mode, and the warnings that are suppressed."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
from gymnasium.envs.registration import load_env_creator

from ...errors import InvalidValueError
from . import gym_compat, opengl
from .dependencies import is_missing_dependency
from .sources.old_interface import FRAME_MODES, adapting, is_unknown_keyword, takes_keyword

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages import CreateRequest
    from .ids import Registration

Make: TypeAlias = Callable[..., Any]


def make_single(registration: Registration, request: CreateRequest, **kwargs: Any) -> Any:
    """Return the environment that the library's `make` returns for a specification."""
    module = gym_compat.load() if registration.library == "gym" else gymnasium
    return module.make(
        registration.specification, max_episode_steps=request.max_episode_steps, disable_env_checker=True, **kwargs
    )


def adapted(environment: Any, registration: Registration, request: CreateRequest) -> Any:
    """Return an environment with Gymnasium's interface, whichever library made it."""
    if registration.library != "gym":
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
    own = registration.specification.entry_point if entry_point is None else entry_point
    creator = load_env_creator(own) if isinstance(own, str) else own
    opengl.keep_from_aborting()
    takes, may_take = takes_keyword(creator, "render_mode"), takes_keyword(creator, None)
    if entry_point is None and (adapter := adapting(creator, registration.library)) is not creator:
        creator, may_take = adapter, True
        registration = replace(registration, specification=_with_entry_point(registration.specification, adapter))
    modes = render_modes(creator)

    def call(mode: str | None) -> tuple[Any, str | None]:
        environment = make(registration, request, **kwargs, **({} if mode is None else {"render_mode": mode}))
        opengl.keep_from_aborting()  # again, because the constructor may have imported mujoco
        # Some environments take the argument without setting the attribute; in **kwargs alone it has no effect.
        return environment, getattr(environment, "render_mode", None) or (mode if takes else None)

    if request.render_mode is not None:
        _check(registration, request.render_mode, modes)
        environment, mode = call(request.render_mode)
        if modes is None:
            with closing_on_error(environment):
                _check(registration, request.render_mode, render_modes(environment))
        return environment, mode
    # A registration may name a mode itself; no window is opened on the server without being asked for.
    if registration.specification.kwargs.get("render_mode", "human") != "human" or not (takes or may_take):
        return call(None)
    preferred = FRAME_MODES[0] if modes is None or _opens_window(creator) else None
    preferred = _preferred(modes or []) or preferred
    try:
        environment, mode = call(preferred)
    except Exception as error:
        if preferred is None or not _is_for_mode(error, preferred, is_declared=modes is not None and takes):
            raise
        return call(None)
    have = render_modes(environment)
    if modes is None and have is not None and mode == preferred and mode not in have:
        # The entry point does not name its modes, and the environment has not the one that was tried.
        with contextlib.suppress(Exception):
            environment.close()
        return call(_preferred(have))
    return environment, mode


def _with_entry_point(specification: Any, entry_point: Callable[..., Any]) -> Any:
    specification = copy.copy(specification)
    specification.entry_point = entry_point
    if hasattr(specification, "apply_api_compatibility"):
        specification.apply_api_compatibility = False  # gym's own adapter, which the entry point replaces
    return specification


def _opens_window(creator: Any) -> bool:
    """Return whether an entry point opens a window by default, whatever modes it declares."""
    try:
        parameter = inspect.signature(creator).parameters.get("render_mode")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.default == "human"


def _is_for_mode(error: Exception, mode: str, *, is_declared: bool) -> bool:
    """Return whether a constructor may have failed for a render mode that the client did not ask for.

    Where the mode is declared, only a missing drawing library counts.
    """
    if is_missing_dependency(error):
        return True
    if is_declared:
        return False
    return (
        is_unknown_keyword(error, "render_mode")
        or isinstance(error, AssertionError)
        or "render" in str(error)
        or mode in str(error)
    )


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
    return next((mode for mode in FRAME_MODES if mode in modes), None)


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
