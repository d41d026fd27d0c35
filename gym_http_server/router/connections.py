"""Kept connections to shards: one exchange at a time on each, and a pool for each shard."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from ..agents.shard_status import Load
from ..errors import ShardUnreachableError

if TYPE_CHECKING:
    from .shards import Shard

CONNECT_SECONDS: Final = 3.0
"""Time limit for connecting to a shard, below what calls under way get when it is lost."""

LOST_SECONDS: Final = 2.0
"""Time in which a shard has told that a lost client's instance waits for it."""

MAX_IDLE_CONNECTIONS: Final = 64
"""Maximum number of connections to one shard that are kept for any request."""


Connection = TypeVar("Connection", bound="ShardConnection")


class Taker(Protocol):
    """Takes the reply of one exchange."""

    def take(self, data: bytes) -> None:
        """Take received bytes."""

    def lose(self, reason: str) -> None:
        """Take note that the connection has ended before the reply was complete."""


class ShardConnection(asyncio.Protocol):
    """One connection to a shard.

    Args:
        pool: its pool.

    Attributes:
        transport: its transport.
        is_closed: whether it can take no exchange.
        was_used: whether it had an exchange before: a shard may close such a connection at any time.
        idle_since: since when it has none, by the loop's clock.
        reason: why it ended, for its exchange.
    """

    transport: asyncio.Transport

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._taker: Taker | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_closed = False
        self.was_used = False
        self.idle_since = 0.0
        self.reason = "it closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport  # type: ignore[assignment]  # of a stream
        self.idle_since = self._pool.loop.time()
        self._pool.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Pass received bytes on; those that nobody asked for end the connection."""
        if self._taker is None:
            self.abort()
        else:
            self._taker.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for a reply."""
        self.is_closed = True
        self._writable.set()
        self._pool.connections.discard(self)
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.lose(self.reason if exc is None or self._pool.failure else f"{self.reason} ({exc})")

    @property
    def has_exchange(self) -> bool:
        """Whether it waits for a reply."""
        return self._taker is not None

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """End the wait of `drain`."""
        self._writable.set()

    async def drain(self) -> None:
        """Wait until the shard has taken most of what was written."""
        await self._writable.wait()

    def begin(self, taker: Taker) -> None:
        """Begin an exchange."""
        self._taker = taker

    def end(self, *, keeps: bool) -> None:
        """End an exchange whose reply is complete, and the connection unless it `keeps`."""
        self._taker = None
        self.was_used = True
        self.idle_since = self._pool.loop.time()
        if not keeps:
            self.abort()

    @property
    def prefix(self) -> str:
        """The prefix of the shard."""
        return self._pool.shard.prefix

    def release(self) -> None:
        """End the connection after what is written; its exchange is told nothing more."""
        self._taker = None
        self.is_closed = True
        self.transport.close()

    def abort(self) -> None:
        """End the connection; its exchange is told nothing more."""
        self._taker = None
        self.is_closed = True
        self.transport.abort()


class ConnectionPool:
    """The connections to one shard.

    Args:
        shard: the shard.

    Attributes:
        shard: the shard.
        authority: its host and port.
        connections: all connections.
        failure: why it does not answer; empty while it does.
        load: what is on it, as last told.
    """

    def __init__(self, shard: Shard) -> None:
        self.loop = asyncio.get_running_loop()
        self.shard = shard
        address = urlsplit(shard.url)
        self.authority = address.netloc.encode()
        self.connections: set[ShardConnection] = set()
        self.failure = ""
        self.load = Load(0, 0, 0, 0)
        self._lost_at = -math.inf
        self._host, self._port = address.hostname or "", address.port or 80
        self._idle: list[ShardConnection] = []
        self._connecting: set[asyncio.Timeout] = set()

    @property
    def may_wait(self) -> bool:
        """Whether an instance may wait for a client of OpenEnv to come back."""
        return self.load.waiting > 0 or self.loop.time() < self._lost_at + LOST_SECONDS

    def note_lost_client(self) -> None:
        """Take note that the shard has lost a client of OpenEnv, and tells it in a moment."""
        self._lost_at = self.loop.time()

    def idle(self) -> ShardConnection | None:
        """Return a kept connection without an exchange; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed:
                return connection
        return None

    def keep(self, connection: ShardConnection) -> None:
        """Keep a connection without an exchange for the next request."""
        if connection.is_closed:
            return
        if len(self._idle) < MAX_IDLE_CONNECTIONS and not self.failure:
            self._idle.append(connection)
        else:
            connection.abort()

    async def connect(self) -> ShardConnection:
        """Return a new connection; raises as `open`."""
        return await self.open(ShardConnection)

    async def open(self, kind: type[Connection]) -> Connection:
        """Return a new connection of that kind.

        Raises:
            ShardUnreachableError: the shard does not take it.
        """
        limit = asyncio.timeout(CONNECT_SECONDS)
        self._connecting.add(limit)
        try:
            async with limit:
                _, connection = await self.loop.create_connection(lambda: kind(self), self._host, self._port)
        except OSError as error:  # TimeoutError is one
            why = "no connection was made in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise ShardUnreachableError.of(self.shard.prefix, self.failure or why, was_sent=False) from None
        finally:
            self._connecting.discard(limit)
        return connection

    def fail(self, reason: str) -> None:
        """End all connections and their exchanges, because the shard does not answer; new requests are refused until `mend`."""
        self.failure = reason
        self._idle.clear()
        for connection in list(self.connections):
            connection.reason = reason
            connection.is_closed = True
            connection.transport.abort()
        for limit in self._connecting:
            if not limit.expired():
                limit.reschedule(self.loop.time())

    def mend(self) -> None:
        """Take requests again."""
        self.failure = ""

    def close_idle(self, seconds: float) -> None:
        """End the connections that have had no exchange for some time; before the shard does, which could cost a request."""
        before = self.loop.time() - seconds
        for connection in list(self.connections):
            if not connection.has_exchange and connection.idle_since < before:
                connection.abort()
        self._idle = [connection for connection in self._idle if not connection.is_closed]
