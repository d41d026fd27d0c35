"""The environment's side of connection hand-over: the module that environments' processes run.

It serves the hot path with the same compiled operations, handlers, settings and protocol as the server; its engine is the
environment of this process. Everything except the environment is created before the fork and shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import uvloop
from uvicorn.server import ServerState

from ..api.content.headers import has_header
from ..api.guard.security import Access, Guard
from ..api.handlers import handler_table
from ..api.hot_operations import HotOperation, HotOperations
from ..api.hot_path import HotPath
from ..api.refusals import tell_on_stderr
from ..config import Settings
from ..engines.base import Engine
from ..engines.inline import InlineWorker
from ..errors import EnvironmentDiedError
from ..http1.configuration import Configuration
from ..instances.directory import Instances
from ..runtime.child import OperationLoop
from ..runtime.frames import pack_ended, pack_last_words
from .owned_protocol import OwnedProtocol, give_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    import uvicorn

    from ..api.asgi import App, Receive, Scope, Send
    from ..runtime.messages import CreateRequest
    from ..runtime.served import Served
    from ..runtime.shared.memory import Memory

_made: list[Serving] = []
"""The object that `prepare` made for processes forked afterwards."""


def prepare(arguments: Mapping[str, Any]) -> None:
    """Compile what every environment's process needs.

    Args:
        arguments: `settings`, the fields of `Settings`; `access`, the fields of `Access`; `paths`, the result of `hot_paths`.
    """
    settings, access = Settings(**_fields(arguments["settings"])), Access(**_fields(arguments["access"]))
    tell_on_stderr()
    _made[:] = [Serving(settings, access, arguments["paths"])]


def serve(channel: socket.socket, memory: Memory, instance_id: str) -> None:
    """Serve calls of the server on a blocking socket, and connections that it hands over."""
    [serving] = _made
    OperationLoop(channel, memory, Owner(channel, memory, instance_id, serving)).run()


class Serving:
    """The hot path without an environment, created before the fork.

    Args:
        settings: the server's settings.
        access: the access rules.
        paths: the paths of the contract that are compiled.

    Attributes:
        settings: the server's settings.
        instances: the directory to which the environment is added.
        config: the configuration of uvicorn's protocol.
    """

    def __init__(self, settings: Settings, access: Access, paths: Mapping[str, Any]) -> None:
        self.settings = settings
        self.instances = Instances(settings, _Beside())
        handlers = handler_table(settings, self.instances, _nothing)
        operations = _OperationsHere(paths, handlers, settings.max_values, self.instances)
        hot_path = HotPath(operations, settings.max_body, give_back, self.instances.traffic)
        self.config = Configuration(Barrier(hot_path, Guard(access)), settings, OwnedProtocol)
        self.config.load()


class Barrier:
    """ASGI middleware that gives requests back which the guard refuses, so that the server answers them.

    Args:
        app: the wrapped app.
        guard: decides which requests are refused.
    """

    def __init__(self, app: App, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or give it back; also one with an Origin, whose reply needs CORS headers."""
        if self._guard.refusal(scope) is None and not has_header(scope, b"origin"):
            await self._app(scope, receive, send)
        else:
            await give_back(scope, receive, send)


class Owner:
    """Serves connections with the environment of this process, one at a time.

    Args:
        channel: the socket to the server.
        memory: the memory shared with the server.
        instance_id: the id of the environment's instance.
        serving: the hot path.
    """

    def __init__(self, channel: socket.socket, memory: Memory, instance_id: str, serving: Serving) -> None:
        self._channel = channel
        self._inbox = memory.receive_buffer
        self._traffic = memory.traffic
        self._instance_id = instance_id
        self._serving = serving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = _DatedState(serving.config)

    def adopt(self, descriptor: int, environment: Served) -> None:
        """Serve a connection until it ends or is given back, also because the server sent something on the channel."""
        if self._loop is None:
            self._loop = uvloop.new_event_loop()
            worker = InlineWorker(environment, self._serving.settings.max_reply)
            self._serving.instances.add(self._instance_id, worker, self._traffic)
        self._loop.run_until_complete(self._serve(socket.socket(fileno=descriptor), environment))

    async def _serve(self, connection: socket.socket, environment: Served) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def tell(frame: bytes) -> None:
            words = pack_last_words(EnvironmentDiedError(environment.last_words)) if environment.is_broken else b""
            # libuv has made it non-blocking.
            self._channel.setblocking(True)
            with contextlib.suppress(OSError):  # the server is gone, which ends this process
                self._channel.sendall(words + frame)

        listener = select.poll()
        listener.register(self._channel, select.POLLIN)
        protocol = OwnedProtocol(
            connection=connection,
            inbox=self._inbox,
            environment=environment,
            on_leave=tell,
            is_called=lambda: bool(listener.poll(0)),
            on_end=done.set_result,
            config=self._serving.config,
            server_state=self._state,
            app_state={},
            _loop=loop,
        )
        connection.setblocking(False)
        await loop.connect_accepted_socket(lambda: protocol, connection)
        # The frame of the server is read after the connection has left.
        loop.add_reader(self._channel, protocol.leave)
        try:
            has_ended = await done
        finally:
            loop.remove_reader(self._channel)
            self._channel.setblocking(True)
        if has_ended:
            tell(pack_ended())


class _OperationsHere(HotOperations):
    """The compiled operations, for the instances of this process only."""

    def __init__(
        self, paths: Mapping[str, Any], handlers: Mapping[str, Any], max_values: int, instances: Instances
    ) -> None:
        super().__init__(paths, handlers, max_values)
        self._instances = instances

    def find(self, method: str, path: str) -> tuple[HotOperation, dict[str, Any]] | None:
        """Return the operation for a method and a path, unless it is for another instance."""
        found = super().find(method, path)
        if found is None or self._instances.find(found[1]["instance_id"]) is None:
            return None
        return found


class _Beside(Engine):
    """The engine of the environment in this process, whose worker is added by `Owner.adopt`."""

    name = "process"

    async def start(self) -> None:
        """Do nothing."""

    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> InlineWorker:
        """Not supported: the process already has its environment."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Do nothing."""


class _DatedState(ServerState):
    """uvicorn's server state, with the default headers computed on demand instead of by a timer."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._headers = config.encoded_headers
        self._second = 0
        self._dated: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The default headers, with the current date."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._dated = [(b"date", email.utils.formatdate(second, usegmt=True).encode()), *self._headers]
        return self._dated

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """Ignore the empty list that the base class sets."""


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass, with lists from JSON as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _nothing() -> None:
    """Placeholder for `shut_down`, which no hot operation calls."""
