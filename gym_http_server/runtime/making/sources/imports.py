"""What registers environments: modules and functions of `--import`, factories of `--env`, and packages' entry points."""

from __future__ import annotations

import importlib
import importlib.metadata
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gymnasium
from gymnasium.envs import registration

from ....errors import ImportFailedError
from ..dependencies import missing_module, pip_command, requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_registered: Final[dict[str, set[str]]] = {}
"""Ids that were registered while a module was imported or its function called, by module."""

PLUGIN_GROUP: Final = "gymnasium.envs"
"""Entry points that Gymnasium before 1.0 loaded when it was imported. Later ones load none, and gym loads those of its own."""

_loaded: Final[set[str]] = set()
"""The entry points that were loaded."""


def declare(source: str) -> None:
    """Import a module, and call what registers environments in it, or register a function that makes one.

    Args:
        source: `MODULE` or `MODULE:CALLABLE` of `--import`, or `ID=MODULE:CALLABLE` of `--env`.

    Raises:
        ImportFailedError: the module cannot be imported, it has no such callable, or that raised.
    """
    env_id, _, target = source.rpartition("=")
    module, colon, attribute = target.partition(":")
    option = option_of(source)
    before = _ids()
    try:
        imported = importlib.import_module(module)
        function = operator.attrgetter(attribute)(imported) if colon else None
        if colon and not callable(function):
            raise TypeError(f"{attribute} of {module} is no function or class but {type(function).__name__}")  # noqa: TRY301 -- told like the others
        if env_id:
            gymnasium.registry.pop(env_id, None)  # Gymnasium would warn; the operator's choice is the one that counts
            gymnasium.register(env_id, entry_point=function if "." in attribute else target)
        elif function is not None:
            function()
    except ModuleNotFoundError as error:
        missing = str(error.name or module)
        requirement = requirement_of(missing)
        # The operator reads this, no client.
        advice = (
            missing_module(missing, str(Path.cwd()))
            if requirement is None
            else f"{error}; install it with: {pip_command(requirement, python=sys.executable)}"
        )
        raise ImportFailedError(f"{option}: {advice}", module=module) from error
    except (Exception, SystemExit) as error:
        raise ImportFailedError(f"{option}: {type(error).__name__}: {error}", module=module) from error
    _registered.setdefault(module, set()).update(_ids() - before)


def plugins(*names: str | None) -> Iterator[importlib.metadata.EntryPoint]:
    """Yield entry points of installed packages that are not loaded yet.

    Args:
        *names: namespaces or modules whose environments are wanted; none for all.
    """
    wanted = {name.partition(".")[0].casefold() for name in names if name}
    for plugin in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        own = {plugin.name.casefold(), plugin.module.partition(".")[0].casefold()}
        if plugin.value not in _loaded and (not names or own & wanted):
            yield plugin


def load_plugin(plugin: importlib.metadata.EntryPoint) -> None:
    """Have a package register its environments, as Gymnasium before 1.0 did.

    Raises:
        ImportFailedError: the package raised.
    """
    _loaded.add(plugin.value)
    before = _ids()
    # Gymnasium's own context manager for this leaves its namespace behind where the package raises.
    namespace = registration.current_namespace
    try:
        registration.current_namespace = None if plugin.name.startswith("__") else plugin.name
        function = plugin.load()
        if callable(function):
            function()
    except (Exception, SystemExit) as error:
        detail = f"the entry point {plugin.value} failed: {type(error).__name__}: {error}"
        raise ImportFailedError(detail, module=plugin.module) from error
    finally:
        registration.current_namespace = namespace
    _registered.setdefault(plugin.module.partition(".")[0], set()).update(_ids() - before)


def option_of(source: str) -> str:
    """Return the option of the command line that named a source."""
    return f"{'--env' if '=' in source else '--import'} {source}"


def is_registered_by(module: str, specification: Any) -> bool:
    """Return whether a module, or another one of its package, registered an id."""
    package = module_of(entry_point_of(specification)).partition(".")[0]
    return specification.id in _registered.get(module, ()) or package == module.partition(".")[0]


def entry_point_of(specification: Any) -> Any:
    """Return the entry point of a specification, or else that of batches."""
    return specification.entry_point or getattr(specification, "vector_entry_point", None)


def module_of(entry_point: Any) -> str:
    """Return the name of the module of an entry point, a text or a callable."""
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    entry_point = getattr(entry_point, "func", entry_point)  # of functools.partial
    return str(getattr(entry_point, "__module__", None) or type(entry_point).__module__)


def _ids() -> set[str]:
    gym = sys.modules.get("gym")
    registry = getattr(getattr(getattr(gym, "envs", None), "registration", None), "registry", {})
    return {*gymnasium.registry, *registry}
