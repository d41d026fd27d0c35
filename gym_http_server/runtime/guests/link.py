"""`GuestLink`: the requests to a guest and its replies, over a blocking socket. What comes from a guest is checked."""

from __future__ import annotations

import builtins
import contextlib
import os
import select
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Any, Final

from ...errors import (
    EnvironmentCreationError,
    EnvironmentDiedError,
    GymHttpServerError,
    InvalidValueError,
    MissingDependencyError,
    UnknownEnvironmentError,
)
from .guest import MARKER
from .hosts import STATUS
from .spawning import ending, spawn
from .wire import CLOSE, ERROR, HEADER, HELLO, MAX_BODY_BYTES, OUTCOME, RESULT, frame, unpack, unpack_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages import Interpreter

SMALL_BYTES: Final = 1 << 12
"""Bytes of a frame that are read at once. More would make a large object for each."""
MAX_KEPT_BYTES: Final = 1 << 22
MAX_NOISE_BYTES: Final = 1 << 16
"""Maximum bytes before the marker, which programs around the guest write."""
EXIT_SECONDS: Final = 1.0

MALFORMED: Final = (
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    RecursionError,
    struct.error,
    MemoryError,
)
"""What reading a malformed frame raises."""

REFUSALS: Final[Mapping[str, type[GymHttpServerError]]] = {
    "import": EnvironmentCreationError,
    "invalid": InvalidValueError,
    "missing": MissingDependencyError,
    "unknown": UnknownEnvironmentError,
}


class GuestLink:
    """A connection to a guest.

    Args:
        interpreter: the interpreter of the guest.
        forked: the socket to a guest that a host has forked, and the pipe that tells how it ended, or None; None to start one.
        variables: environment variables for a guest that is started; None for those of this process.
        seconds: time limit of each wait; None for none.

    Raises:
        EnvironmentDiedError: the guest ended.
        EnvironmentCreationError: it cannot be started, or cannot import one of its modules.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        forked: tuple[socket.socket, int | None] | None = None,
        variables: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        self._interpreter = interpreter
        self._process: subprocess.Popen[bytes] | None = None
        self._loss = ""
        self._buffer = bytearray()
        self._report: int | None = None
        """The pipe that tells how the guest ended."""
        if forked is not None:
            self._socket, self._report = forked
        else:
            try:
                self._process, self._socket = spawn(interpreter, variables)
            except OSError as error:
                raise EnvironmentCreationError(
                    f"interpreter {interpreter.name!r} cannot be started: {error.strerror or error}"
                ) from None
        self._socket.settimeout(seconds)
        try:
            if forked is None:
                self._skip_noise()
            self.call(HELLO, 0, interpreter.imports)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """Name of the interpreter."""
        return self._interpreter.name

    def call(self, kind: int, lane: int, value: Any) -> Any:
        """Send a request and return the value of the reply.

        Raises:
            EnvironmentDiedError: the guest ended, or sent something malformed.
            GymHttpServerError: it refused the request.
            Exception: what the environment raised, as an exception with the same name and text.
        """
        try:
            self._socket.sendall(frame(kind, lane, value))
            first = self._socket.recv(SMALL_BYTES)
            is_whole = len(first) >= HEADER.size and len(first) == HEADER.size + HEADER.unpack_from(first)[0]
            data = first if is_whole else self._rest(first)
        except OSError as error:
            raise self._lost(error) from None
        status = data[4]
        try:
            if status == OUTCOME:
                return unpack_outcome(data, HEADER.size)
            reply, end = unpack(data, HEADER.size)
            if end != len(data) or status not in (RESULT, ERROR):
                raise ValueError("its length or its kind")
        except MALFORMED as error:
            raise self.malformed(error) from None
        if status == RESULT:
            return reply
        raise self._error(reply)

    def malformed(self, what: object) -> EnvironmentDiedError:
        """Return the error for a reply that is not what it should be; the guest is ended."""
        return self._lost(f"it sent something malformed ({what})")

    def close(self) -> None:
        """Have the guest close its environments, and end it."""
        if self._socket.fileno() < 0:
            return
        if not self._loss:
            with contextlib.suppress(Exception):
                self.call(CLOSE, 0, None)
        self._socket.close()
        if self._report is not None:
            os.close(self._report)
            self._report = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)
            self._process.kill()
            self._process.wait()

    def _skip_noise(self) -> None:
        received = b""
        while not received.endswith(MARKER):
            try:
                part = self._socket.recv(MAX_NOISE_BYTES)
            except TimeoutError as error:
                raise self._lost(error) from None
            except OSError:  # the reset by a process that ended with unread bytes
                part = b""
            received += part
            if not part or len(received) > MAX_NOISE_BYTES:
                said = received.decode(errors="replace").strip()[-500:]
                wrote = f"; it wrote: {said}" if said else ""
                raise EnvironmentCreationError(
                    f"interpreter {self._interpreter.name!r} starts no Python: {self._end()}{wrote}"
                )

    def _rest(self, data: bytes) -> memoryview:
        """Return the whole frame of which this is the beginning. It is valid until the next call."""
        while len(data) < HEADER.size:
            part = self._socket.recv(HEADER.size - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        length, kind, _ = HEADER.unpack_from(data)
        end, count = HEADER.size + length, len(data)
        if length > MAX_BODY_BYTES or kind not in (RESULT, ERROR, OUTCOME) or count > end:
            raise self.malformed("no frame")
        # A new page of memory takes longer than its bytes: images go to the same ones each time.
        buffer = self._buffer if end <= len(self._buffer) else bytearray(end)
        if end <= MAX_KEPT_BYTES:
            self._buffer = buffer
        whole = memoryview(buffer)[:end]
        whole[:count] = data
        while count < end:
            part_bytes = self._socket.recv_into(whole[count:], 0, socket.MSG_WAITALL)
            if not part_bytes:
                raise ConnectionResetError
            count += part_bytes
        return whole

    def _error(self, told: Any) -> BaseException:
        if not (isinstance(told, dict) and all(isinstance(told.get(name), str) for name in ("type", "text"))):
            return self.malformed("an error without a text")
        name, text, kind = told["type"], told["text"], told.get("kind")
        if isinstance(kind, str) and kind in REFUSALS:
            return REFUSALS[kind](f"interpreter {self._interpreter.name!r}: {text}")
        cls = getattr(builtins, name, None)
        if name == "ModuleNotFoundError":
            module = told.get("module")
            return ModuleNotFoundError(text, name=module if isinstance(module, str) else None)
        if isinstance(cls, type) and issubclass(cls, Exception):
            with contextlib.suppress(Exception):
                error = cls(text)
                if str(error) in (text, repr(text)):
                    return error
        other: Exception = type(name[:100].replace("\0", ""), (Exception,), {})(text)
        return other

    def _lost(self, why: object) -> EnvironmentDiedError:
        if not self._loss:
            what = (
                f": {why}"
                if isinstance(why, str)
                else " did not answer in time"
                if isinstance(why, TimeoutError)
                else ""
            )
            self._loss = (
                f"the guest in interpreter {self._interpreter.name!r} {self._end() if not what else 'was ended' + what}"
            )
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        return EnvironmentDiedError(self._loss)

    def _end(self) -> str:
        """Return how the guest's process ended, which is ended if it has not."""
        if self._process is None:
            return self._told_end()
        try:
            code = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "closed its socket and was ended"
        return f"ended with {ending(code)}"

    def _told_end(self) -> str:
        """Return how a guest that a host has forked ended."""
        if self._report is not None:
            waiting = select.poll()
            waiting.register(self._report, select.POLLIN)
            told = os.read(self._report, STATUS.size) if waiting.poll(EXIT_SECONDS * 1000) else b""
            if len(told) == STATUS.size:
                return f"ended with {ending(os.waitstatus_to_exitcode(STATUS.unpack(told)[0]))}"
        return "ended"
