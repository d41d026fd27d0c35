"""What a walk has saved, and how it is put back: all of it or, where that cannot be, nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...errors import NotCopyableError

Put: TypeAlias = Callable[[Any, Any], None]
"""Puts what was saved of an object back into it."""

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class Saved:
    """The contents of many objects, as they were at one moment.

    Attributes:
        entries: what puts the content back, the object and its content. None of it can fail.
        arrays: arrays and their contents.
        foreign: objects of other libraries and such as may refuse, and then are as they were: what puts back, what saves, the
            object and its content.
        large: the large ones of these contents, by the id of the object, with the object.
        needs_frame: the frame of that moment cannot be drawn from them.
    """

    entries: list[tuple[Put, Any, Any]]
    arrays: list[tuple[Array, Array]]
    foreign: list[tuple[Put, Callable[[Any], Any], Any, Any]]
    large: dict[int, tuple[Any, Array]]
    needs_frame: bool

    def put_back(self) -> None:
        """Give every object its content back.

        Raises:
            NotCopyableError: that cannot be; every object is as it was.
        """
        self._mend_arrays()
        self._put_foreign()
        self._put_own()

    def undo_drawing(self) -> None:
        """Undo what drawing a frame of this very state has changed, such as a generator that it draws noise from.

        What is another library's stays: it is shown by drawing, and takes much longer to put back.

        Raises:
            NotCopyableError: that cannot be.
        """
        self._mend_arrays()
        self._put_own()

    def _mend_arrays(self) -> None:
        for array, content in self.arrays:
            if array.shape != content.shape or not array.flags.writeable:
                _mend(array, content)

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
                # One that refuses is as it was; so there is nothing to undo of the last.
                before = save(value) if index < last else None
                put(value, content)
                undo.append((put, value, before))
        except Exception as error:
            for put, value, content in reversed(undo):
                put(value, content)
            raise NotCopyableError(f"the state cannot be put back: {type(error).__name__}: {error}") from error


def _mend(array: Array, content: Array) -> None:
    """Have an array take a content that it was not ready for."""
    if array.shape != content.shape:
        raise NotCopyableError(
            f"the state cannot be put back: an array of shape {content.shape} was given the shape {array.shape} in place"
        )
    try:
        array.flags.writeable = True
    except ValueError as error:
        raise NotCopyableError(f"the state cannot be put back: {error}") from None
