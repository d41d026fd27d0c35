"""The libraries of environments: which of them makes an id, and how. All that differs between them is here and in `gym_compat`.

Ids are resolved here and handed to the library as a specification, never as text: given text such as `module:Env-v0`,
both libraries import what it names.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ImportFailedError, InvalidValueError
from ..snapshots.emulator import remember_actions
from . import gym_compat
from .construct import adapted, closing_on_error, construct, constructing, quiet
from .dependencies import missing_module, pip_command, requirement_of
from .ids import find
from .wrappers import check_names, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import gymnasium

    from ..messages import CreateRequest

OWN_PROPERTIES = {"max_episode_steps", "render_mode", "num_envs", "vectorization_mode", "wrappers", "autoreset"}
RESERVED = OWN_PROPERTIES | {
    *("id", "disable_env_checker", "apply_api_compatibility", "new_step_api", "order_enforce"),
    *("vector_kwargs", "entry_point", "vector_entry_point", "additional_wrappers"),
}
"""Arguments of the libraries' own `make` and fields of their specifications, which name code or concern `make` alone; none
is a keyword argument of an environment."""


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
        InvalidValueError: a keyword argument belongs to `make` itself, the environment has no such render mode, or a wrapper
            cannot be put around it.
        MissingDependencyError: a package that it or a wrapper needs is not installed.
        EnvironmentCreationError: its constructor refused.
    """
    check_kwargs(request.kwargs)
    check_names(request.wrappers)
    found = find(request)
    kwargs = {**found.kwargs, **request.kwargs}
    prepare_action = None
    with constructing(found.env_id), quiet():
        environment, render_mode = construct(found, kwargs, request)
        if request.wrappers:
            environment = wrap(adapted(environment, found, request), request.wrappers)
        with closing_on_error(environment):
            remember_actions(environment)
            spaces = environment.action_space, environment.observation_space
            if found.library == "gym" and not request.wrappers:
                spaces = gym_compat.convert_space(spaces[0]), gym_compat.convert_space(spaces[1])
                prepare_action = gym_compat.prepare_action_for(spaces[0], narrows=gym_compat.narrows(environment))
    return Made(
        environment,
        found.env_id,
        f"{found.library} {importlib.metadata.version(found.library)}",
        render_mode,
        *spaces,
        prepare_action=prepare_action,
        notice=found.notice,
    )


def declare_imports(names: Iterable[str]) -> None:
    """Import the modules that the server was started with, which register their environments.

    Raises:
        ImportFailedError: one of them cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            module = str(error.name or name)
            requirement = requirement_of(module)
            # Whoever starts the server reads this, and no client.
            advice = (
                missing_module(module, str(Path.cwd()))
                if requirement is None
                else f"{error}; install it with: {pip_command(requirement, python=sys.executable)}"
            )
            raise ImportFailedError(f"--import {name}: {advice}", module=name) from error
        except (Exception, SystemExit) as error:
            raise ImportFailedError(f"--import {name}: {type(error).__name__}: {error}", module=name) from error
    if "gym" in sys.modules:
        gym_compat.load()


def check_kwargs(kwargs: dict[str, Any]) -> None:
    """Refuse keyword arguments that are the libraries' own.

    Raises:
        InvalidValueError: there is one.
    """
    for name in sorted(RESERVED & kwargs.keys()):
        how = f"it is a property beside kwargs, {name!r}" if name in OWN_PROPERTIES else "it cannot be set"
        raise InvalidValueError(f"kwargs are for the environment's constructor, and {name!r} is not one of them: {how}")
