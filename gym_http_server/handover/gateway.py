"""The server's side of connection hand-over: decides which connections move, and takes them back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from ..api.guard.security import Access
from ..api.hot_operations import hot_paths
from ..contract import load_contract
from ..engines.process.fork_server import Entry
from ..http1.protocol import Beginning, HttpProtocol
from .lent_connections import LentConnections, shut_down
from .policy import HOST_MODULE, Habit
from .request_parser import unanswered

if TYPE_CHECKING:
    import asyncio

    from websockets.server import ServerProtocol as FrameProtocol

    from ..api.hot_operations import HotOperations
    from ..config import Settings
    from ..http1.websocket import WebSocket
    from ..instances.directory import Instances
    from ..instances.instance import Instance
    from .lent_connections import Returned

REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (/v1/envs/([0-9a-f]{8})/[^ ?#%]*) HTTP/1\.[01]\r\n")


def host_entry(settings: Settings) -> Entry:
    """Return the module and arguments of environments' processes that take connections."""
    paths = hot_paths(load_contract().resolved_paths())
    # Third-party code runs there: no secrets, and no setting that may contain or lead to one.
    kept_back = {each.name for each in dataclasses.fields(settings) if each.metadata["is_secret"]}
    kept_back |= {"upload_to", "api_key_file", "tls_cert", "tls_key"}
    blank: dict[str, Any] = dict.fromkeys(kept_back, "")
    arguments = {
        "settings": dataclasses.asdict(dataclasses.replace(settings, **blank)),
        "access": dataclasses.asdict(Access.of(settings)),
        "paths": paths,
    }
    return Entry(HOST_MODULE, arguments, LentConnections)


class Gateway:
    """Hands connections of the server to environments' processes.

    Args:
        operations: the operations of the hot path; only the server serves the others.
        instances: the live instances.
    """

    def __init__(self, operations: HotOperations, instances: Instances) -> None:
        self._operations = operations
        self._instances = instances

    def protocol(self, **options: Any) -> ServerProtocol:
        """Return the protocol of a new connection."""
        return ServerProtocol(gateway=self, habit=Habit(), **options)

    def take(self, protocol: ServerProtocol, data: bytes) -> bool:
        """Hand the connection over if its request and the ones before suggest that it pays.

        Args:
            protocol: the protocol of the connection, between two requests.
            data: the received bytes, the beginning of a request.

        Returns:
            Whether the connection was handed over, with the data.
        """
        match = REQUEST_LINE.match(data)
        if match is None:
            protocol.habit.instance_id = b""
            return False
        if not protocol.habit.is_ripe(match[3]):
            return False
        instance = self._instances.find(match[3].decode())
        if instance is None or not self.is_hot(match):
            return False
        return HandedOver(self, protocol, instance).begin(data)

    def find(self, instance_id: str) -> Instance | None:
        """Return a live instance; None if there is none."""
        return self._instances.find(instance_id)

    def is_hot(self, match: re.Match[bytes]) -> bool:
        """Return whether a match of `REQUEST_LINE` is of an operation of the hot path."""
        return self._operations.find(match[1].decode(), match[2].decode("latin-1")) is not None


class ServerProtocol(HttpProtocol):
    """The protocol of a connection that may be handed over.

    Args:
        gateway: the gateway.
        habit: the recent use of the connection.
        **options: options of the base class.
    """

    def __init__(self, *, gateway: Gateway, habit: Habit, **options: Any) -> None:
        super().__init__(**options)
        self._gateway = gateway
        self.habit = habit
        self.is_handed_over = False
        self._was_elsewhere = options.get("beginning") is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """Shut the connection down if another process served it before, unless it is handed over again."""
        super().connection_lost(exc)
        if self._was_elsewhere and not self.is_handed_over:
            # A program that the environment started may have a duplicate, so closing would not end the connection.
            with contextlib.suppress(OSError):
                shut_down(self.transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """Serve received bytes, unless the connection is handed over."""
        if self.is_between and self._gateway.take(self, data):
            return
        super().data_received(data)

    def _come_back(self, transport: asyncio.Transport) -> None:
        """Note that the connection, a WebSocket, comes back from another process."""
        self.transport = transport
        self._was_elsewhere = True

    def _make_websocket(self, transport: asyncio.Transport, protocol: FrameProtocol) -> WebSocket:
        from .websocket import LendableWebSocket  # few servers need the library

        options = transport, protocol, self.config.body_timeout
        return LendableWebSocket(self._gateway.find, self.habit, self._come_back, self, *options)


class HandedOver:
    """A connection that an environment's process serves; it represents the connection in uvicorn's set.

    Args:
        gateway: the gateway.
        protocol: the former protocol; a new one replaces it when the connection comes back.
        instance: the instance whose process serves it.
    """

    def __init__(self, gateway: Gateway, protocol: ServerProtocol, instance: Instance) -> None:
        self._gateway = gateway
        self._protocol = protocol
        self._instance = instance
        self._is_ending = False
        self.session = None

    def begin(self, data: bytes) -> bool:
        """Hand the connection over; return whether that worked."""
        protocol = self._protocol
        if protocol.transport.get_write_buffer_size():
            return False
        try:
            connection = os.dup(protocol.transport.get_extra_info("socket").fileno())
        except OSError:
            return False
        if not self._instance.hand_over(connection, data, self):
            os.close(connection)
            return False
        protocol.is_handed_over = True
        protocol.connections.add(self)  # type: ignore[arg-type]  # uvicorn only calls `shutdown`
        # Closes the server's own descriptor, not the connection.
        protocol.transport.abort()
        return True

    def shutdown(self) -> None:
        """End the connection after the current request; uvicorn calls this when the server stops."""
        self._is_ending = True
        self._instance.recall()

    def is_served_there(self, data: bytes) -> bool:
        """Return whether received bytes begin a request that the instance's process serves."""
        match = REQUEST_LINE.match(data)
        return match is not None and match[3].decode() == self._instance.instance_id and self._gateway.is_hot(match)

    def back(self, returned: Returned | None) -> None:
        """Continue to serve a returned connection; None means that it has ended."""
        before = self._protocol
        if returned is None:
            before.connections.discard(self)
            return
        before.habit.came_back(returned.served)
        task = before.loop.create_task(self._serve_on(returned))
        before.tasks.add(task)
        task.add_done_callback(before.tasks.discard)

    async def _serve_on(self, returned: Returned) -> None:
        before = self._protocol
        data = unanswered(returned.data, returned.answered)
        protocol = ServerProtocol(
            gateway=self._gateway,
            habit=before.habit,
            beginning=Beginning(returned.rest, returned.closes, data, returned.error, returned.waits_since),
            config=before.config,
            server_state=before.server_state,
            app_state=before.app_state,
            _loop=before.loop,
        )
        connection = socket.socket(fileno=returned.connection)
        connection.setblocking(False)
        try:
            await before.loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            connection.close()  # it is broken
        finally:
            before.connections.discard(self)
        if self._is_ending and not protocol.transport.is_closing():
            protocol.shutdown()
