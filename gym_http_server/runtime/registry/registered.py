"""What the libraries register, and what of it can be made here: asked of a process of its own (`subprocess_query.py`), this module.

An environment can be made where the module of its entry point can be imported. For those of the libraries themselves that
is not the whole truth: gym's MuJoCo keeps an ImportError for its constructor, Gymnasium registers functions that do nothing
but raise, and some refuse MuJoCo's version. So each entry point of the libraries' own is made once, without a frame being
drawn, which takes milliseconds. An environment of another package may open a window or drive a robot as it is made, and is
only imported.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..making.found import LONGEST_ID, OWN
from .subprocess_query import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages import CreateRequest
    from .subprocess_query import Progress

MODULE: Final = "gym_http_server.runtime.registry.registered"
"""This one; what runs with `python -m` is called otherwise."""

LONGEST_TEXT: Final = 1000
"""Characters of any other text."""

MOST_MODES: Final = 100
"""Render modes of an environment."""


@dataclass(frozen=True, slots=True)
class RegisteredEnv:
    """An environment that a library registers; its members are plain JSON values.

    Attributes:
        env_id: its id.
        library: `gymnasium` or `gym`.
        installed: whether what it needs is there, so that it can be made.
        missing_package: what pip is to install; None where nothing is missing, or it is not known what.
        reason: why it cannot be made; None where it can.
        max_episode_steps: steps after which an episode is truncated, or None.
        reward_threshold: mean return at which it counts as solved, or None.
        vector_entry_point: name of its own vector implementation, or None.
        render_modes: the render modes that its class names; None where that cannot be told without making it.
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

    def to_json(self) -> dict[str, Any]:
        """Return its members by name."""
        # Not `asdict`, whose deep copies take most of a request's time.
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, value: Any) -> RegisteredEnv:
        """Rebuild what `to_json` returned, of a process that has run third-party code.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise ValueError("it does not have the members of one")
        modes = value["render_modes"]
        texts = [value["env_id"], value["library"], *(modes if isinstance(modes, list) else ())]
        texts += [value[key] for key in ("missing_package", "reason", "vector_entry_point") if value[key] is not None]
        if not (
            all(isinstance(each, str) and each == text(each) for each in texts)
            and 0 < len(value["env_id"]) <= LONGEST_ID
            and value["library"] in ("gymnasium", "gym")
            and isinstance(value["installed"], bool)
            and (modes is None or (isinstance(modes, list) and len(modes) <= MOST_MODES))
            and value["max_episode_steps"] == _count(value["max_episode_steps"])
            and value["reward_threshold"] == finite(value["reward_threshold"])
        ):
            raise ValueError("a member of it is no such value")
        return cls(**value)


def registered_envs(imports: tuple[str, ...], progress: Progress) -> list[RegisteredEnv]:
    """Return what `createEnv` can make, were it installed, by id and Gymnasium's before gym's.

    Args:
        imports: the modules that the server was started with, already imported.
        progress: told what is about to be imported or made.
    """
    return sorted(_each(imports, progress), key=lambda each: (each.env_id, each.library != "gymnasium"))


def _each(imports: tuple[str, ...], progress: Progress) -> Iterator[RegisteredEnv]:
    from ...errors import UnknownEnvironmentError
    from ..making import gym_compat
    from ..making.ids import find, registrations
    from ..messages import CreateRequest

    looks: dict[Any, _Look] = {}
    for library in ("gymnasium", "gym") if gym_compat.available() else ("gymnasium",):
        for env_id in list(registrations(library)):
            if not isinstance(env_id, str) or not 0 < len(env_id) <= LONGEST_ID or env_id != text(env_id):
                continue
            request = CreateRequest(env_id, library=library, strict_env_ids=True, imports=imports)
            try:
                specification = find(request).specification
            except UnknownEnvironmentError:
                continue
            entry_point = specification.entry_point or getattr(specification, "vector_entry_point", None)
            key = entry_point if isinstance(entry_point, str) else id(entry_point)
            if key not in looks:
                looks[key] = _look(entry_point, request, progress, may_make=specification.entry_point is not None)
            yield _described(looks[key], specification, request)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of an entry point: the error that it fails with, or its render modes."""

    error: BaseException | None = None
    render_modes: list[str] | None = None


def _look(entry_point: Any, request: CreateRequest, progress: Progress, *, may_make: bool) -> _Look:
    from gymnasium.envs.registration import load_env_creator

    from ..making.construct import quiet, render_modes
    from ..making.library import make

    module = str(entry_point.partition(":")[0] if isinstance(entry_point, str) else _module_of(entry_point))
    progress(f"the import of {module}", module)
    before = set(sys.modules)
    try:
        with quiet():
            creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        if may_make and f"{module}.".startswith(OWN):
            # MuJoCo writes a log of what it warns of into the working directory, which is the server's.
            with _elsewhere():
                make(request).environment.close()
        modes = render_modes(creator)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever is raised is why it cannot be made
        _forget_orphans(before)
        return _Look(error)
    return _Look(render_modes=None if modes is None else [text(mode) for mode in modes[:MOST_MODES]])


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Work in a temporary directory; where there can be none, stay here."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        yield


def _forget_orphans(before: set[str]) -> None:
    """Forget the modules that were not there before and whose package is not there, for its import failed.

    Python leaves them, and would find them at the next import of one without a look at its package: Gymnasium's Box2D
    package fails without pygame, and its bipedal walker, which has been imported by then, would seem to be there.
    """
    for name in sorted(sys.modules.keys() - before):
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            del sys.modules[name]


def _described(look: _Look, specification: Any, request: CreateRequest) -> RegisteredEnv:
    from ...errors import EnvironmentCreationError
    from ..making.construct import constructing

    reason = package = None
    if look.error is not None:
        try:
            # In the words of `createEnv`; others of the same entry point have another id in them.
            with constructing(request.env_id):
                raise _original(look.error)
        except EnvironmentCreationError as error:
            reason, package = text(error.detail), error.facts.get("package")
    vector = getattr(specification, "vector_entry_point", None)
    if vector is not None and not isinstance(vector, str):
        vector = f"{_module_of(vector)}:{getattr(vector, '__qualname__', type(vector).__qualname__)}"
    return RegisteredEnv(
        request.env_id,
        request.library,
        installed=look.error is None,
        missing_package=None if package is None else text(package),
        reason=reason,
        max_episode_steps=_count(specification.max_episode_steps),
        reward_threshold=finite(specification.reward_threshold),
        vector_entry_point=None if vector is None else text(vector),
        render_modes=look.render_modes,
    )


def _module_of(function: Any) -> str:
    return str(getattr(function, "__module__", None) or type(function).__module__)


def _original(error: BaseException) -> BaseException:
    from ...errors import EnvironmentCreationError

    return error.__cause__ or error if isinstance(error, EnvironmentCreationError) else error


def text(value: Any) -> str:
    """Return a value as a text of bounded length that has a form in UTF-8."""
    return str(value)[:LONGEST_TEXT].encode(errors="replace").decode()


def finite(value: Any) -> float | None:
    """Return a finite number as a float, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _count(value: Any) -> int | None:
    try:
        found = operator.index(value)
    except TypeError:
        return None
    return None if isinstance(value, bool) or not 0 <= found < 1 << 63 else found


def _answer(question: Any, progress: Progress) -> list[dict[str, Any]]:
    return [each.to_json() for each in registered_envs(tuple(question), progress)]


if __name__ == "__main__":
    answer(_answer)
