"""`OwnCode`: the classes, modules and functions that belong to an environment, and those that each of them names.

Own code are the packages of the environment's classes, and modules that are not installed: those of the working directory,
of PYTHONPATH and of a source tree. Installed libraries are left out: they have caches, pools and one-time initializations that
must not be undone, and searching them takes long.
"""

from __future__ import annotations

import functools
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .visitors import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Code: TypeAlias = type | types.ModuleType | types.FunctionType

_INSTALLED: Final = frozenset(("site-packages", "dist-packages"))
_ENVIRONMENTS: Final = frozenset(("gymnasium.core.Env", "gym.core.Env", "gymnasium.vector.vector_env.VectorEnv"))


class OwnCode:
    """Decides which code belongs to an environment.

    Args:
        spaces: classes and modules that the walk through the environment has met.
    """

    def __init__(self, spaces: Iterable[type | types.ModuleType]) -> None:
        self._packages = {
            _package(space.__module__) for space in spaces if isinstance(space, type) and _is_environment(space)
        }

    def has(self, space: type | types.ModuleType) -> bool:
        """Return whether a class or a module belongs to the environment."""
        module = sys.modules.get(str(space.__module__)) if isinstance(space, type) else space
        if module is None:
            return False
        name, file = (vars(module).get(attribute) for attribute in ("__name__", "__file__"))
        if not isinstance(name, str) or _package(name) in LIBRARIES or name == "__main__":
            return False
        return _package(name) in self._packages or (isinstance(file, str) and _is_loose(file))

    def led_to(self, space: type | types.ModuleType) -> Iterator[Code]:
        """Yield the own classes, modules and functions that a class or module names, and their modules."""
        for value in list(vars(space).values()):
            if isinstance(value, type | types.ModuleType):
                if self.has(value):
                    yield value
                    if isinstance(value, type):
                        yield sys.modules[value.__module__]
            elif (function := _function(value)) is not None:
                # A function's `__module__` may have been copied by a library's decorator.
                module = sys.modules.get(str(function.__globals__.get("__name__")))
                if module is not None and vars(module) is function.__globals__ and self.has(module):
                    yield function
                    yield module


def held_by(function: types.FunctionType) -> Iterator[Any]:
    """Yield the objects that a function refers to: its closure, its defaults and its attributes."""
    if function.__closure__:
        # `__class__`, the cell of `super()`, never changes.
        names = function.__code__.co_freevars
        yield from (cell for name, cell in zip(names, function.__closure__, strict=True) if name != "__class__")
    yield from function.__defaults__ or ()
    if function.__kwdefaults__:
        yield function.__kwdefaults__
    yield vars(function)


def _function(value: Any) -> types.FunctionType | None:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return value if isinstance(value, types.FunctionType) else None


def _is_environment(cls: type) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" in _ENVIRONMENTS for base in cls.__mro__)


def _package(name: str) -> str:
    return str(name).partition(".")[0]


@functools.lru_cache(4096)
def _is_loose(file: str) -> bool:
    return _INSTALLED.isdisjoint(Path(file).parts)
