"""The registered environments, and whether each can be made here. Run with `python -m`, this module lists them as JSON.

An entry point of another package counts as usable if it can be imported: making it may open a window or drive a robot.
Entry points of the libraries are made once, without a frame, which takes milliseconds, because an import proves too little:
gym's MuJoCo raises its ImportError in the constructor, some entry points of Gymnasium only raise, and some environments
refuse the version of MuJoCo.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from ..messages import LIBRARIES, OWN_IDS
from .subprocess_query import answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..messages import CreateRequest
    from .subprocess_query import Progress

MODULE: Final = "gym_http_server.runtime.registry.registered"
"""The name of this module, whose `__name__` is `__main__` in the process."""

DM_CONTROL: Final = "dm_control"
"""Namespace that shimmy registers with Gymnasium, when its environments are asked for."""

MAX_ENV_ID_LENGTH: Final = 256
MAX_TEXT_LENGTH: Final = 1000
MAX_RENDER_MODES: Final = 100
MAX_KWARGS_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class RegisteredEnv:
    """A registered environment, as plain JSON values.

    Attributes:
        env_id: its id.
        library: one of `LIBRARIES`.
        installed: whether it can be made.
        missing_package: the package to install; None if none is missing or it is unknown.
        reason: why it cannot be made; None if it can.
        max_episode_steps: steps after which an episode is truncated, or None.
        reward_threshold: mean return at which it counts as solved, or None.
        vector_entry_point: name of its own vector implementation, or None.
        render_modes: the render modes that its entry point declares, or None.
        interpreter: the interpreter that registers it; None for the server's own Python.
        kwargs: keyword arguments that it is registered with; empty if they have no JSON form or are not known.
    """

    env_id: str
    library: str
    installed: bool
    missing_package: str | None = None
    reason: str | None = None
    max_episode_steps: int | None = None
    reward_threshold: float | None = None
    vector_entry_point: str | None = None
    render_modes: list[str] | None = None
    interpreter: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        # `asdict` makes deep copies, which take most of a request's time.
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, value: Any) -> RegisteredEnv:
        """Return the environment from JSON of a process that ran third-party code.

        Raises:
            ValueError: the value is not what `to_json` returns.
        """
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise ValueError("it does not have the members of one")
        modes = value["render_modes"]
        texts = [value["env_id"], value["library"], *(modes if isinstance(modes, list) else ())]
        texts += [value[key] for key in ("missing_package", "reason", "vector_entry_point") if value[key] is not None]
        if not (
            all(isinstance(item, str) and item == text(item) for item in texts)
            and 0 < len(value["env_id"]) <= MAX_ENV_ID_LENGTH
            and value["library"] in LIBRARIES
            and isinstance(value["installed"], bool)
            and (modes is None or (isinstance(modes, list) and len(modes) <= MAX_RENDER_MODES))
            and value["max_episode_steps"] == count(value["max_episode_steps"])
            and value["reward_threshold"] == finite(value["reward_threshold"])
            and value["interpreter"] is None
            and value["kwargs"] == plain(value["kwargs"])
        ):
            raise ValueError("a member of it is no such value")
        return cls(**value)


def in_order(environments: Iterable[RegisteredEnv]) -> list[RegisteredEnv]:
    """Return environments sorted by id, then library, the server's own Python before interpreters."""
    places = {name: place for place, name in enumerate(LIBRARIES)}
    return sorted(environments, key=lambda each: (each.env_id, places[each.library], each.interpreter or ""))


def registered_envs(imports: tuple[str, ...], progress: Progress) -> Iterator[RegisteredEnv]:
    """Yield the environments that Gymnasium and gym register.

    Args:
        imports: modules of `--import`, already imported.
        progress: called before each import or construction.
    """
    from ...errors import ImportFailedError
    from ..making.sources.imports import load_plugin, plugins

    for plugin in list(plugins()):
        progress(f"the entry point {plugin.value}", plugin.module)
        with contextlib.suppress(ImportFailedError):  # createEnv tells why
            load_plugin(plugin)
    yield from _listed(imports, progress)


def library_envs(name: str, progress: Progress) -> Iterator[RegisteredEnv]:
    """Yield the environments of a library that is asked for by name, or those of `DM_CONTROL`.

    Raises:
        ImportFailedError: its package cannot be imported.
    """
    from ...errors import ImportFailedError
    from ..making.sources.libraries import LIBRARIES, import_library, register_namespace
    from ..messages import CreateRequest

    package = OWN_IDS.get(name, name)
    progress(f"the import of {package}", package)
    try:
        with _elsewhere():
            if name not in OWN_IDS:
                register_namespace(name)
            else:
                module = import_library(name)
    except (Exception, SystemExit) as error:
        raise ImportFailedError(f"the import of {package}: {type(error).__name__}: {error}", module=package) from error
    if name not in OWN_IDS:
        yield from _listed((), progress, name)
        return
    library = LIBRARIES[name]
    for env_id in library.ids(module):
        look = _Look()
        if library.check is not None:
            progress(f"the import of {env_id}", package)
            before = set(sys.modules)
            try:
                library.check(module, env_id)
            except (Exception, SystemExit) as error:  # noqa: BLE001 -- any exception is the reason why it cannot be made
                _forget_orphans(before)
                look = _Look(error)
        yield _described(look, library.specify(module, env_id), CreateRequest(env_id, library=name))


def _listed(imports: tuple[str, ...], progress: Progress, namespace: str | None = None) -> Iterator[RegisteredEnv]:
    """Yield the registered environments of a namespace, or of all."""
    from ...errors import UnknownEnvironmentError
    from ..making import gym_compat
    from ..making.ids import find, registrations
    from ..making.sources.imports import entry_point_of
    from ..messages import CreateRequest

    looks: dict[Any, _Look] = {}
    for library in ("gymnasium", "gym") if gym_compat.available() else ("gymnasium",):
        for env_id in list(registrations(library)):
            if not isinstance(env_id, str) or not 0 < len(env_id) <= MAX_ENV_ID_LENGTH or env_id != text(env_id):
                continue
            if namespace is not None and not env_id.startswith(f"{namespace}/"):
                continue
            request = CreateRequest(env_id, library=library, strict_env_ids=True, imports=imports)
            try:
                specification = find(request).specification
            except UnknownEnvironmentError:
                continue
            entry_point = entry_point_of(specification)
            key = entry_point if isinstance(entry_point, str) else id(entry_point)
            if key not in looks:
                looks[key] = _look(entry_point, request, progress, may_make=specification.entry_point is not None)
            yield _described(looks[key], specification, request)


@dataclass(frozen=True, slots=True)
class _Look:
    """Result of trying an entry point: its error, or the render modes that it declares."""

    error: BaseException | None = None
    render_modes: list[str] | None = None


def _look(entry_point: Any, request: CreateRequest, progress: Progress, *, may_make: bool) -> _Look:
    from gymnasium.envs.registration import load_env_creator

    from ..making.construct import quiet, render_modes
    from ..making.ids import LIBRARY_PACKAGES
    from ..making.library import make
    from ..making.sources.imports import module_of

    module = module_of(entry_point)
    progress(f"the import of {module}", module)
    before = set(sys.modules)
    try:
        with quiet():
            creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        if may_make and f"{module}.".startswith(LIBRARY_PACKAGES):
            # MuJoCo writes its warnings to a file in the working directory, which is the server's.
            with _elsewhere():
                make(request).environment.close()
        modes = render_modes(creator)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- any exception is the reason why it cannot be made
        _forget_orphans(before)
        return _Look(error)
    return _Look(render_modes=None if modes is None else [text(mode) for mode in modes[:MAX_RENDER_MODES]])


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Change to a temporary directory, if one can be made."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        yield


def _forget_orphans(before: set[str]) -> None:
    """Remove the new modules whose package failed to import.

    Python keeps them in `sys.modules`, and the next import of one would succeed. For example, without pygame the import
    of `gymnasium.envs.box2d` fails after that of its module `bipedal_walker`.
    """
    for name in sorted(sys.modules.keys() - before):
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            del sys.modules[name]


def _described(look: _Look, specification: Any, request: CreateRequest) -> RegisteredEnv:
    from ...errors import EnvironmentCreationError
    from ..making.blame import constructing

    reason = package = None
    cause = look.error
    if cause is not None:
        if isinstance(cause, EnvironmentCreationError):
            cause = cause.__cause__ or cause
        try:
            # The error text of `createEnv`, which contains the id.
            with constructing(request.env_id):
                raise cause
        except EnvironmentCreationError as error:
            reason, package = text(error.detail), error.facts.get("package")
    vector = getattr(specification, "vector_entry_point", None)
    if vector is not None and not isinstance(vector, str):
        named = vector if hasattr(vector, "__qualname__") else type(vector)
        vector = f"{named.__module__}:{named.__qualname__}"
    return RegisteredEnv(
        request.env_id,
        request.library,
        installed=look.error is None,
        missing_package=None if package is None else text(package),
        reason=reason,
        max_episode_steps=count(specification.max_episode_steps),
        reward_threshold=finite(specification.reward_threshold),
        vector_entry_point=None if vector is None else text(vector),
        render_modes=look.render_modes,
        kwargs=plain(getattr(specification, "kwargs", None)),
    )


def text(value: Any) -> str:
    """Return a value as text that UTF-8 can encode, of at most `MAX_TEXT_LENGTH` characters."""
    return str(value)[:MAX_TEXT_LENGTH].encode(errors="replace").decode()


def plain(value: Any) -> dict[str, Any]:
    """Return a dict of at most `MAX_KWARGS_BYTES` in its JSON form, and an empty one for anything else."""
    try:
        encoded = orjson.dumps(value)
    except (TypeError, ValueError):
        return {}
    made = orjson.loads(encoded) if len(encoded) <= MAX_KWARGS_BYTES else None
    return made if isinstance(made, dict) else {}


def finite(value: Any) -> float | None:
    """Return a finite number as a float, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def count(value: Any) -> int | None:
    """Return an integer that is not negative and fits in 64 bits, and None for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return None if isinstance(value, bool) or not 0 <= number < 1 << 63 else number


def _answer(question: Any, progress: Progress) -> list[dict[str, Any]]:
    name = question["library"]
    environments = (
        registered_envs(tuple(question["imports"]), progress) if name is None else library_envs(name, progress)
    )
    return [environment.to_json() for environment in in_order(environments)]


if __name__ == "__main__":
    from gym_http_server.runtime.registry import registered

    answer(registered._answer)  # not this module's, which errors would take for third-party code
