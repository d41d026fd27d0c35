"""Paths in bodies, looked up within a deadline: a network file system may never answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from ...errors import FileSystemTimeoutError
from ...support.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...results.kwargs import KwargsGuard, Note

T = TypeVar("T")
Look: TypeAlias = "Callable[[Note], T]"

MAX_THREADS: Final = 16
LOOKUP_SECONDS: Final = 10.0
"""Time limit for the lookups of one request; the maximum number of them takes 0.5 s on a local disk."""


class Lookups:
    """Threads for file system lookups.

    Args:
        call_timeout: time limit of an environment's call in seconds, which lookups do not exceed either.
    """

    def __init__(self, call_timeout: float) -> None:
        self._seconds = min(LOOKUP_SECONDS, call_timeout)
        self._threads = DaemonThreads(MAX_THREADS, "paths")

    async def within_time(self, look: Look[T]) -> T:
        """Run `look` in a thread; it gets a function that notes each path before it is looked up.

        Raises:
            FileSystemTimeoutError: `look` did not return in time; its thread is abandoned.
        """
        latest: str | None = None

        def note(text: str) -> None:
            nonlocal latest
            latest = text

        try:
            return await self._threads.within(self._seconds, look, note)
        except TimeoutError:
            raise FileSystemTimeoutError.of(latest, self._seconds) from None


class OptionsCheck:
    """Refuses options that name code, or a path outside the results roots.

    Args:
        guard: the rules.
        lookups: runs the check in a thread.
    """

    def __init__(self, guard: KwargsGuard, lookups: Lookups) -> None:
        self._guard = guard
        self._lookups = lookups

    async def check(self, options: Any) -> None:
        """Check options in a thread; anything but a non-empty object is ignored.

        Raises:
            FileSystemTimeoutError: the file system did not answer in time.
            InvalidValueError, ForbiddenDirectoryError: as `KwargsGuard.check`.
        """
        if options and isinstance(options, dict):
            await self._lookups.within_time(lambda note: self._guard.check(options, "options", note))

    def check_here(self, options: Any) -> None:
        """Check options in this thread: an environment's process serves nobody else, and `call_timeout` ends it.

        Raises:
            InvalidValueError, ForbiddenDirectoryError: as `KwargsGuard.check`.
        """
        if isinstance(options, dict):
            self._guard.check(options, "options")
