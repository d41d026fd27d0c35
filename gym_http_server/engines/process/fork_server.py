"""The server's side of the fork server (`zygote.py`): starts it, has it fork and kill, and takes its reports of exits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import CallTimeoutError, EnvironmentDiedError, ImportFailedError, OutOfResourcesError, StartError
from ...support.foreign_threads import described
from .connections import Connections
from .fork_server_process import WORKER_MODULE, ForkServerProcess
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import Settings
    from ...runtime.messages import CreateRequest
    from ...runtime.shared.memory import Memory

logger = logging.getLogger(__name__)

READ_SIZE = 1 << 16
MAX_ENV_ID_CHARS = 256
"""Characters of an id that the host of a guest is told."""
MIN_START_SECONDS = 60.0
"""Time for the fork server to load its modules; more if `call_timeout` is more."""


class Entry(NamedTuple):
    """What an environment's process runs.

    Attributes:
        module: a module with `prepare(arguments)`, called once before all forks, and `serve(channel, memory, instance_id)`,
            called in each forked process.
        arguments: plain JSON values.
        connections: makes the server's side of the clients' connections that a process serves.
    """

    module: str = WORKER_MODULE
    arguments: dict[str, Any] = {}  # noqa: RUF012 -- never written to
    connections: Callable[[Memory], Connections] = Connections


class Forked(Protocol):
    """The handle on a forked process."""

    def on_fork(self, lost_threads: list[str]) -> None:
        """Take the names of the fork server's threads, which the process lacks."""

    def on_exit(self, status: int, memory: int | None = None) -> None:
        """Take the wait status of the ended process, and the bytes of memory that it was killed for."""


class ForkServer:
    """A running fork server.

    Attributes:
        ended: whether it has ended, and with it all processes that it forked.
    """

    def __init__(self, process: ForkServerProcess, output: Output) -> None:
        self._process = process
        self._output = output
        self._control = process.control
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._forking: dict[str, tuple[Forked, asyncio.Future[int]]] = {}
        self._forked: dict[int, Forked] = {}
        self.ended = False
        self._loop.add_reader(self._control, self._on_readable)

    @classmethod
    async def start(cls, entry: Entry, settings: Settings, process: ForkServerProcess | None = None) -> ForkServer:
        """Start a fork server, unless its `process` is started already, and wait until it has loaded the modules.

        Raises:
            ImportFailedError: a module cannot be imported.
            OutOfResourcesError: the system has no process or descriptor left.
            StartError: the process ended or took too long before it was ready.
        """
        try:
            process = process or ForkServerProcess(entry.module, settings)
        except OSError as error:
            raise OutOfResourcesError.of(str(error)) from error
        output, process.output = Output(None, process.output), -1
        # Imported modules may write more than a pipe holds.
        output.start()
        self = cls(process, output)
        process.send({"prepare": entry.arguments, "max_memory": settings.max_memory_per_env})
        seconds = max(settings.call_timeout, MIN_START_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._ready
        except TimeoutError:
            await self.stop()
            words = "--import names a module that hangs, or call_timeout is too short for what is to be imported"
            raise StartError(f"the fork server was not ready after {seconds:g} s: {words}") from None
        if "failed" in answer:
            await self.stop()
            raise ImportFailedError(answer["failed"])
        if "ready" not in answer:
            status = await self.stop()
            last = f"; the last that it wrote: {output.lines[-1][:200]}" if output.lines else ""
            raise StartError(f"the fork server ended with exit status {status} before it was ready{last}")
        for module, threads in answer["late"].items():
            why = f"leaves {described(threads)}" if threads else "needs a module of --import that leaves threads"
            logger.warning(
                "%s %s: it is imported in each environment's process, which creations wait for: it %s, and a forked process "
                "would lack them; to make creations fast, start threads when an environment is made, not when its module is imported",
                "--env" if "=" in module else "--import",
                module,
                why,
            )
        if answer["threads"]:
            logger.warning(
                "%s exist in the fork server before the modules of --import, and environments' processes lack them: the start of Python "
                "(sitecustomize, usercustomize or a .pth file) leaves them",
                described(answer["threads"]),
            )
        return self

    async def fork(
        self,
        instance_id: str,
        forked: Forked,
        descriptors: list[int],
        seconds: float,
        request: CreateRequest | None = None,
    ) -> int:
        """Fork a process within some seconds and return its pid; `forked.on_exit` is called when it has ended.

        The descriptors are its socket, the pipe for its output and the shared memory. With a request that
        names an interpreter that may fork, its host forks a guest for the process.

        Raises:
            EnvironmentDiedError: the fork server has ended.
            CallTimeoutError: the fork server does not answer.
            OutOfResourcesError: the system has no process left.
        """
        if self.ended:
            raise EnvironmentDiedError("the fork server ended; try again")
        answer: asyncio.Future[int] = self._loop.create_future()
        self._forking[instance_id] = forked, answer
        message: dict[str, Any] = {"fork": instance_id}
        if request is not None and request.interpreter is not None and request.interpreter.may_fork:
            message["guest"] = request.interpreter.to_wire(), request.env_id.rpartition(":")[2][:MAX_ENV_ID_CHARS]
        try:
            async with asyncio.timeout(seconds if self._process.send(message, descriptors) else 0):
                return await answer
        except TimeoutError:
            # If it answers later, `_on_message` has the process killed.
            raise CallTimeoutError(
                f"the fork server did not answer within {seconds:g} s: the machine is overloaded, or the fork server was stopped",
                seconds=seconds,
            ) from None

    def kill(self, pid: int) -> None:
        """Kill a process and its children."""
        if pid in self._forked and not self.ended and not self._process.send({"kill": pid}):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    async def stop(self) -> int:
        """End the fork server and every process by closing its socket; return its exit status."""
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control)
            self._control.close()
        self._end()
        status = await asyncio.to_thread(self._process.wait)
        self._output.finish()
        return status

    def _on_readable(self) -> None:
        try:
            data = self._control.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(self._control)
            self._end()
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))

    def _on_message(self, message: dict[str, Any]) -> None:
        if "exited" in message:
            ended = self._forked.pop(message["exited"], None)
            if ended is not None:
                ended.on_exit(message["status"], message.get("memory"))
        elif "forked" in message:
            forked, answer = self._forking.pop(message["forked"])
            if "pid" not in message:
                _answer_with(answer, OutOfResourcesError.of(message["error"]))
                return
            self._forked[message["pid"]] = forked
            if answer.cancelled():
                self.kill(message["pid"])
            else:
                forked.on_fork(message["threads"])
                answer.set_result(message["pid"])
        elif not self._ready.done():
            self._ready.set_result(message)

    def _end(self) -> None:
        self.ended = True
        if not self._ready.done():
            self._ready.set_result({})
        for _, answer in self._forking.values():
            _answer_with(answer, EnvironmentDiedError("the fork server ended; try again"))
        self._forking.clear()
        running, self._forked = self._forked, {}
        for pid, forked in running.items():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            forked.on_exit(signal.SIGKILL)


def _answer_with(answer: asyncio.Future[int], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
