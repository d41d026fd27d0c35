"""Paths that clients name, looked up with a deadline: a network file system may never answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ...errors import FileSystemTimeoutError
from ...support.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...results.kwargs import Note

T = TypeVar("T")
Look: TypeAlias = "Callable[[Note], T]"

MAX_THREADS: Final = 16
LOOKUP_SECONDS: Final = 10.0
"""How long the lookups of one request may take; as many as may be take half a second on a local disk."""


class Lookups:
    """Threads that ask the file system.

    Args:
        call_timeout: seconds that a call of an environment may take, and these lookups no longer.
    """

    def __init__(self, call_timeout: float) -> None:
        self._seconds = min(LOOKUP_SECONDS, call_timeout)
        self._threads = DaemonThreads(MAX_THREADS, "paths")

    async def within_time(self, look: Look[T]) -> T:
        """Return what `look` returns; it is called in a thread, with a function to be told of each text that is looked up.

        Raises:
            FileSystemTimeoutError: it was not over in time; the thread is left to itself.
        """
        latest: str | None = None

        def note(text: str) -> None:
            nonlocal latest
            latest = text

        try:
            return await self._threads.within(self._seconds, look, note)
        except TimeoutError:
            raise FileSystemTimeoutError.of(latest, self._seconds) from None
