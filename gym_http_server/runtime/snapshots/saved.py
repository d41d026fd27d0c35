"""`Saved`: the contents of many objects at one moment, how they are restored, and the builder that visits fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...errors import NotCopyableError

if TYPE_CHECKING:
    from collections.abc import Mapping

Put: TypeAlias = Callable[[Any, Any], None]
"""Restores the content of an object, given the object and its content."""

Visit: TypeAlias = Callable[[Any, "SavedBuilder"], None]
"""Saves the content of an object in a builder, and adds the objects that it refers to."""

Array: TypeAlias = "np.ndarray[Any, Any]"


class NotWalkableError(Exception):
    """An object cannot be saved; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The contents of many objects at one moment.

    Attributes:
        entries: function that restores, object, content; restoring never fails.
        arrays: array, content.
        foreign: function that restores, function that saves, object, content. Objects of other libraries and others that
            may refuse a content; then they are unchanged.
        large: object and content of large arrays, by id of the object.
        needs_frame: the frame of that moment cannot be rendered from the contents.
    """

    entries: list[tuple[Put, Any, Any]]
    arrays: list[tuple[Array, Array]]
    foreign: list[tuple[Put, Callable[[Any], Any], Any, Any]]
    large: dict[int, tuple[Any, Array]]
    needs_frame: bool

    def put_back(self) -> None:
        """Restore the content of every object.

        Raises:
            NotCopyableError: an object refuses its content; all objects are unchanged.
        """
        self._prepare_arrays()
        self._put_foreign()
        self._put_own()

    def undo_drawing(self) -> None:
        """Undo the changes of rendering this state, such as draws from a generator.

        Objects of other libraries are not restored: rendering only reads them, and restoring takes much longer.

        Raises:
            NotCopyableError: an array refuses its content.
        """
        self._prepare_arrays()
        self._put_own()

    def _prepare_arrays(self) -> None:
        for array, content in self.arrays:
            if array.shape != content.shape:
                raise NotCopyableError(
                    f"the state cannot be put back: an array of shape {content.shape} was given the shape {array.shape} in place"
                )
            if not array.flags.writeable:
                try:
                    array.flags.writeable = True
                except ValueError as error:
                    raise NotCopyableError(f"the state cannot be put back: {error}") from None

    def _put_own(self) -> None:
        for array, content in self.arrays:
            np.asarray(array)[...] = content
        for put, value, content in self.entries:
            put(value, content)

    def _put_foreign(self) -> None:
        undo: list[tuple[Put, Any, Any]] = []
        last = len(self.foreign) - 1
        try:
            for index, (put, save, value, content) in enumerate(self.foreign):
                # An object that refuses is unchanged: the last one never has to be undone.
                before = save(value) if index < last else None
                put(value, content)
                undo.append((put, value, before))
        except Exception as error:
            for put, value, content in reversed(undo):
                put(value, content)
            raise NotCopyableError(f"the state cannot be put back: {type(error).__name__}: {error}") from error


class SavedBuilder:
    """Collects the contents that make a `Saved`.

    Args:
        note_module: called with the module of each function, see `Visitors.note_module`.
        before: `Saved.large` of the snapshot before, whose unchanged contents are shared.

    Attributes:
        todo: objects that are still to be visited.
        sets: sets and their elements.
        entries, arrays, foreign, large, needs_frame: see `Saved`.
    """

    def __init__(self, note_module: Callable[[str | None], None], before: Mapping[int, tuple[Any, Array]]) -> None:
        self.note_module = note_module
        self._before = before
        self.todo: list[Any] = []
        self.sets: list[tuple[set[Any], set[Any]]] = []
        self.entries: list[tuple[Put, Any, Any]] = []
        self.arrays: list[tuple[Array, Array]] = []
        self.foreign: list[tuple[Put, Callable[[Any], Any], Any, Any]] = []
        self.large: dict[int, tuple[Any, Array]] = {}
        self.needs_frame = False

    def add_foreign(self, value: Any, save: Callable[[Any], Any], put: Put) -> None:
        """Save an object of `Saved.foreign`."""
        self.foreign.append((put, save, value, save(value)))

    def shared(self, value: Any, content: Array) -> Array:
        """Return the content of an object, or the equal copy of the snapshot before."""
        before = self._before.get(id(value))
        if before is not None and before[0] is value and _is_same(before[1], content):
            content = before[1]
        self.large[id(value)] = value, content
        return content

    def finish(self) -> Saved:
        """Return the contents."""
        for value, elements in self.sets:
            # The order of a set depends on its history: now it is the order that it has when restored.
            put_set(value, elements)
        return Saved(self.entries, self.arrays, self.foreign, self.large, self.needs_frame)


def put_set(value: set[Any], saved: set[Any]) -> None:
    """Restore the elements of a set."""
    set.clear(value)
    set.update(value, saved)


def _is_same(one: Array, other: Array) -> bool:
    """Return whether two arrays have the same layout and the same bytes."""
    return (
        (one.shape, one.dtype, one.strides) == (other.shape, other.dtype, other.strides)
        and bool(one.flags.c_contiguous)
        and np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8))
    )
