"""`Walk`: visits all objects reachable from an environment, and saves the content of each.

A restore writes contents into the same objects, because a copy would break references: array views share memory, and closures,
bound methods and libraries hold objects. An object that the environment has dropped since is kept alive by the snapshot.
"""

from __future__ import annotations

import itertools
import random
import types
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .own_code import OwnCode, held_by
from .saved import NotWalkableError, SavedBuilder
from .visitors import CODE, Visitors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .own_code import Code
    from .saved import Array


PROCESS_WIDE: Final[tuple[Any, ...]] = tuple(draw.__self__ for draw in (random.random, np.random.rand))  # type: ignore[attr-defined]
"""The random generators of the process."""


class Walk(SavedBuilder):
    """One pass over the objects of an environment.

    Args:
        visitors: the visit of each class.
        before: `Saved.large` of the snapshot before, whose unchanged contents are shared.
    """

    def __init__(self, visitors: Visitors, before: Mapping[int, tuple[Any, Array]]) -> None:
        super().__init__(visitors.note_module, before)
        self._visitors = visitors
        self._seen: dict[int, Any] = {}

    def go(self, roots: Iterable[Any]) -> None:
        """Visit all objects reachable from `roots`.

        Raises:
            NotWalkableError: an object cannot be saved.
        """
        todo, visitors, seen = self.todo, self._visitors, self._seen
        todo.extend(roots)
        while todo:
            value = todo.pop()
            visit = visitors[type(value)]
            if visit is None:
                continue
            key = id(value)
            if key not in seen:
                seen[key] = value
                visit(value, self)

    def pass_over(self, values: Iterable[Any]) -> None:
        """Leave some objects out of the walk."""
        self._seen.update((id(value), value) for value in values)

    def go_through_code(self, visitors: Visitors) -> None:
        """Visit the state in the environment's own code, and the random generators of the process.

        Its own code are the classes and modules that the walk has met, and those that they name (see `OwnCode`). Values
        that cannot be saved are left out. Only for a process with a single environment: others would share this state.

        Args:
            visitors: replaces the visitors of the walk, so that classes met from here on do not count as met.
        """
        spaces = self._visitors.spaces
        if not spaces:
            return
        self.go(PROCESS_WIDE)
        self._visitors, self.note_module = visitors, visitors.note_module
        own = OwnCode(spaces)
        todo: list[Code] = list(spaces)
        met = set(map(id, todo))
        classes = 0
        while todo:
            code = todo.pop()
            held: Iterable[Any]
            leads: Iterable[Code] = ()
            if isinstance(code, types.FunctionType):
                held = held_by(code)
            else:
                saved = _held(code)
                self.entries.append((_put_held, code, saved))
                held, leads = saved.values(), own.led_to(code)
            for value in held:
                self._go_where_possible(value)
            beside, classes = visitors.spaces[classes:], len(visitors.spaces)
            for code in itertools.chain(leads, (space for space in beside if own.has(space))):
                if id(code) not in met:
                    met.add(id(code))
                    todo.append(code)

    def _go_where_possible(self, root: Any) -> None:
        logs: tuple[list[Any], ...] = (self.sets, self.entries, self.arrays, self.foreign)
        marks = [len(log) for log in logs]
        seen = len(self._seen)
        try:
            self.go((root,))
        except NotWalkableError:
            self.todo.clear()
            for log, mark in zip(logs, marks, strict=True):
                del log[mark:]
            while len(self._seen) > seen:
                self._seen.popitem()


def _held(space: type | types.ModuleType) -> dict[str, Any]:
    """Return the attributes of a class or module that are no code."""
    return {
        name: value
        for name, value in list(vars(space).items())
        if not name.startswith(("__", "_abc_")) and not isinstance(value, CODE)
    }


def _put_held(space: type | types.ModuleType, saved: dict[str, Any]) -> None:
    kind = type if isinstance(space, type) else types.ModuleType  # a subclass may override __setattr__
    held = _held(space)
    for name, value in saved.items():
        if name not in held or held[name] is not value:
            kind.__setattr__(space, name, value)
    for name in held.keys() - saved.keys():
        kind.__delattr__(space, name)
