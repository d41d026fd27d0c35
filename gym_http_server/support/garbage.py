"""Garbage collection in a process that serves: it scans nothing that lives on again and again."""

from __future__ import annotations

import contextlib
import gc
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INTERPRETER_OBJECTS: Final = 1000
"""More than Python itself exempts at its start: 3.12 does so with some 400 objects."""
MAX_COLLECTION_SECONDS: Final = 0.005
"""Processor time of a whole collection after which what it has left is exempt from the next."""


class Survivors:
    """Exempts objects that live on from garbage collection, which holds every client up while it scans them.

    Not only those of the start: a scan of 1,000 instances takes 30 ms. They are freed as before when nothing refers to them;
    cycles among them are collected after `release`.
    """

    def __init__(self) -> None:
        self._are_callers = gc.get_freeze_count() > MAX_INTERPRETER_OBJECTS
        self._began = 0.0

    def exempt(self) -> None:
        """Exempt what there is, and whatever makes a collection take long later."""
        gc.freeze()
        if not self._are_callers:
            gc.callbacks.append(self._on_collection)

    def release(self) -> None:
        """Exempt nothing any more, unless the caller did so before."""
        if self._on_collection in gc.callbacks:
            gc.callbacks.remove(self._on_collection)
            gc.unfreeze()

    def _on_collection(self, phase: str, facts: dict[str, Any]) -> None:
        if facts["generation"] == 2:
            if phase == "start":
                self._began = time.thread_time()
            elif time.thread_time() - self._began > MAX_COLLECTION_SECONDS:
                # No garbage is among them now.
                gc.freeze()


@contextlib.contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Disable garbage collection while modules are imported: they leave none, and it costs a tenth more time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
