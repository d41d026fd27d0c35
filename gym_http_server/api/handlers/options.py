"""Check of a reset's `options`, by the rules of `kwargs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...results.kwargs import KwargsGuard
    from .lookups import Lookups


class OptionsCheck:
    """Refuses options that name code, or a path outside the results roots.

    Args:
        guard: the rules.
        lookups: runs the check in a thread; None to run it here, where nothing else is served.
    """

    def __init__(self, guard: KwargsGuard, lookups: Lookups | None) -> None:
        self._guard = guard
        self._lookups = lookups

    async def check(self, options: Any) -> None:
        """Check options; anything but a non-empty object is ignored.

        Raises:
            FileSystemTimeoutError: the file system did not answer in time.
            InvalidValueError, ForbiddenDirectoryError: as `KwargsGuard.check`.
        """
        if not options or not isinstance(options, dict):
            return
        if self._lookups is None:
            self._guard.check(options, "options")
        else:
            await self._lookups.within_time(lambda note: self._guard.check(options, "options", note))
