"""Replies that viewers of an instance share, so that twenty of them cost it what one does."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..runtime.messages import Reply
    from .instance import Instance

KEPT_SECONDS: Final = 60.0
"""Time after which a reply is forgotten, whether the instance has changed or not."""
MAX_REPLIES: Final = 64
"""Maximum number of replies that are kept for an instance."""


class _Shared(NamedTuple):
    task: asyncio.Task[Reply]
    version: str
    begun_at: float


class SharedReplies:
    """The latest replies of calls that change nothing, by instance, call and arguments."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[Instance, dict[str, _Shared]] = weakref.WeakKeyDictionary()

    async def of(self, instance: Instance, call: str, arguments: Mapping[str, Any], max_age: float) -> Reply:
        """Return the reply to a call, shared with others who ask for the same.

        Args:
            instance: the instance.
            call: the call.
            arguments: its arguments.
            max_age: how many seconds old the reply may be, if the instance has changed since; 0 for a reply of one's own.

        Raises:
            GymHttpServerError: as `Instance.call`.
        """
        if not max_age or instance.loss is not None:
            return await instance.call(call, arguments)
        kept = self._kept.setdefault(instance, {})
        key, now = repr((call, sorted(arguments.items()))), time.monotonic()
        shared = kept.get(key)
        if shared is None or not _serves(shared, instance.usage.version, now - max_age):
            if shared is None and len(kept) >= MAX_REPLIES:
                del kept[next(iter(kept))]
            task = asyncio.get_running_loop().create_task(instance.call(call, arguments))
            # Whoever asked may be gone by then, and an error would be of interest to nobody.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            shared = kept[key] = _Shared(task, instance.usage.version, now)
            asyncio.get_running_loop().call_later(KEPT_SECONDS, _forget, kept, key, shared)
        return await asyncio.shield(shared.task)


def _serves(shared: _Shared, version: str, oldest: float) -> bool:
    """Return whether a reply serves who takes one that was asked for at `oldest`: one on its way always does."""
    if not shared.task.done():
        return True
    if shared.task.cancelled() or shared.task.exception() is not None:
        return False
    return shared.begun_at >= oldest or shared.version == version


def _forget(kept: dict[str, _Shared], key: str, shared: _Shared) -> None:
    if kept.get(key) is shared:
        del kept[key]
