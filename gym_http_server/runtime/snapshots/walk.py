"""A walk through everything that can be reached from an environment, which saves what each object holds.

Every object stays itself: what is saved is its content, and what is put back goes into the very same object. So an array
and its views stay one memory, and closures, bound methods and libraries that hold an object see it restored as well. An
object that the environment has dropped since lives on in what was saved, and comes back with what refers to it.
"""

from __future__ import annotations

import itertools
import random
import types
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .contents import NotWalkableError, put_set
from .own_code import OwnCode, held_by
from .saved import Saved
from .visitors import CODE, Visitors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .own_code import Code
    from .saved import Array, Put


PROCESS_WIDE: Final[tuple[Any, ...]] = tuple(each.__self__ for each in (random.random, np.random.rand))  # type: ignore[attr-defined]
"""The random generators of a process."""


class Walk:
    """One walk.

    Args:
        kinds: what is saved of the instances of each class.
        before: large contents that were saved before (`Saved.large`), to share those that are still the same.

    Attributes:
        todo: objects that are still to be visited.
        sets: sets that were saved, and their elements.
        note_module: see `Visitors`.
        entries, arrays, foreign, large, needs_frame: see `Saved`.
    """

    def __init__(self, kinds: Visitors, before: Mapping[int, tuple[Any, Array]]) -> None:
        self._kinds = kinds
        self.note_module = kinds.note_module
        self._before = before
        self._seen: dict[int, Any] = {}
        self.todo: list[Any] = []
        self.sets: list[tuple[set[Any], set[Any]]] = []
        self.entries: list[tuple[Put, Any, Any]] = []
        self.arrays: list[tuple[Array, Array]] = []
        self.foreign: list[tuple[Put, Callable[[Any], Any], Any, Any]] = []
        self.large: dict[int, tuple[Any, Array]] = {}
        self.needs_frame = False

    def go(self, roots: Iterable[Any]) -> None:
        """Visit everything that can be reached from some objects.

        Raises:
            NotWalkableError: something cannot be saved.
        """
        todo, kinds, seen = self.todo, self._kinds, self._seen
        todo.extend(roots)
        while todo:
            value = todo.pop()
            visit = kinds[type(value)]
            if visit is None:
                continue
            key = id(value)
            if key not in seen:
                seen[key] = value
                visit(value, self)

    def pass_over(self, values: Iterable[Any]) -> None:
        """Do not visit some objects, whatever leads to them."""
        self._seen.update((id(value), value) for value in values)

    def go_through_code(self, kinds: Visitors) -> None:
        """Visit what the environment's own code holds, as far as it can be saved, and what all code of the process shares.

        Its own are the classes and modules that the walk has met, and those of its own code that they name (see `OwnCode`).
        Only in a process that is the environment's own: others would have a part in it.

        Args:
            kinds: others than of the walk so far, because what is met from here on is not the environment's own.
        """
        spaces = self._kinds.spaces
        if not spaces:
            return
        self.go(PROCESS_WIDE)
        self._kinds, self.note_module = kinds, kinds.note_module
        own = OwnCode(spaces)
        todo: list[Code] = list(spaces)
        met = {id(each) for each in todo}
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
            beside, classes = kinds.spaces[classes:], len(kinds.spaces)
            for each in itertools.chain(leads, (each for each in beside if own.has(each))):
                if id(each) not in met:
                    met.add(id(each))
                    todo.append(each)

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

    def shared(self, value: Any, content: Array) -> Array:
        """Return the content of an object, in the copy that was saved before where that is the same."""
        found = self._before.get(id(value))
        if found is not None and found[0] is value and _is_same(found[1], content):
            content = found[1]
        self.large[id(value)] = value, content
        return content

    def finish(self) -> Saved:
        """Return all that was saved."""
        for value, elements in self.sets:
            # The order of a set depends on how it came about: from now on on this, as after it is put back.
            put_set(value, elements)
        return Saved(self.entries, self.arrays, self.foreign, self.large, self.needs_frame)


def _held(space: type | types.ModuleType) -> dict[str, Any]:
    """Return what a class or a module holds that is no code, by name."""
    return {
        name: value
        for name, value in list(vars(space).items())
        if not name.startswith(("__", "_abc_")) and not isinstance(value, CODE)
    }


def _put_held(space: type | types.ModuleType, saved: dict[str, Any]) -> None:
    kind = type if isinstance(space, type) else types.ModuleType  # a subclass may have its own idea of setting
    held = _held(space)
    for name, value in saved.items():
        if name not in held or held[name] is not value:
            kind.__setattr__(space, name, value)
    for name in held.keys() - saved.keys():
        kind.__delattr__(space, name)


def _is_same(one: Array, other: Array) -> bool:
    """Return whether two arrays have the same bytes."""
    return (
        (one.shape, one.dtype, one.strides) == (other.shape, other.dtype, other.strides)
        and bool(one.flags.c_contiguous)
        and np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8))
    )
