"""The server's side of connection hand-over: which connection goes to which environment's process, and how it comes back."""

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
from ..engines.process.lent_connection import shut_down
from ..http1.protocol import Beginning, HttpProtocol
from .pipelining import unanswered
from .policy import OWNER_MODULE

if TYPE_CHECKING:
    from ..api.hot_operations import HotOperations
    from ..config import Settings
    from ..engines.base import Returned
    from ..instances.directory import Instances
    from ..instances.instance import Instance

REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (/v1/envs/([0-9a-f]{8})/[^ ?#%]*) HTTP/1\.[01]\r\n")

FEW: Final = 32
"""A connection that comes back after fewer requests than that has cost more than it saved."""

LEAST_PATIENCE: Final = 1
MOST_PATIENCE: Final = 1 << 12


def owner_entry(settings: Settings) -> Entry:
    """Return what an environment's process runs to be handed connections."""
    paths = hot_paths(load_contract().resolved_paths())
    # Third-party code runs there: no secrets, and nothing that may hold or lead to one.
    kept_back = {each.name for each in dataclasses.fields(settings) if each.metadata["is_secret"]}
    kept_back |= {"upload_to", "api_key_file", "tls_cert", "tls_key"}
    blank: dict[str, Any] = dict.fromkeys(kept_back, "")
    arguments = {
        "settings": dataclasses.asdict(dataclasses.replace(settings, **blank)),
        "access": dataclasses.asdict(Access.of(settings)),
        "paths": paths,
    }
    return Entry(OWNER_MODULE, arguments)


class Habit:
    """What a connection has been used for, to tell whether to hand it over.

    To hand it over and back takes about as long as two requests through the pipe; so it goes where it is used for one
    instance again and again, and the more reluctantly the more often it was in vain.

    Attributes:
        instance_id: the instance of the last request, where that was for one.
        run: how many requests in a row were for it, before that.
        patience: how many are to be.
    """

    __slots__ = ("instance_id", "patience", "run")

    def __init__(self) -> None:
        self.instance_id = b""
        self.run = 0
        self.patience = LEAST_PATIENCE

    def is_ripe(self, instance_id: bytes) -> bool:
        """Note a request for an instance; return whether the connection is to go there."""
        if instance_id != self.instance_id:
            self.instance_id = instance_id
            self.run = 0
        else:
            self.run += 1
        return self.run >= self.patience

    def came_back(self, served: int) -> None:
        """Note that the connection came back after so many requests."""
        self.patience = min(self.patience * 2, MOST_PATIENCE) if served < FEW else LEAST_PATIENCE
        self.run = 0


class Gateway:
    """Takes connections from the server's protocol and hands them to environments' processes.

    Args:
        operations: the compiled operations of the hot path; the others are the server's.
        instances: the live instances.
    """

    def __init__(self, operations: HotOperations, instances: Instances) -> None:
        self._operations = operations
        self._instances = instances

    def protocol(self, **options: Any) -> ServerProtocol:
        """Return the protocol of a new connection."""
        return ServerProtocol(gateway=self, habit=Habit(), **options)

    def take(self, protocol: ServerProtocol, data: bytes) -> bool:
        """Hand the connection over, if the request that begins here and those before it are such that it pays.

        Args:
            protocol: the protocol of the connection, between two requests.
            data: what has come.

        Returns:
            Whether the connection and the data are another's now.
        """
        match = REQUEST_LINE.match(data)
        if match is None:
            protocol.habit.instance_id = b""
            return False
        method, path, instance_id = match.groups()
        if not protocol.habit.is_ripe(instance_id):
            return False
        instance = self._instances.find(instance_id.decode())
        if instance is None or self._operations.find(method.decode(), path.decode("latin-1")) is None:
            return False
        return HandedOver(self, protocol, instance).begin(data)


class ServerProtocol(HttpProtocol):
    """The protocol of a connection that may be handed over.

    Args:
        gateway: what takes it.
        habit: what it has been used for.
        **options: those of the base class.
    """

    def __init__(self, *, gateway: Gateway, habit: Habit, **options: Any) -> None:
        super().__init__(**options)
        self._gateway = gateway
        self.habit = habit
        self.is_handed_over = False
        self._was_elsewhere = options.get("beginning") is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection for good, where it was served by another process before, unless it goes to one again."""
        super().connection_lost(exc)
        if self._was_elsewhere and not self.is_handed_over:
            # What the environment has started there may have a duplicate, for whose sake closing this one would end nothing.
            with contextlib.suppress(OSError):
                shut_down(self.transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """Serve what came, unless the connection is handed over."""
        if self.is_between and self._gateway.take(self, data):
            return
        super().data_received(data)


class HandedOver:
    """A connection that an environment's process serves; uvicorn counts it among the server's.

    Args:
        gateway: the gateway.
        protocol: the protocol that it had, whose place another takes when it comes back.
        instance: whose process serves it.
    """

    def __init__(self, gateway: Gateway, protocol: ServerProtocol, instance: Instance) -> None:
        self._gateway = gateway
        self._protocol = protocol
        self._instance = instance
        self._is_ending = False

    def begin(self, data: bytes) -> bool:
        """Hand it over; return whether that could be done."""
        protocol = self._protocol
        if protocol.is_writing:
            return False
        try:
            connection = os.dup(protocol.transport.get_extra_info("socket").fileno())
        except OSError:
            return False
        if not self._instance.hand_over(connection, data, self.back):
            os.close(connection)
            return False
        protocol.is_handed_over = True
        protocol.connections.add(self)  # type: ignore[arg-type]  # what uvicorn asks of it is to be able to shut down
        # This closes the server's own descriptor; the connection itself goes on.
        protocol.transport.abort()
        return True

    def shutdown(self) -> None:
        """Have it end after what is under way; uvicorn calls this when the server stops."""
        self._is_ending = True
        self._instance.recall()

    def back(self, returned: Returned | None) -> None:
        """Serve the connection on, or forget it where it has ended."""
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
