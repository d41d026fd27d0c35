"""Makes environments and batches of guests, by the request."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...errors import EnvironmentDiedError, InvalidValueError, MissingDependencyError, UnknownEnvironmentError
from ..making.blame import constructing
from ..making.construct import closing_on_error
from ..making.library import NewEnvironment, constructor_kwargs
from ..making.sources.libraries import LIBRARIES
from ..making.vectorize import AUTORESET_MODES, NewBatch, SingleValues
from ..making.wrappers import check_names, wrap
from .environment import GuestEnv, GuestVectorEnv, make_lanes
from .link import GuestLink

if TYPE_CHECKING:
    import socket

    from ..messages import CreateRequest, Interpreter

_inherited: list[tuple[socket.socket, int]] = []


def inherit(guest: tuple[socket.socket, int] | None) -> None:
    """Take what `GuestHosts.connect` returned for this process's environment."""
    _inherited[:] = [] if guest is None else [guest]


def make_guest(request: CreateRequest) -> NewEnvironment:
    """Make an environment in the interpreter of a request; raises as `making.library.make`."""
    check_names(request)
    environments, env_id, library = _lanes(request, 1)
    with constructing(env_id):
        environment = wrap(environments[0], request)
    return NewEnvironment(
        environment,
        env_id,
        library,
        environments[0].render_mode,
        environment.action_space,
        environment.observation_space,
    )


def make_guest_batch(request: CreateRequest) -> NewBatch:
    """Make a batch in the interpreter of a request; raises as `making.vectorize.make_batch`.

    Its lanes are environments of one guest, because a Python for each takes a hundred megabytes.
    """
    check_names(request)
    if request.vectorization_mode not in ("auto", "sync"):
        raise InvalidValueError(
            f"{request.env_id} cannot be made in vectorization_mode {request.vectorization_mode!r}: environments of an "
            "interpreter are made in mode 'sync'"
        )
    autoreset = request.autoreset_mode or "next_step"
    environments, env_id, library = _lanes(request, request.num_envs or 1)
    with constructing(env_id), closing_on_error(environments[0]):
        batch = GuestVectorEnv(
            [lambda lane=lane: SingleValues(wrap(lane, request)) for lane in environments],
            copy=False,
            autoreset_mode=AUTORESET_MODES[autoreset],
        )
    return NewBatch(batch, env_id, library, environments[0].render_mode, "sync", autoreset, None)


def _lanes(request: CreateRequest, count: int) -> tuple[list[GuestEnv], str, str]:
    interpreter = request.interpreter
    assert interpreter is not None, "asked for by the caller"  # noqa: S101 -- for the type checker
    kwargs = constructor_kwargs(request)
    if request.library in LIBRARIES:
        raise InvalidValueError(f"library {request.library!r} is for the server's own Python: leave interpreter out")
    env_id = _without_module(request.env_id, interpreter)
    asked: dict[str, Any] = {
        "env_id": env_id,
        "library": request.library,
        "kwargs": kwargs,
        "render_mode": request.render_mode,
        "max_episode_steps": request.max_episode_steps,
        "lanes": count,
    }
    link = connect(interpreter)
    with contextlib.ExitStack() as on_error:
        on_error.callback(link.close)
        try:
            with constructing(env_id):
                environments, library = make_lanes(link, asked)
        except UnknownEnvironmentError as error:
            raise UnknownEnvironmentError.of(request.env_id, error.detail) from None
        except MissingDependencyError as error:
            raise MissingDependencyError(
                f"{env_id} needs a package that interpreter {interpreter.name!r} has not, so install it there: "
                f"{error.__cause__ or error.detail}"
            ) from None
        except TypeError as error:
            raise InvalidValueError(f"{env_id} has a space that has no JSON form: {error}") from None
        on_error.pop_all()
    return environments, env_id, library


def connect(interpreter: Interpreter) -> GuestLink:
    """Return a connection to a guest, which a host has forked, or else is started."""
    while _inherited:
        try:
            return GuestLink(interpreter, _inherited.pop())
        except EnvironmentDiedError:
            pass  # no host that could be forked
    return GuestLink(interpreter)


def _without_module(env_id: str, interpreter: Interpreter) -> str:
    module, colon, name = env_id.partition(":")
    if not colon:
        return env_id
    if module in {each.partition(":")[0] for each in interpreter.imports}:
        return name
    raise UnknownEnvironmentError.of(
        env_id,
        f"it names the module {module!r}: start the server with --interpreter-import {interpreter.name}={module}",
    )
