"""The environment's side of hand-over: the module that environments' processes run.

One blocking loop serves the server's calls on the channel and the requests of several clients' connections, in order of
arrival; the server's calls come first. Everything except the environment is created before the fork and shared.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from ..agents.openenv.sockets.hosted import HostedSession
from ..api.call import Call
from ..api.guard.security import Access
from ..api.refusals import tell_on_stderr
from ..config import Settings
from ..errors import EnvironmentDiedError
from ..runtime.child import OperationLoop
from ..runtime.frames import CREATE, pack_last_words
from ..support.waiting import READABLE, WRITABLE, Waiter
from .connection_frames import ADOPT, RECALL, pack_ended
from .hosted_connection import HostedConnection, client_of
from .hosted_websocket import HostedWebSocket
from .hot_service import HotService
from .receive_buffer import ReceiveBuffer, receive_buffers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..runtime.shared.memory import Memory

AWAKE_SECONDS: Final = 200e-6
"""Time that the loop stays awake for the next request of a client that was as fast with the last one."""

_prepared: list[HotService] = []
"""The service that `prepare` made for processes forked afterwards."""


def prepare(arguments: Mapping[str, Any]) -> None:
    """Compile what every environment's process needs.

    Args:
        arguments: `settings`, the fields of `Settings`; `access`, the fields of `Access`; `paths`, the result of `hot_paths`.
    """
    settings, access = Settings(**_fields(arguments["settings"])), Access(**_fields(arguments["access"]))
    tell_on_stderr()
    _prepared[:] = [HotService(settings, access, arguments["paths"])]


def serve(channel: socket.socket, memory: Memory, instance_id: str) -> None:
    """Serve calls of the server on a blocking socket, and the connections that it hands over."""
    [service] = _prepared
    ConnectionHost(channel, memory, instance_id, service).run()


class ConnectionHost(OperationLoop):
    """The loop of a process that serves clients' connections.

    Args:
        channel: the blocking socket to the server.
        memory: the memory shared with the server.
        instance_id: the id of the environment's instance.
        service: the hot path.
    """

    def __init__(self, channel: socket.socket, memory: Memory, instance_id: str, service: HotService) -> None:
        super().__init__(channel, memory)
        self._instance_id = instance_id
        self._service = service
        self._waiter = Waiter(AWAKE_SECONDS)
        self._waiter.watch(channel, READABLE)
        self._channel_descriptor = channel.fileno()
        self._connections: dict[int, HostedConnection | HostedWebSocket] = {}
        self._queue: collections.deque[HostedConnection | HostedWebSocket] = collections.deque()
        """Connections with a complete request."""
        self._look_at = 0.0
        """When to look for clients that are too slow, in seconds of the monotonic clock."""

    @functools.cached_property
    def _buffers(self) -> list[ReceiveBuffer]:
        return receive_buffers(self.memory)

    def turn(self) -> bool:
        """Serve a request of the server, or else of a client; return whether the loop goes on."""
        if self.requests.has_more:
            return super().turn()
        events = self._waiter.ready() if self._queue else self._waiter.wait(self._seconds_left)
        if events and events[0][0] == self._channel_descriptor:  # the first one watched is the first one here
            # Before anything is done with a connection: the server may have taken it during the last call.
            return super().turn()
        for descriptor, _ in events:
            self._go_on(self._connections[descriptor])
        if (not events and not self._queue) or time.monotonic() > self._look_at:
            self._end_late()
        return self._serve(self._queue.popleft()) if self._queue else True

    def control(self, operation: str, arguments: dict[str, Any]) -> bool:
        """Take a connection, or give one or all back; note the key of the instance that is made."""
        if operation == CREATE:
            self._service.take_key(arguments["request"]["key_digest"])
        elif operation == ADOPT:
            self._adopt(arguments["slot"], arguments.get("session"))
        elif operation == RECALL:
            self._recall(arguments.get("slot"))
        return operation in (ADOPT, RECALL)

    def end(self) -> None:
        """Give all connections back and close the environment."""
        self._give_all_back()
        super().end()

    def _adopt(self, slot: int, session: Mapping[str, Any] | None) -> None:
        theirs = socket.socket(fileno=self.requests.next_descriptor())
        connection: HostedConnection | HostedWebSocket
        if session is None:
            connection = HostedConnection(slot, theirs, self._buffers[slot], self._service, self._instance_id)
        else:
            connection = self._adopt_websocket(slot, theirs, session)
        self._connections[theirs.fileno()] = connection
        self._waiter.watch(theirs, READABLE)
        self._look_at = 0.0
        self._sort(connection)

    def _adopt_websocket(self, slot: int, theirs: socket.socket, session: Mapping[str, Any]) -> HostedWebSocket:
        assert self.environment is not None, "connections come after the environment"  # noqa: S101 -- for the type checker
        settings = self._service.settings
        call = Call(None, None, {"type": "http", "headers": [], "client": client_of(theirs)})
        execute = functools.partial(self._service.execute, self.environment, self.memory.traffic, call)
        hosted = HostedSession(session, execute, settings.max_values)
        return HostedWebSocket(slot, theirs, self._buffers[slot], hosted, settings)

    def _go_on(self, connection: HostedConnection | HostedWebSocket) -> None:
        """Go on with a connection that can be read or written, unless its requests are in the queue."""
        if connection.is_writing:
            connection.send_rest()
            if not connection.is_writing:
                self._waiter.watch(connection.socket, READABLE)
        elif connection.has_request:
            return
        else:
            connection.receive()
        self._sort(connection)

    def _serve(self, connection: HostedConnection | HostedWebSocket) -> bool:
        if connection.socket.fileno() < 0:
            return True  # it was given back meanwhile
        assert self.environment is not None, "connections come after the environment"  # noqa: S101 -- for the type checker
        connection.serve(self.environment, self.memory.traffic)
        if self.environment.is_broken:
            return False
        if connection.is_writing:
            self._waiter.watch(connection.socket, WRITABLE)
        self._sort(connection)
        return True

    def _sort(self, connection: HostedConnection | HostedWebSocket) -> None:
        """Put a connection where it belongs after something has happened to it."""
        if connection.has_ended:
            self._remove(connection)
            connection.end()
            self._tell(pack_ended(connection.slot))
        elif connection.is_late:
            self._give_back(connection)
        elif connection.is_writing:
            pass
        elif connection.has_request:
            self._queue.append(connection)
        elif connection.is_to_leave:
            self._give_back(connection)

    def _give_back(self, connection: HostedConnection | HostedWebSocket) -> None:
        self._remove(connection)
        self._tell(connection.leave().pack())

    def _recall(self, slot: int | None) -> None:
        if slot is None:
            self._give_all_back()
            return
        for connection in list(self._connections.values()):
            if connection.slot == slot:
                self._give_back(connection)

    def _give_all_back(self) -> None:
        self._queue.clear()
        if self._connections and self.environment is not None and self.environment.is_broken:
            self._tell(pack_last_words(EnvironmentDiedError(self.environment.last_words)))
        for connection in list(self._connections.values()):
            self._give_back(connection)

    def _remove(self, connection: HostedConnection | HostedWebSocket) -> None:
        del self._connections[connection.socket.fileno()]
        self._waiter.forget(connection.socket)

    def _tell(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # the server is gone, which ends this process
            self.channel.sendall(frame)

    def _seconds_left(self) -> float | None:
        now = time.monotonic()
        left = [each for connection in self._connections.values() if (each := connection.seconds_left(now)) is not None]
        seconds = min(left, default=None)
        self._look_at = now + (60.0 if seconds is None else max(seconds, 0.0))
        return seconds

    def _end_late(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections.values()):
            left = connection.seconds_left(now)
            if left is not None and left <= 0:
                connection.end_late()
                self._sort(connection)
        self._seconds_left()


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass, with lists from JSON as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
