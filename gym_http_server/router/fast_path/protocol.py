"""A client's connection to a router, and the requests that pass from it to a shard as bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...api.problems import HttpProblem, problem_of
from ...errors import GymHttpServerError, ShardUnreachableError
from ...http1.arrival import MAX_HEAD_BYTES
from ...http1.known_heads import END_OF_HEAD
from ...http1.protocol import HttpProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..connections import ConnectionPool, ShardConnection

MAX_LANES: Final = 8
"""Maximum number of connections to shards that one connection of a client keeps."""

MAX_WAITING_BYTES: Final = 1 << 16
"""Bytes of further requests above which no more are received before the reply."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)


class KnownHead(NamedTuple):
    """A head that its connection has sent before.

    Attributes:
        instance_id: the instance that it is for.
        head: what the shard is sent for it: all but its last lines.
        size: bytes of the body.
        is_repeatable: whether it may be sent twice, whatever its key.
    """

    instance_id: str
    head: bytes
    size: int
    is_repeatable: bool


class RouterProtocol(HttpProtocol):
    """The protocol of a client's connection to a router.

    Args:
        take: begins to serve received bytes that are a whole request; returns False for one that is the application's.
        report: called with the prefix of a shard that did not answer.
        pending: the connections that wait for a reply; this one is among them while it does.
        **options: options of the base class.

    Attributes:
        known: heads that it has sent before, by their bytes.
    """

    def __init__(
        self,
        *,
        take: Callable[[RouterProtocol, bytes], bool],
        report: Callable[[str], None],
        pending: set[RouterProtocol],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.known: dict[bytes, KnownHead] = {}
        self._take = take
        self._report = report
        self._pending = pending
        self._lanes: dict[str, tuple[ConnectionPool, ShardConnection]] = {}
        """Connections to shards, by instance, the one used last at the end."""
        self._passage: Passage | None = None
        self._waiting = b""
        """Bytes received before the reply."""
        self._closes = False

    def data_received(self, data: bytes) -> None:
        """Serve received bytes on the fast path, or leave them to the application."""
        if self._passage is not None:
            self._waiting += data
            if len(self._waiting) > MAX_WAITING_BYTES:
                self.flow.pause_reading()
        elif not (self.is_between and self._take(self, data)):
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the request under way; keep the connections to shards for others."""
        super().connection_lost(exc)
        if self._passage is not None:
            self._passage.abandon()
            self._end_passage()
        for pool, connection in self._lanes.values():
            pool.keep(connection)
        self._lanes.clear()

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Keep the connection of a client that sends no more until it has its reply."""
        if self._passage is None or self.scheme == "https":
            return super().eof_received()
        self._closes = True
        return True

    def shutdown(self) -> None:
        """End the connection after the current request; uvicorn calls this when the server stops."""
        if self._passage is None:
            super().shutdown()
        else:
            self._closes = True

    def pause_writing(self) -> None:
        """Receive no more of a reply that the client does not take."""
        super().pause_writing()
        if self._passage is not None:
            self._passage.pause()

    def resume_writing(self) -> None:
        """Receive more of the reply."""
        super().resume_writing()
        if self._passage is not None:
            self._passage.resume()

    def forward(self, pool: ConnectionPool, instance_id: str, request: bytes, *, is_repeatable: bool) -> None:
        """Send a request to its shard."""
        self._idle_since = None
        self._pending.add(self)
        lane = self._lanes.pop(instance_id, None)
        connection = lane[1] if lane is not None and not lane[1].is_closed and lane[0] is pool else pool.idle()
        self._passage = passage = Passage(self, pool, instance_id, request, is_repeatable=is_repeatable)
        if connection is None:
            passage.connect()
        else:
            passage.begin(connection)

    def pass_on(self, data: bytes) -> None:
        """Send bytes of a reply to the client."""
        self._joining.write_whole(data, b"")

    def complete(self, pool: ConnectionPool, instance_id: str, connection: ShardConnection) -> None:
        """End a request whose reply is complete."""
        if not connection.is_closed:
            self._lanes[instance_id] = pool, connection
            if len(self._lanes) > MAX_LANES:
                former, spare = self._lanes.pop(next(iter(self._lanes)))
                former.keep(spare)
        self._end_passage()
        self._go_on()

    def fail(self, error: GymHttpServerError) -> None:
        """Answer a request whose shard did not."""
        pool = self._passage.pool if self._passage is not None else None
        if pool is not None:
            self._report(pool.shard.prefix)
        self._answer(error)
        self._end_passage()
        self._go_on()

    def cut(self) -> None:
        """End the connection in the middle of a reply, which tells the client that it is incomplete."""
        self._end_passage()
        self.transport.close()

    def refuse(self, problem: HttpProblem) -> None:
        """Answer a request before its shard does, and end the connection."""
        passage = self._passage
        if passage is not None:
            passage.abandon()
            self._closes = True
            if not passage.has_begun:
                self._answer(problem)
        self._end_passage()
        self.transport.close()

    def _answer(self, error: GymHttpServerError | HttpProblem) -> None:
        scope: dict[str, Any] = {"headers": [], "client": self.client, "method": None, "path": None}
        problem = problem_of(error, scope)
        headers = {**problem.headers, "content-length": str(len(problem.body))}
        if self._closes:
            headers["connection"] = "close"
        given = ((name.encode(), value.encode("latin-1")) for name, value in headers.items())
        head = b"".join(b"%b: %b\r\n" % line for line in (*self.server_state.default_headers, *given))
        self._joining.write_whole(STATUS_LINE[problem.status] + head + b"\r\n", problem.body)

    def _end_passage(self) -> None:
        self._passage = None
        self._pending.discard(self)

    def _go_on(self) -> None:
        """Go on to the next request, or wait for one."""
        if self.transport.is_closing():
            return
        if self._closes:
            self.transport.close()
            return
        self._idle_since = self.loop.time()
        self._idle_timer.start(self.timeout_keep_alive)
        self.flow.resume_reading()
        if self._waiting:
            data, self._waiting = self._waiting, b""
            self.data_received(data)


class Passage:
    """One request on the fast path, from a client's connection to its shard; the `Taker` of the reply.

    Args:
        protocol: the client's connection.
        pool: the connections to the shard.
        instance_id: the instance that it is for.
        request: its bytes.
        is_repeatable: whether it may be sent twice.

    Attributes:
        pool: the connections to the shard.
        has_begun: whether the client was sent a part of the reply.
    """

    def __init__(
        self, protocol: RouterProtocol, pool: ConnectionPool, instance_id: str, request: bytes, *, is_repeatable: bool
    ) -> None:
        self.pool = pool
        self.has_begun = False
        self._protocol = protocol
        self._instance_id = instance_id
        self._request = request
        self._is_repeatable = is_repeatable
        self._connection: ShardConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._head = b""
        """Received bytes of an incomplete head."""
        self._left = 0
        """Bytes of the reply that are still to come."""
        self._is_paused = False
        self._closes = False
        """Whether the shard ends its connection after the reply."""

    def connect(self) -> None:
        """Send the request on a new connection."""
        self._connecting = self.pool.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            connection = await self.pool.connect()
        except ShardUnreachableError as error:
            self._connecting = None
            self._protocol.fail(error)
        else:
            self._connecting = None
            self.begin(connection)

    def begin(self, connection: ShardConnection) -> None:
        """Send the request."""
        self._connection = connection
        connection.begin(self)
        connection.transport.write(self._request)

    def take(self, data: bytes) -> None:
        """Pass received bytes of the reply on."""
        if not self.has_begun:
            data = self._take_head(self._head + data if self._head else data)
            if not data:
                return
        else:
            self._left -= len(data)
        connection = self._connection
        assert connection is not None, "it received a reply"  # noqa: S101 -- for the type checker
        if self._left < 0:
            connection.abort()
            self._protocol.cut()
            return
        self._protocol.pass_on(data)
        if not self._left:
            self.resume()
            connection.end(keeps=not self._closes)
            self._protocol.complete(self.pool, self._instance_id, connection)

    def _take_head(self, data: bytes) -> bytes:
        """Return the bytes to pass on, once the head is complete."""
        end = data.find(END_OF_HEAD)
        if end < 0:
            self._head = data
            if len(data) > MAX_HEAD_BYTES:
                self._break_off("the head of its reply is too long")
            return b""
        end += len(END_OF_HEAD)
        if data.startswith(b"HTTP/1.1 1"):
            self._head = b""
            return self._take_head(data[end:]) if len(data) > end else b""
        head = data[: end - 2]
        length = _LENGTH.search(head)
        if length is None:
            self._break_off("its reply has no length")
            return b""
        self._left = int(length[1]) - (len(data) - end)
        self.has_begun = True
        if _CLOSE.search(head) is not None:
            # It is about the connection to the shard only.
            self._closes = True
            data = _CLOSE.sub(b"", head) + data[end - 2 :]
        return data

    def lose(self, reason: str) -> None:
        """Answer for a shard that does not, or send the request again where that cannot execute it twice."""
        connection, self._connection = self._connection, None
        is_unread = connection is not None and connection.was_used and not self._head
        if self.has_begun:
            self._protocol.cut()
        elif self._is_repeatable and is_unread and not self.pool.failure:
            self.connect()
        else:
            self._protocol.fail(ShardUnreachableError.of(self.pool.shard.prefix, reason, was_sent=True))

    def abandon(self) -> None:
        """Give the request up, because its client has gone or the router stops."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort()

    def pause(self) -> None:
        """Receive no more of the reply."""
        if self._connection is not None and not self._connection.is_closed and not self._is_paused:
            self._is_paused = True
            self._connection.transport.pause_reading()

    def resume(self) -> None:
        """Receive more of the reply."""
        if self._is_paused and self._connection is not None and not self._connection.is_closed:
            self._is_paused = False
            self._connection.transport.resume_reading()

    def _break_off(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._protocol.fail(ShardUnreachableError.of(self.pool.shard.prefix, reason, was_sent=True))
