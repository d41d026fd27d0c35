"""The `inline` engine: environments in the server's process, on its event loop. Fast, without isolation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from ..runtime.making import opengl
from ..runtime.making.library import declare_imports
from ..runtime.served.opening import open_served
from .base import Engine, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Settings
    from ..runtime.messages import CreateRequest, Reply
    from ..runtime.served.base import Served


T = TypeVar("T")


class InlineEngine(Engine):
    """Environments in the server's process."""

    name = "inline"
    caveat = (
        "environments run inside the server's process, one call at a time in all, without isolation: one that hangs stops "
        "the server, one that crashes ends it, what it prints, changes and starts is the server's own, and call_timeout and "
        "max_memory_per_env have no effect"
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def start(self) -> None:
        """Import the modules that the settings name."""
        opengl.choose()
        declare_imports(self._settings.sources)

    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> Worker:  # noqa: ARG002 -- the interface
        """Make the environment here."""
        return InlineWorker(outside_the_loop(open_served, request, may_fork=False), self._settings.max_reply)

    async def stop(self) -> None:
        """Do nothing: the instances close their environments."""


class InlineWorker(Worker):
    """An environment in this process, whose replies may have `max_reply` bytes."""

    def __init__(self, environment: Served, max_reply: int) -> None:
        self._environment: Served | None = environment
        self._max_reply = max_reply
        self.description = environment.description
        self.usage = environment.usage

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Call the environment, on the event loop."""
        assert self._environment is not None, "a closed worker is not called"  # noqa: S101 -- for the type checker
        return outside_the_loop(self._environment.call, operation, arguments).within(self._max_reply)

    async def close(self, *, at_once: bool = False) -> None:  # noqa: ARG002 -- the interface
        """Close the environment."""
        if self._environment is not None:
            environment, self._environment = self._environment, None
            outside_the_loop(environment.close)


def outside_the_loop(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call an environment as if no event loop were running: it may run its own (`asyncio.run`)."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function(*arguments, **options)
    finally:
        asyncio._set_running_loop(loop)
