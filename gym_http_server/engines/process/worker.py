"""The server's handle on an environment's process: it starts the process, calls it and kills it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from ...errors import EnvironmentDiedError, InstanceLostError, OutOfResourcesError
from ...runtime.frames import CREATE
from ...runtime.shared.memory import Memory
from ..base import Worker
from .channel import Channel
from .deadline import CLOSE_SECONDS, DRAIN_SECONDS, EXIT_SECONDS, Deadline
from .exit_report import ExitReport
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...config import Settings
    from ...errors import CallTimeoutError
    from ...runtime.messages import CreateRequest, Description, Reply
    from ..base import Lender
    from .connections import Connections
    from .fork_server import ForkServer

logger = logging.getLogger(__name__)


class ProcessWorker(Worker):
    """A handle on an environment's process. Made by `fork`."""

    def __init__(
        self,
        forks: ForkServer,
        instance_id: str,
        call_timeout: float,
        settings: Settings,
        *,
        connection: socket.socket,
        output: Output,
        memory: Memory,
        connections: Connections,
    ) -> None:
        # What the instance sees
        self.usage = memory.usage
        self.traffic = memory.traffic
        # The process
        self._instance_id = instance_id
        self._forks = forks
        self._pid = 0
        self._kill_timer: asyncio.TimerHandle | None = None
        self._report = ExitReport(output, settings.max_memory_per_env)
        # Calls to it, and the clients' connections that it serves
        self._connections = connections
        self._channel = Channel(connection, settings.max_reply, connections, self._kill)
        self._deadline = Deadline(call_timeout, self.usage, self._channel, connections, self._on_timeout)

    @classmethod
    async def fork(
        cls,
        forks: ForkServer,
        instance_id: str,
        call_timeout: float,
        settings: Settings,
        connections: Callable[[Memory], Connections],
        request: CreateRequest | None = None,
    ) -> ProcessWorker:
        """Fork a process that waits for `make`; `connections` is that of its `Entry`, `request` the one to `make`."""
        with contextlib.ExitStack() as on_error, contextlib.ExitStack() as theirs:
            try:
                connection, their_socket = socket.socketpair()
                on_error.callback(connection.close)
                theirs.callback(their_socket.close)
                output = Output(instance_id)
                on_error.callback(output.close)
                theirs.callback(os.close, output.theirs)
                memory, their_memory = Memory.make()
                theirs.callback(os.close, their_memory)
            except OSError as error:
                raise OutOfResourcesError.of(str(error)) from None
            parts: dict[str, Any] = {"connection": connection, "output": output, "memory": memory}
            self = cls(forks, instance_id, call_timeout, settings, **parts, connections=connections(memory))
            on_error.callback(self._release)
            descriptors = [their_socket.fileno(), output.theirs, their_memory]
            self._pid = await forks.fork(instance_id, self, descriptors, call_timeout, request)
            on_error.pop_all()
        asyncio.get_running_loop().add_reader(connection, self._on_readable)
        output.start()
        return self

    async def make(self, request: CreateRequest) -> None:
        """Have the process make the environment."""
        arguments = {"request": request.to_wire(), "max_reply": self._channel.max_reply}
        # Only `create` is answered by a description.
        self.description = cast("Description", await self.call(CREATE, arguments))

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Send the operation to the process and return its reply."""
        if self.loss is not None:
            raise self._report.error(operation, self.loss)
        answer = self._channel.send(operation, arguments)
        self._deadline.on_call(operation)
        self._connections.begin_call()
        try:
            reply: Reply = await answer
        except asyncio.CancelledError:
            self._channel.cancel()
            raise
        except EnvironmentDiedError as error:
            if error.detail:
                # The process says that it ends.
                self._kill(error.detail)
                self._report.output.drain()
                raise self._report.with_output(error.detail) from None
            raise self._report.error(operation, self.loss) from None
        finally:
            self._channel.finish()
            self._connections.end_call()
            # The traceback of its error leads here: the cycle would keep the shared memory.
            del answer
        return reply

    def hand_over(self, connection: int, data: bytes, lender: Lender) -> bool:
        """Give a client's connection to the process; not while it makes the environment or is being killed."""
        if self.loss is not None or not self._connections.hand_over(self._channel.write, connection, data, lender):
            return False
        self._deadline.on_lend()
        return True

    def recall(self) -> None:
        """Have all connections given back; the process is killed if it does not do so in time."""
        if self.loss is None and self._connections.is_held:
            self._connections.recall(self._channel.write)
            self._deadline.on_recall()

    async def close(self, *, at_once: bool = False) -> None:
        """Have the process close the environment and end; kill it if that takes too long."""
        if self.loss is None:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                async with asyncio.timeout(self._deadline.close_timeout):
                    if not at_once:
                        self.recall()
                        await self._connections.returned()
                    if self.loss is None:
                        self._report.is_expected = True
                        async with asyncio.timeout(CLOSE_SECONDS):
                            self._channel.send_close()
                            await asyncio.shield(self._report.reported)
        self.abandon()

    def abandon(self) -> None:
        """Kill the process if it still lives, and release what this handle holds."""
        self._report.is_expected = True
        self._kill("it was closed")
        self._release()

    def _release(self) -> None:
        self._deadline.stop()
        self._channel.close()
        self._report.output.close()

    def _on_readable(self) -> None:
        if self._channel.read() == 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._channel.socket)
            # Its last words and the report of its end come another way, a moment later.
            loop.create_task(self._await_exit())  # noqa: RUF006 -- its timer holds it

    def _on_timeout(self, error: CallTimeoutError) -> None:
        self._kill(error.detail)
        # A call behind a request of a client's connection learns at the exit that the environment is lost.
        if not self._connections.is_executing:
            self._channel.fail(error)

    def _kill(self, why: str) -> None:
        if self.loss is None:
            self.loss = why
            self._log_loss()
        if self._pid and not self._report.reported.done() and self._kill_timer is None:
            self._forks.kill(self._pid)
            # A fork server that hangs reports no end.
            self._kill_timer = asyncio.get_running_loop().call_later(EXIT_SECONDS, self._on_unreported)

    def _log_loss(self) -> None:
        # A process that could not make its environment ends by itself, perhaps before `make` has raised the reason.
        is_unmade = self._channel.operation == CREATE and self._channel.is_refused
        if not (self._report.is_expected or is_unmade):
            names = {"instance_id": self._instance_id}
            logger.info("instance %s: lost: %s", self._instance_id, self.loss, extra=names)

    async def _await_exit(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await asyncio.shield(self._report.reported)
        if not self._report.reported.done():
            self._kill("it closed its connection to the server")
            self._channel.fail(EnvironmentDiedError(""))

    def _on_unreported(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        self.on_exit(signal.SIGKILL)

    def on_fork(self, lost_threads: list[str]) -> None:
        """Have time-outs tell of the threads; see `Forked.on_fork`."""
        self._deadline.lost_threads = lost_threads

    def on_exit(self, status: int, memory: int | None = None) -> None:
        """Answer all that waits for the process; see `Forked.on_exit`."""
        report = self._report
        if report.reported.done():
            return
        report.reported.set_result(None)
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        # A reply that it sent before it ended still counts, though the report was faster.
        end = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < end and self._channel.read():
            pass
        report.output.drain()
        if self.loss is None:
            self.loss = report.describe(status, memory)
            if memory is None:
                self._log_loss()
            else:
                logger.warning("instance %s: %s", self._instance_id, self.loss)
        # It serves no more, and the clients' connections are the server's again.
        was_executing = self._connections.is_executing
        error = self._deadline.error or report.error(self.usage.operation, self.loss)
        self._connections.inherit(error, is_unread=self._deadline.is_unread)
        # A call behind a request of such a connection never began.
        lost = InstanceLostError.of(self._instance_id, self.loss) if was_executing else EnvironmentDiedError("")
        self._channel.fail(lost)
