"""Single environments made by Gymnasium or gym, and the imports that register more.

The libraries get a specification, never an id: given an id such as `module:Env-v0`, both import the module.
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import load_env_creator

from ...errors import InvalidValueError
from ..snapshots.emulator import remember_actions
from . import gym_compat
from .blame import constructing
from .construct import adapted, closing_on_error, construct, quiet
from .ids import LIBRARY_PACKAGES, find
from .own_spaces import SPACE_NAMES, given_spaces, own_space
from .sources.imports import declare, module_of
from .wrappers import check_names, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import gymnasium

    from ..messages import CreateRequest

PROPERTIES = {"max_episode_steps", "render_mode", "num_envs", "vectorization_mode", "wrappers", "autoreset"}
RESERVED = PROPERTIES | {
    *("id", "disable_env_checker", "new_step_api", "order_enforce"),
    *("vector_kwargs", "entry_point", "vector_entry_point", "additional_wrappers"),
}
"""Arguments of the libraries' `make` and fields of their specifications. They name code or concern `make`, and are never
keyword arguments of an environment."""

IGNORED = frozenset({"apply_api_compatibility"})
"""Arguments of gym's `make` that users copy and that do nothing: old environments are adapted without."""


@dataclass(frozen=True, slots=True)
class NewEnvironment:
    """A new environment.

    Attributes:
        environment: has the methods of `gymnasium.Env`.
        env_id: the id that is served.
        library: library and version.
        render_mode: its render mode, or None.
        action_space, observation_space: its spaces, as spaces of Gymnasium.
        prepare_action: converts a decoded action before `step`; None if nothing is to convert.
        notice: a sentence that another id is served than the one requested, or None.
    """

    environment: Any
    env_id: str
    library: str
    render_mode: str | None
    action_space: gymnasium.Space[Any]
    observation_space: gymnasium.Space[Any]
    prepare_action: Callable[[Any], Any] | None = None
    notice: str | None = None


def make(request: CreateRequest) -> NewEnvironment:
    """Make an environment.

    Raises:
        UnknownEnvironmentError: no library registers the id, or it is malformed.
        InvalidValueError: a keyword argument is reserved, the environment does not have the render mode, or a wrapper
            does not fit.
        MissingDependencyError: a package that the environment or a wrapper needs is not installed.
        EnvironmentCreationError: the constructor raised.
    """
    kwargs = constructor_kwargs(request)
    check_names(request)
    registration = find(request, can_be_made)
    kwargs = {**registration.kwargs, **kwargs}
    prepare_action = None
    with constructing(registration.env_id, request.kwargs), quiet():
        environment, render_mode = construct(registration, kwargs, request)
        if request.wrappers:
            environment = wrap(adapted(environment, registration, request), request)
        with closing_on_error(environment):
            remember_actions(environment)
            given = given_spaces(environment)
            action_space, observation_space = (
                own_space(space, name, registration.env_id) for space, name in zip(given, SPACE_NAMES, strict=True)
            )
            if registration.library == "gym" and not request.wrappers:
                prepare_action = gym_compat.prepare_action_for(action_space, narrows=gym_compat.narrows(environment))
    return NewEnvironment(
        environment,
        registration.env_id,
        f"{registration.library} {importlib.metadata.version(registration.library)}",
        render_mode,
        action_space,
        observation_space,
        prepare_action=prepare_action,
        notice=registration.notice,
    )


def can_be_made(request: CreateRequest) -> bool:
    """Return whether the registered id of a request can be made here.

    An environment of the libraries is made and closed. One of another package may open a window or drive a robot, so
    only its entry point is imported.
    """
    try:
        entry_point = find(request).specification.entry_point
        if f"{module_of(entry_point)}.".startswith(LIBRARY_PACKAGES):
            make(request).environment.close()
        elif isinstance(entry_point, str):
            with quiet():
                load_env_creator(entry_point)
    except (Exception, SystemExit):  # noqa: BLE001 -- third-party code may raise anything
        return False
    return True


def declare_imports(sources: Iterable[str]) -> None:
    """Declare what `--import` and `--env` name, so that its environments can be made; see `sources.imports.declare`.

    Raises:
        ImportFailedError: one of them cannot be imported.
    """
    for source in sources:
        declare(source)
    if "gym" in sys.modules:
        gym_compat.load()


def constructor_kwargs(request: CreateRequest) -> dict[str, Any]:
    """Return the keyword arguments for the environment's constructor.

    Raises:
        InvalidValueError: one of the client's is reserved.
    """
    for name in sorted(RESERVED & request.kwargs.keys()):
        how = f"it is a property beside kwargs, {name!r}" if name in PROPERTIES else "it cannot be set"
        raise InvalidValueError(f"kwargs are for the environment's constructor, and {name!r} is not one of them: {how}")
    return {name: value for name, value in request.kwargs.items() if name not in IGNORED}
