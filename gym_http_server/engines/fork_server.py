"""The server's side of the fork server (`zygote.py`): it is started, asked to fork and to kill, and heard of exits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import EnvironmentDiedError, ImportFailedError, OutOfResourcesError, StartError
from ..runtime.variables import variables_for_environments
from .output import Output

if TYPE_CHECKING:
    from ..config import Settings

READ_SIZE = 1 << 16


class Entry(NamedTuple):
    """What an environment's process runs.

    Attributes:
        module: a module with `prepare(arguments)`, called before anything is forked, and `serve(channel, memory,
            instance_id)`, which is the process.
        arguments: plain JSON values.
    """

    module: str = "gym_http_server.runtime.worker"
    arguments: dict[str, Any] = {}  # noqa: RUF012 -- never written to


class Forked(Protocol):
    """Whoever asked for a process, and is told of its end."""

    def on_exit(self, status: int, memory: int | None = None) -> None:
        """Take note that the process ended with that wait status, and was killed for so many bytes of memory."""


class ForkServer:
    """The server's side of the fork server."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, output: Output) -> None:
        self._process = process
        self._output = output
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._forking: dict[str, tuple[Forked, asyncio.Future[int]]] = {}
        self._forked: dict[int, Forked] = {}
        self.ended = False
        self._loop.add_reader(control, self._on_readable)

    @classmethod
    async def start(cls, entry: Entry, settings: Settings) -> ForkServer:
        """Start one, with the modules loaded that the settings name.

        Raises:
            ImportFailedError: one of them cannot be imported.
            StartError: the process ended before it was ready.
        """
        output = Output(None)
        ours, theirs = socket.socketpair()
        with theirs, open(output.theirs, "wb", buffering=0) as pipe:  # noqa: ASYNC230, PTH123 -- a descriptor that we have
            environment = variables_for_environments(settings.pass_variable)
            # One thread each: many environments share the processors, and a process with threads is not safely forked.
            environment.setdefault("OPENBLAS_NUM_THREADS", "1")
            environment.setdefault("OMP_NUM_THREADS", "1")
            process = subprocess.Popen(  # noqa: ASYNC220, S603 -- returns once the process is spawned
                [sys.executable, "-P", "-m", "gym_http_server.engines.zygote", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        ours.setblocking(False)
        # What it imports may write more than a pipe holds.
        output.start()
        self = cls(process, ours, output)
        self._send(
            {
                "prepare": {"entry": entry.module, "arguments": entry.arguments, "imports": list(settings.imports)},
                "max_memory": settings.max_memory_per_env,
            }
        )
        answer = await self._ready
        if "failed" in answer:
            await self.stop()
            raise ImportFailedError(answer["failed"])
        if "ready" not in answer:
            await self.stop()
            last = f"; the last that it wrote: {output.lines[-1][:200]}" if output.lines else ""
            raise StartError(f"the fork server ended with exit status {process.returncode} before it was ready{last}")
        return self

    async def fork(self, instance_id: str, forked: Forked, descriptors: list[int]) -> int:
        """Fork a process and return its pid.

        Args:
            instance_id: whose it is.
            forked: told of its end.
            descriptors: the socket that it serves on, the pipe that it writes to and the memory that it shares.
        """
        if self.ended:
            raise EnvironmentDiedError("the fork server ended; try again")
        answer: asyncio.Future[int] = self._loop.create_future()
        self._forking[instance_id] = forked, answer
        self._send({"fork": instance_id}, descriptors)
        return await answer

    def kill(self, pid: int) -> None:
        """End a process and all that it started."""
        if pid in self._forked and not self.ended:
            self._send({"kill": pid})

    async def stop(self) -> None:
        """Close the socket, which ends the fork server and every process, and wait for that."""
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control)
            self._control.close()
        self._end()
        await asyncio.to_thread(self._process.wait)
        self._output.finish()

    def _send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        data = json.dumps(message).encode() + b"\n"
        # A handful of bytes in a socket buffer of hundreds of kilobytes: the fork server reads faster than we ask.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [data], descriptors or [])

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


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_status(status: int) -> str:
    """Return a wait status in words, such as `exit code 1` or `signal SIGSEGV`."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {signal_name(-code)}"
