"""Which code is the environment's own, and what one piece of it leads to.

A library that an environment uses has a life of its own: caches, pools, what was initialized once. To turn that back would do
more harm than good, and to look through it takes long. So its own are the packages that its classes come from, and modules that
nobody has installed: those of the working directory, of PYTHONPATH and of a source tree.
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
    """What of all code is an environment's own.

    Args:
        spaces: classes and modules that the walk through the environment has met.
    """

    def __init__(self, spaces: Iterable[type | types.ModuleType]) -> None:
        self._packages = {
            _package(each.__module__) for each in spaces if isinstance(each, type) and _is_environment(each)
        }

    def has(self, space: type | types.ModuleType) -> bool:
        """Return whether a class or a module is its own."""
        module = sys.modules.get(str(space.__module__)) if isinstance(space, type) else space
        if module is None:
            return False
        name, file = (vars(module).get(each) for each in ("__name__", "__file__"))
        if not isinstance(name, str) or _package(name) in LIBRARIES or name == "__main__":
            return False
        return _package(name) in self._packages or (isinstance(file, str) and _is_loose(file))

    def led_to(self, space: type | types.ModuleType) -> Iterator[Code]:
        """Yield the classes, modules and functions of its own that a class or module names, and the modules of these."""
        for value in list(vars(space).values()):
            if isinstance(value, type | types.ModuleType):
                if self.has(value):
                    yield value
                    if isinstance(value, type):
                        yield sys.modules[value.__module__]
            elif (function := _function(value)) is not None:
                # Not its `__module__`, which a decorator of a library copies.
                module = sys.modules.get(str(function.__globals__.get("__name__")))
                if module is not None and vars(module) is function.__globals__ and self.has(module):
                    yield function
                    yield module


def held_by(function: types.FunctionType) -> Iterator[Any]:
    """Yield what a function holds: its closure, its defaults and its attributes."""
    if function.__closure__:
        # `super()` has the class in one, which never changes.
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
    return any(f"{each.__module__}.{each.__qualname__}" in _ENVIRONMENTS for each in cls.__mro__)


def _package(name: str) -> str:
    return str(name).partition(".")[0]


@functools.lru_cache(4096)
def _is_loose(file: str) -> bool:
    return _INSTALLED.isdisjoint(Path(file).parts)
