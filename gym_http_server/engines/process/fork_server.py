"""The server's side of the fork server (`zygote.py`): it is started, asked to fork and to kill, and heard of exits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import CallTimeoutError, EnvironmentDiedError, ImportFailedError, OutOfResourcesError, StartError
from .fork_server_process import WORKER_MODULE, ForkServerProcess
from .output import Output

if TYPE_CHECKING:
    from ...config import Settings

READ_SIZE = 1 << 16
START_SECONDS = 60.0
"""How long the fork server may take to be ready at least, whatever a call may take."""


class Entry(NamedTuple):
    """What an environment's process runs.

    Attributes:
        module: a module with `prepare(arguments)`, called before anything is forked, and `serve(channel, memory,
            instance_id)`, which is the process.
        arguments: plain JSON values.
    """

    module: str = WORKER_MODULE
    arguments: dict[str, Any] = {}  # noqa: RUF012 -- never written to


class Forked(Protocol):
    """Whoever asked for a process, and is told of its end."""

    def on_exit(self, status: int, memory: int | None = None) -> None:
        """Take note that the process ended with that wait status, and was killed for so many bytes of memory."""


class ForkServer:
    """The server's side of the fork server."""

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
        """Return one that is ready, with the modules loaded that the settings name.

        Args:
            entry: what the processes run.
            settings: the server's settings.
            process: one that has been started already for the same module; None for a new one.

        Raises:
            ImportFailedError: one of the modules cannot be imported.
            OutOfResourcesError: the system gives no process or descriptor.
            StartError: the process ended before it was ready.
        """
        try:
            process = process or ForkServerProcess(entry.module, settings)
        except OSError as error:
            raise OutOfResourcesError.of(str(error)) from error
        output, process.output = Output(None, process.output), -1
        # What it imports may write more than a pipe holds.
        output.start()
        self = cls(process, output)
        process.send({"prepare": entry.arguments, "max_memory": settings.max_memory_per_env})
        # What it imports may take long, or for ever.
        seconds = max(settings.call_timeout, START_SECONDS)
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
        return self

    async def fork(self, instance_id: str, forked: Forked, descriptors: list[int], seconds: float) -> int:
        """Fork a process and return its pid.

        Args:
            instance_id: whose it is.
            forked: told of its end.
            descriptors: the socket that it serves on, the pipe that it writes to and the memory that it shares.
            seconds: how long that may take.

        Raises:
            EnvironmentDiedError: the fork server has ended.
            CallTimeoutError: it does not answer.
            OutOfResourcesError: the system gives no process.
        """
        if self.ended:
            raise EnvironmentDiedError("the fork server ended; try again")
        answer: asyncio.Future[int] = self._loop.create_future()
        self._forking[instance_id] = forked, answer
        try:
            async with asyncio.timeout(seconds if self._process.send({"fork": instance_id}, descriptors) else 0):
                return await answer
        except TimeoutError:
            # Should it answer yet, it is told to end what it forked.
            raise CallTimeoutError(
                f"the fork server did not answer within {seconds:g} s: the machine is overloaded, or the fork server was stopped",
                seconds=seconds,
            ) from None

    def kill(self, pid: int) -> None:
        """End a process and all that it started."""
        if pid in self._forked and not self.ended and not self._process.send({"kill": pid}):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    async def stop(self) -> int:
        """Close the socket, which ends the fork server and every process, wait for that, and return its exit status."""
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
