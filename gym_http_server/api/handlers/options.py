"""The `options` of a reset, held to the rules of `kwargs`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...results.kwargs import KwargsGuard


class OptionsCheck:
    """Refuses options that name code, or a path outside the results roots.

    Args:
        guard: the rules.
        in_thread: check in another thread, because this one serves other instances as well.
    """

    def __init__(self, guard: KwargsGuard, *, in_thread: bool) -> None:
        self._guard = guard
        self._in_thread = in_thread

    async def check(self, options: Any) -> None:
        """Check options; anything but an object with members is passed over.

        Raises:
            InvalidValueError, ForbiddenDirectoryError: as `KwargsGuard.check`.
        """
        if not options or not isinstance(options, dict):
            return
        if self._in_thread:
            await asyncio.to_thread(self._guard.check, options, "options")
        else:
            self._guard.check(options, "options")
