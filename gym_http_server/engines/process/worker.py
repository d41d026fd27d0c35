"""A handle on an environment's process: calls over its socket, and what is made of its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from ...errors import CallTimeoutError, EnvironmentDiedError, InstanceLostError, InvalidValueError, OutOfResourcesError
from ...runtime.frames import (
    CLOSE,
    CREATE,
    DESCRIPTION,
    ENDED,
    ERROR,
    LAST_WORDS,
    REPLIES,
    REPLY_HEADER,
    RETURNED,
    VALUES,
    RequestPacker,
    most_of,
    unpack_description,
    unpack_error,
    unpack_reply,
    unpack_returned,
)
from ...runtime.shared.memory import Memory
from ..base import Worker
from .fork_server import describe_status, signal_name
from .lent_connection import LentConnection
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from ...config import Settings
    from ...runtime.messages import CreateRequest, Description, Reply
    from ..base import Returned
    from .fork_server import ForkServer

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""How long an environment may take to close, or to give an idle connection back, before its process is killed."""
EXIT_SECONDS = 2.0
"""How long after the end of its socket, or after it was killed, the fork server's word that a process has ended is waited for."""
READ_SIZE = 1 << 16
DRAIN_SECONDS = 0.05
"""How long what a process has sent before its end is read, at most."""
MAX_LOSS = 1000
"""How many characters of what a process says last are kept."""
CLAIM = "claim"
_DESCRIBED = frozenset({DESCRIPTION})


class ProcessWorker(Worker):
    """A handle on an environment's process. Made by `fork`."""

    def __init__(self, forks: ForkServer, instance_id: str, call_timeout: float, settings: Settings) -> None:
        self._forks = forks
        self._instance_id = instance_id
        self._call_timeout = call_timeout
        self._max_reply = settings.max_reply
        self._max_memory = settings.max_memory_per_env
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            try:
                self._connection, self._theirs = socket.socketpair()
                undo.callback(self._connection.close)
                undo.callback(self._theirs.close)
                self._output = Output(instance_id)
                undo.callback(self._output.close)
                undo.callback(os.close, self._output.theirs)
                self._memory, self._their_memory = Memory.make()
            except OSError as error:
                raise OutOfResourcesError.of(str(error)) from None
            undo.pop_all()
        self._connection.setblocking(False)
        self.usage = self._memory.usage
        self.traffic = self._memory.traffic
        self._custody = LentConnection(self._memory.inbox)
        self._pid = 0
        self._packer = RequestPacker()
        self._buffer = bytearray()
        self._answer: asyncio.Future[Reply | Description] | None = None
        self._operation = ""
        self._kinds = _DESCRIBED
        self._limit = call_timeout
        self._sent_at = 0.0
        self._recalled_at: float | None = None
        self._is_behind = False
        self._timer: asyncio.TimerHandle | None = None
        self._unclaimed = 0
        self._exited = self._loop.create_future()
        self._killed_because: str | None = None
        self._excess: dict[str, Any] = {}
        self._timed_out: CallTimeoutError | None = None
        self._is_unread = False
        self._is_closed = False
        self._is_killed = False
        self._is_muted = False
        self._overdue: asyncio.TimerHandle | None = None

    @classmethod
    async def fork(cls, forks: ForkServer, instance_id: str, call_timeout: float, settings: Settings) -> ProcessWorker:
        """Fork a process that waits for `make`."""
        self = cls(forks, instance_id, call_timeout, settings)
        theirs = [self._theirs.fileno(), self._output.theirs, self._their_memory]
        try:
            self._pid = await forks.fork(instance_id, self, theirs, call_timeout)
        except BaseException:
            self._release()
            raise
        finally:
            self._theirs.close()
            os.close(self._output.theirs)
            os.close(self._their_memory)
        self._loop.add_reader(self._connection, self._on_readable)
        self._output.start()
        return self

    async def make(self, request: CreateRequest) -> None:
        """Have the process make the environment."""
        arguments = {"request": request.to_wire(), "max_reply": self._max_reply}
        # Only `create` is answered by a description.
        self.description = cast("Description", await self._exchange(CREATE, arguments))

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Coroutine[Any, Any, Reply]:
        """Send the operation to the process and return its reply."""
        # No coroutine of its own, for this is on every step's way.
        return cast("Coroutine[Any, Any, Reply]", self._exchange(operation, arguments))

    def hand_over(self, connection: int, data: bytes, back: Callable[[Returned | None], None]) -> bool:
        """Give a client's connection to the process, where it waits for the server and serves no other."""
        if self.loss is not None or self._answer is not None or self._unclaimed:
            return False
        if not self._custody.hand_over(self._connection, connection, data, back):
            return False
        self._recalled_at = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._call_timeout, self._on_timer)
        return True

    def recall(self) -> None:
        """Have the connection given back before anything else; the process is killed where it does not do so in time."""
        if self.loss is None and self._answer is None and self._custody.is_held:  # a call has it given back as well
            self._custody.recall(self._connection)
            if self._recalled_at is None:
                self._recalled_at = time.monotonic()
                self._set_timer(min(CLOSE_SECONDS, self._call_timeout))

    async def close(self, *, at_once: bool = False) -> None:
        """Have the process close the environment and end; kill it where that takes too long.

        That is `call_timeout` in all, which a request on a client's own connection may take, or CLOSE_SECONDS where there is none.
        """
        if self.loss is None:
            is_busy = self._custody.is_held and self.usage.busy_since is not None
            seconds = self._call_timeout if is_busy else min(CLOSE_SECONDS, self._call_timeout)
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                async with asyncio.timeout(seconds):
                    if not at_once:
                        self.recall()
                        await self._custody.returned()
                    await self._end()
        self.abandon()

    async def _end(self) -> None:
        if self.loss is None:
            self._is_closed = True
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._loop.sock_sendall(self._connection, self._packer.pack(CLOSE, {}))
                await asyncio.shield(self._exited)

    def abandon(self) -> None:
        """Kill the process, where it still lives, and give back what this handle holds."""
        self._is_closed = True
        self._kill("it was closed")
        self._release()

    async def _exchange(self, operation: str, arguments: Mapping[str, Any]) -> Reply | Description:
        if self.loss is not None:
            raise self._died(operation)
        try:
            frame = self._packer.pack(operation, arguments)
        except (OverflowError, ValueError) as error:
            raise InvalidValueError(f"the body cannot be passed on: {error}") from None
        answer: asyncio.Future[Reply | Description] = self._loop.create_future()
        self._answer = answer
        self._operation = operation
        self._kinds = _DESCRIBED if operation == CREATE else REPLIES if "render" in operation else VALUES
        self._sent_at = time.monotonic()
        self._is_behind = self._custody.is_held
        self._limit = self._call_timeout
        if operation == CLAIM:
            # It takes no time, and is part of a close.
            self._limit = min(self._limit, CLOSE_SECONDS)
            self._set_timer(self._limit)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._call_timeout, self._on_timer)
        is_sent = False
        try:
            sent = self._send(frame)
            if sent < len(frame):
                await self._send_rest(memoryview(frame)[sent:])
            is_sent = True
            return await answer
        except asyncio.CancelledError:
            if not is_sent:
                self._kill(f"{operation} was given up while it was being sent")
            # Nobody waits any more, but the environment answers all the same: that reply must not be the next call's.
            self._unclaimed += not answer.done() or answer.cancelled()
            raise
        except EnvironmentDiedError as error:
            if error.detail:
                # Its own last words, said before it ends.
                self._kill(error.detail)
                raise
            raise self._died(operation) from None
        finally:
            self._answer = None
            # Its error's traceback leads here: the cycle would keep the shared memory.
            del answer

    def _send(self, frame: bytes) -> int:
        try:
            return self._connection.send(frame)
        except OSError:
            return 0

    async def _send_rest(self, rest: memoryview) -> None:
        try:
            await self._loop.sock_sendall(self._connection, rest)
        except OSError:
            await self._await_exit()

    def _on_timer(self) -> None:
        # One timer runs on over many calls, because starting and cancelling one for each takes longer than all else here.
        self._timer = None
        now = time.monotonic()
        due = self._due(now)
        if due is None:
            return
        if due > now:
            self._timer = self._loop.call_later(due - now, self._on_timer)
            return
        is_busy = self.usage.busy_since is not None
        is_waited_for = self._answer is not None and not self._answer.done()
        seconds = self._call_timeout
        if not self._custody.is_held:
            seconds = self._limit
            what = f"{self._operation} took longer than"
        elif is_busy:
            what = f"{self.usage.operation} took longer than"
        elif self._recalled_at is not None and not is_waited_for:
            what, seconds = "its process did not give a connection back within", min(CLOSE_SECONDS, seconds)
        else:
            what = "its process left a request unread for"
            self._is_unread = True
        facts: dict[str, Any] = {"seconds": seconds}
        done = ""
        if (taken := self.usage.of_rollout) is not None and (self._custody.is_held or self._operation == "rollout"):
            facts["steps"], facts["episodes"] = taken
            done = f" after {taken[0]} steps and {taken[1]} episodes of it"
        why = f"{what} {seconds:g} s and the environment was killed{done}: raise --call-timeout, or call_timeout at createEnv"
        self._timed_out = CallTimeoutError(why, **facts)
        self._kill(why)
        # Who is behind a client's own connection learns at the exit that the environment is lost.
        if not self._custody.is_held:
            self._fail(self._timed_out)

    def _due(self, now: float) -> float | None:
        """Return when the process is to be killed if it has done nothing until then, or None where nothing is asked of it.

        Once somebody waits for it, it gains nothing by what it writes into the memory that it shares: no wait is longer than
        twice the time of a call, for the one under way on a client's connection and the one that waits.
        """
        limit = self._limit if self._answer is not None else self._call_timeout
        is_waited_for = self._answer is not None and not self._answer.done()
        if is_waited_for and not self._is_behind:
            return self._sent_at + limit
        if not (is_waited_for or self._custody.is_held):
            return None
        asked_at = self._sent_at if is_waited_for else self._recalled_at
        busy_since = self.usage.busy_since
        if busy_since is not None and busy_since <= now:
            due = busy_since + self._call_timeout
        elif asked_at is None:
            due = self._custody.last_sign(now) + limit
        else:
            idle_since = max(asked_at, min(self.usage.idle_since, now))
            due = idle_since + (limit if is_waited_for else min(limit, CLOSE_SECONDS))
        return due if asked_at is None else min(due, asked_at + 2 * self._call_timeout)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_readable(self) -> None:
        data = self._receive()
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._connection)
            # Its last words and how it ended come another way, a moment later.
            self._loop.create_task(self._await_exit())
            return
        self._take(data)

    def _receive(self) -> bytes | None:
        """Return what has come, nothing at the end of the stream, or None where there is nothing yet."""
        try:
            return self._connection.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def _take(self, data: bytes) -> None:
        if not self._buffer and len(data) >= REPLY_HEADER.size:
            # As good as always it is one whole frame.
            kind, length = REPLY_HEADER.unpack_from(data)
            if len(data) == REPLY_HEADER.size + length and self._may_come(kind, length):
                self._deliver(kind, data[REPLY_HEADER.size :])
                return
        self._buffer += data
        while len(self._buffer) >= REPLY_HEADER.size and not self._is_muted:
            kind, length = REPLY_HEADER.unpack_from(self._buffer)
            if not self._may_come(kind, length):
                self._protocol_error()
                return
            end = REPLY_HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[REPLY_HEADER.size : end])
            del self._buffer[:end]
            self._deliver(kind, body)

    def _may_come(self, kind: int, length: int) -> bool:
        """Return whether a frame of that kind is waited for, and is not too long: before the server has room for it."""
        if length > most_of(kind, self._max_reply):
            return False
        if kind in (RETURNED, ENDED):
            return self._custody.is_held
        if kind == LAST_WORDS or self._unclaimed:
            return True
        return self._answer is not None and not self._answer.done() and (kind in self._kinds or kind == ERROR)

    def _deliver(self, kind: int, body: bytes) -> None:
        try:
            if kind == ENDED:
                self._custody.end()
            elif kind == RETURNED:
                rest, closes, ends_reply = unpack_returned(body)
                self._custody.give_back(rest, closes=closes, ends_reply=ends_reply)
            elif kind == LAST_WORDS:
                self._kill(" ".join(unpack_error(body).detail.split())[:MAX_LOSS])
            elif self._unclaimed:
                self._unclaimed -= 1
            elif kind == ERROR:
                self._fail(unpack_error(body))
            else:
                assert self._answer is not None  # noqa: S101 -- for the type checker
                self._answer.set_result(unpack_description(body) if kind == DESCRIPTION else unpack_reply(kind, body))
        except ValueError:
            self._protocol_error()

    def _protocol_error(self) -> None:
        # Whatever else it has written is not looked at.
        self._is_muted = True
        self._buffer.clear()
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
        self._kill("it broke the protocol between it and the server")
        self._fail(EnvironmentDiedError(""))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _kill(self, why: str) -> None:
        if self.loss is None:
            self.loss = why
            self._log_loss()
            self._killed_because = why
        if self._pid and not self._exited.done() and not self._is_killed:
            self._is_killed = True
            self._forks.kill(self._pid)
            # Those who wait for its end do not wait for the fork server as well.
            self._overdue = self._loop.call_later(EXIT_SECONDS, self._on_overdue)

    def _log_loss(self) -> None:
        if not self._is_closed:
            names = {"instance_id": self._instance_id}
            logger.info("instance %s: lost: %s", self._instance_id, self.loss, extra=names)

    async def _await_exit(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await asyncio.shield(self._exited)
        if not self._exited.done():
            self._kill("it closed its connection to the server")
            self._fail(EnvironmentDiedError(""))

    def _on_overdue(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        self.on_exit(signal.SIGKILL)

    def on_exit(self, status: int, memory: int | None = None) -> None:
        """Note how the process ended (a wait status, and the bytes that it was killed for), and tell who waits for it."""
        if self._exited.done():
            return
        self._exited.set_result(status)
        if self._overdue is not None:
            self._overdue.cancel()
        # A reply or a refusal that it sent before it ended still counts, though word of its end was faster. Another process may
        # have its end of the socket and go on.
        end = time.monotonic() + DRAIN_SECONDS
        while not self._is_muted and time.monotonic() < end and (data := self._receive()):
            self._take(data)
        self._output.drain()
        if memory is not None and self.loss is None:
            self.loss = self._killed_because = (
                f"it took {memory} bytes of memory and the limit is {self._max_memory}: "
                "start the server with a larger --max-memory-per-env"
            )
            self._excess = {"memory": memory, "limit": self._max_memory, "setting": "max_memory_per_env"}
            logger.warning("instance %s: %s", self._instance_id, self.loss)
        if self.loss is None:
            self.loss = f"its process ended with {describe_status(status)}"
            self._log_loss()
        # It can serve no more, and what it had of a connection is the server's again.
        is_before = self._custody.is_held
        self._custody.inherit(self._timed_out or self._died(self.usage.operation), is_unread=self._is_unread)
        # What waited for that connection to be given back was never begun.
        self._fail(InstanceLostError.of(self._instance_id, self.loss) if is_before else EnvironmentDiedError(""))

    def _died(self, operation: str) -> EnvironmentDiedError:
        facts: dict[str, Any] = dict(self._excess)
        if self._killed_because is None and self._exited.done():
            code = os.waitstatus_to_exitcode(self._exited.result())
            facts = {"exit_code": code} if code >= 0 else {"signal": signal_name(-code)}
        lines = list(self._output.lines)
        if lines:
            facts["stderr"] = lines
        last = f"; the last that it wrote: {lines[-1][:200]}" if lines else ""
        return EnvironmentDiedError(f"the environment was lost during {operation}: {self.loss}{last}", **facts)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
            self._connection.close()
        self._output.close()
