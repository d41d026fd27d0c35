"""The `process` engine: a process for each environment, forked by the fork server (`zygote.py`)."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from ...errors import UnknownEnvironmentError
from ..base import Engine, Worker
from .fork_server import Entry, ForkServer
from .worker import ProcessWorker

if TYPE_CHECKING:
    from ...config import Settings
    from ...runtime.messages import CreateRequest
    from .fork_server_process import ForkServerProcess

logger = logging.getLogger(__name__)


class ProcessEngine(Engine):
    """A process for each environment; the arguments are those of `make_engine`."""

    name = "process"

    def __init__(
        self, settings: Settings, entry: Entry | None = None, process: ForkServerProcess | None = None
    ) -> None:
        self._settings = settings
        self._entry = entry or Entry()
        self._process = process
        self._fork_server: ForkServer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the fork server."""
        await self._forks()

    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> Worker:
        """Fork a process and have it make the environment."""
        forks = await self._forks()
        worker = await ProcessWorker.fork(
            forks, instance_id, call_timeout, self._settings, self._entry.connections, request
        )
        try:
            await worker.make(request)
        except UnknownEnvironmentError as error:
            worker.abandon()
            if not _is_registered_here(request.env_id):
                raise
            raise UnknownEnvironmentError(
                f"{request.env_id} is registered in the program that started this server, and an environment's process does "
                "not see that: put the registration into a module and start the server with imports=('that_module',), or "
                "with engine='inline'",
                **error.facts,
            ) from error
        except BaseException:
            worker.abandon()
            raise
        return worker

    async def stop(self) -> None:
        """End the fork server and every process that it forked."""
        if self._fork_server is not None:
            forks, self._fork_server = self._fork_server, None
            await forks.stop()

    async def _forks(self) -> ForkServer:
        async with self._starting:
            if self._fork_server is None or self._fork_server.ended:
                if self._fork_server is not None:
                    logger.error("the fork server ended; starting another")
                    await self._fork_server.stop()
                process, self._process = self._process, None
                self._fork_server = await ForkServer.start(self._entry, self._settings, process)
            return self._fork_server


def _is_registered_here(env_id: str) -> bool:
    """Return whether a library that is loaded in this process, such as a notebook's, has the id registered."""
    registrations = (sys.modules.get(f"{name}.envs.registration") for name in ("gymnasium", "gym"))
    return any(env_id in getattr(module, "registry", ()) for module in registrations)
