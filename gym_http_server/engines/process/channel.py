"""The channel to an environment's process: requests and replies as frames over a socket (`runtime/frames.py`)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

from ...errors import EnvironmentDiedError, InvalidValueError
from ...runtime import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .connections import Connections

READ_SIZE: Final = 1 << 16
MAX_LAST_WORDS_CHARS: Final = 1000
_HEADER_SIZE: Final = frames.REPLY_HEADER.size


class Channel:
    """The server's end of the socket. It sends one request at a time.

    The process runs third-party code: a frame that is not expected, or too long, breaks the protocol. That is checked from the
    frame's header, before the server allocates memory for its body.

    Args:
        connection: the socket.
        max_reply: maximum bytes of a reply.
        connections: takes the frames about clients' connections.
        on_loss: called with the reason when the process says its last words or breaks the protocol.

    Attributes:
        operation: the operation in execution; empty if there is none.
        unclaimed: number of replies to cancelled calls that are still to come.
    """

    def __init__(
        self, connection: socket.socket, max_reply: int, connections: Connections, on_loss: Callable[[str], None]
    ) -> None:
        connection.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._on_loss: Callable[[str], None] | None = on_loss
        # The socket
        self.socket = connection
        self._packer = frames.RequestPacker()
        self._received = bytearray()
        self._unsent = bytearray()
        self._is_broken = False
        # The frames that are expected
        self.max_reply = max_reply
        self._connections = connections
        self.operation = ""
        self._answer: asyncio.Future[Any] | None = None
        self.unclaimed = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a call is in execution."""
        return self._answer is not None and not self._answer.done()

    @property
    def is_refused(self) -> bool:
        """Whether the call was answered with an error that its caller has not taken yet."""
        answer = self._answer
        return answer is not None and answer.done() and not answer.cancelled() and answer.exception() is not None

    def send(self, operation: str, arguments: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Send a request; return its answer.

        Raises:
            InvalidValueError: an argument cannot be encoded.
        """
        try:
            frame = self._packer.pack(operation, arguments)
        except (OverflowError, ValueError) as error:
            raise InvalidValueError(f"the body cannot be passed on: {error}") from None
        self.operation = operation
        self._answer = answer = self._loop.create_future()
        self.write(frame)
        return answer

    def send_close(self) -> None:
        """Ask the process to close the environment and end."""
        self.write(self._packer.pack(frames.CLOSE, {}))

    def write(self, frame: bytes, descriptor: int | None = None) -> bool:
        """Send a frame after those before it; return whether that worked.

        One with a descriptor is sent at once or not at all. A process that has closed its end gets nothing: its end is
        noticed by reading.
        """
        sent = 0
        if not self._unsent:
            try:
                if descriptor is None:
                    sent = self.socket.send(frame)
                else:
                    # A few bytes are sent whole or not at all.
                    sent = socket.send_fds(self.socket, [frame], [descriptor])
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return False
        if sent == len(frame):
            return True
        if descriptor is not None:
            return False
        if not self._unsent:
            self._loop.add_writer(self.socket, self._send_rest)
        self._unsent += frame[sent:]
        return True

    def _send_rest(self) -> None:
        try:
            del self._unsent[: self.socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._unsent.clear()
        if not self._unsent:
            self._loop.remove_writer(self.socket)

    def cancel(self) -> None:
        """Cancel the call in execution. Its reply will still come and must not be taken for that of the next call."""
        if self._answer is not None and (self._answer.cancelled() or not self._answer.done()):
            self.unclaimed += 1

    def finish(self) -> None:
        """Forget the call: its caller has the answer."""
        self._answer = None
        self.operation = ""

    def fail(self, error: Exception) -> None:
        """Answer the call in execution, if there is one, with an error."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def read(self) -> int | None:
        """Read once and deliver each complete frame.

        Returns:
            Bytes read; 0 at the end of the stream and after a broken protocol, None if nothing has come yet.
        """
        if self._is_broken:
            return 0
        try:
            data = self.socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return 0
        try:
            self._take(data)
        except ValueError:
            self._break()
        return len(data)

    def _take(self, data: bytes) -> None:
        if not self._received and len(data) >= _HEADER_SIZE:
            # Nearly always the data is one whole frame.
            kind, length = frames.REPLY_HEADER.unpack_from(data)
            if len(data) == _HEADER_SIZE + length:
                self._check(kind, length)
                self._deliver(kind, data[_HEADER_SIZE:])
                return
        self._received += data
        while len(self._received) >= _HEADER_SIZE:
            kind, length = frames.REPLY_HEADER.unpack_from(self._received)
            self._check(kind, length)
            end = _HEADER_SIZE + length
            if len(self._received) < end:
                return
            body = bytes(memoryview(self._received)[_HEADER_SIZE:end])
            del self._received[:end]
            self._deliver(kind, body)

    def _check(self, kind: int, length: int) -> None:
        """Raise ValueError unless a frame of that kind and length is expected."""
        limit = frames.max_body_bytes(kind, self.max_reply)
        if kind in frames.OF_CONNECTIONS:
            is_expected = True
            limit = self._connections.max_frame_bytes(kind, self.max_reply)
        elif kind == frames.LAST_WORDS or self.unclaimed:
            is_expected = True
        elif self.operation == frames.CREATE:
            is_expected = self.is_waiting and kind in (frames.DESCRIPTION, frames.ERROR)
        else:
            kinds = frames.REPLIES if "render" in self.operation else frames.VALUES
            is_expected = self.is_waiting and (kind in kinds or kind == frames.ERROR)
        if not is_expected or length > limit:
            raise ValueError(f"a frame of kind {kind} with {length} bytes is not expected")

    def _deliver(self, kind: int, body: bytes) -> None:
        if kind in frames.OF_CONNECTIONS:
            self._connections.take(kind, body)
        elif kind == frames.LAST_WORDS:
            self._lose(" ".join(frames.unpack_error(body).detail.split())[:MAX_LAST_WORDS_CHARS])
        elif self.unclaimed:
            self.unclaimed -= 1
        elif kind == frames.ERROR:
            self.fail(frames.unpack_error(body))
        else:
            assert self._answer is not None  # noqa: S101 -- for the type checker
            self._answer.set_result(
                frames.unpack_description(body) if kind == frames.DESCRIPTION else frames.unpack_reply(kind, body)
            )

    def _break(self) -> None:
        """Ignore whatever else the process has written."""
        self._is_broken = True
        self._received.clear()
        self._loop.remove_reader(self.socket)
        self._lose("it broke the protocol between it and the server")
        self.fail(EnvironmentDiedError(""))

    def _lose(self, why: str) -> None:
        if self._on_loss is not None:
            self._on_loss(why)

    def close(self) -> None:
        """Close the socket and drop `on_loss`, whose reference to the worker would be circular."""
        self._on_loss = None
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket)
            self._loop.remove_writer(self.socket)
            self.socket.close()
