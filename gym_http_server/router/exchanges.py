"""Requests to shards and their replies, parsed: of everything that the fast path does not serve."""

from __future__ import annotations

import asyncio
import collections
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import httptools

from ..agents.openenv.sockets.placing import ROUTER_ASKS
from ..api.call import LOOKUP_NAME
from ..errors import ShardUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..api.asgi import Send
    from .connections import ConnectionPool, ShardConnection

_HOP_BY_HOP: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
    )
)
"""Headers of one connection (RFC 9110, 7.6.1)."""

_ROUTERS_OWN: Final = frozenset(
    (
        *(b"host", b"authorization", b"cookie", b"content-length", b"expect", b"accept-encoding"),
        *(b"origin", b"forwarded", b"via", LOOKUP_NAME, ROUTER_ASKS),
        *(b"access-control-request-method", b"access-control-request-headers"),
        *(b"access-control-request-private-network",),
    )
)
"""Headers that the router has acted on: access, framing, compression."""

_OF_SERVER: Final = frozenset((b"date", b"server"))
"""Headers of a reply that the router's own protocol adds."""

INSTANCE_PATH: Final = re.compile(r"/v1/envs/([0-9a-f]{8})/.*")

MAX_QUEUED_BYTES: Final = 1 << 18
"""Bytes of a reply above which no more are received, until its client has taken some."""

REPEATABLE: Final = frozenset(("GET", "HEAD"))
"""Methods of requests that change nothing (RFC 9110, 9.2.1)."""


class WholeReply(NamedTuple):
    """A reply with all of its content."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def problem(self) -> str:
        """The last part of the type of its problem, such as `no-recording`; empty for another reply."""
        if self.status < 400:
            return ""
        try:
            return str(json.loads(self.body)["type"]).rpartition(":")[2]
        except (ValueError, KeyError, TypeError):
            return ""


class ParsedReply:
    """The reply of one exchange; a `Taker`.

    Args:
        connection: the connection, on which the request is sent next.
        prefix: the shard.
        is_head: whether the request is a HEAD, whose reply has no content.

    Attributes:
        status: its status, once `head` has returned.
        headers: its headers, with names in lower case.
        has_begun: whether a byte of it was received.
        is_complete: whether all of it was.
    """

    def __init__(self, connection: ShardConnection, prefix: str, *, is_head: bool = False) -> None:
        self._connection = connection
        self._prefix = prefix
        self._is_head = is_head
        self._parser = httptools.HttpResponseParser(self)
        self._news = asyncio.Event()
        self._parts: collections.deque[bytes] = collections.deque()
        self._queued = 0
        self._is_paused = False
        self._has_head = False
        self._failure: str | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_begun = False
        self.is_complete = False
        connection.begin(self)

    def take(self, data: bytes) -> None:
        """Parse received bytes."""
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.is_complete:
                self._failure = f"it sent what is no reply of HTTP ({error})"
                self._connection.abort()
        if self._queued > MAX_QUEUED_BYTES and not self._is_paused and not self.is_complete:
            self._is_paused = True
            self._connection.transport.pause_reading()
        self._news.set()

    def lose(self, reason: str) -> None:
        """Fail whoever waits."""
        if not self.is_complete:
            self._failure = reason
            self._news.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header."""
        if not self._has_head:  # else it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End the head; one of an interim reply is dropped."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        self._has_head = True
        if self._is_head:
            self._complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the content."""
        self._parts.append(body)
        self._queued += len(body)

    def on_message_complete(self) -> None:
        """End the reply."""
        if self._has_head and not self.is_complete:
            self._complete()

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            ShardUnreachableError: the connection ended before.
        """
        while not self._has_head:
            await self._next()

    async def part(self) -> bytes | None:
        """Return the next part of the content; None after the last.

        Raises:
            ShardUnreachableError: the connection ended before.
        """
        while not self._parts:
            if self.is_complete:
                return None
            await self._next()
        part = self._parts.popleft()
        self._queued -= len(part)
        if self._is_paused and self._queued < MAX_QUEUED_BYTES // 2:
            self._is_paused = False
            if not self.is_complete and not self._connection.is_closed:
                self._connection.transport.resume_reading()
        return part

    def _complete(self) -> None:
        self.is_complete = True
        # A parser that was promised content is given none after a HEAD.
        keeps = self._parser.should_keep_alive() if not self._is_head else (b"connection", b"close") not in self.headers
        if self._is_paused:
            self._is_paused = False
            self._connection.transport.resume_reading()
        self._connection.end(keeps=keeps)

    async def _next(self) -> None:
        if self._failure is not None:
            raise ShardUnreachableError.of(self._prefix, self._failure, was_sent=True)
        self._news.clear()
        await self._news.wait()


async def ask(
    pool: ConnectionPool,
    method: str,
    target: bytes,
    *,
    key: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    is_repeatable: bool | None = None,
) -> WholeReply:
    """Send a request to a shard and return its whole reply.

    Args:
        pool: the connections to the shard.
        method: its method.
        target: path and query.
        key: the key that the shard accepts.
        headers: further headers.
        body: its body.
        is_repeatable: whether it may be sent twice, where a kept connection was closed meanwhile; None to decide by the method.

    Raises:
        ShardUnreachableError: the shard does not answer.
    """
    repeatable = method in REPEATABLE if is_repeatable is None else is_repeatable
    head = head_bytes(method.encode(), target, pool.authority, key, headers)
    data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body) if body or method == "POST" else head + b"\r\n"
    while True:
        connection = pool.idle() or await pool.connect()
        reply = ParsedReply(connection, pool.shard.prefix, is_head=method == "HEAD")
        connection.transport.write(data)
        try:
            await reply.head()
            parts = []
            while (part := await reply.part()) is not None:
                parts.append(part)
        except ShardUnreachableError:
            if repeatable and connection.was_used and not reply.has_begun and not pool.failure:
                continue
            raise
        finally:
            if reply.is_complete:
                pool.keep(connection)
            else:
                connection.abort()
        return WholeReply(reply.status, reply.headers, b"".join(parts))


async def send_reply(reply: WholeReply, send: Send) -> None:
    """Send a shard's reply to its client."""
    headers = [header for header in reply_headers(reply.headers) if header[0] != b"content-length"]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def request_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a client's request that its shard is sent; an Idempotency-Key is the last."""
    passed = [(name, value) for name, value in headers if _passes(name)]
    return sorted(passed, key=lambda header: header[0] == b"idempotency-key")


def reply_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a shard's reply that its client is sent."""
    return [(name, value) for name, value in headers if name not in _HOP_BY_HOP and name not in _OF_SERVER]


def head_bytes(
    method: bytes, target: bytes, authority: bytes, key: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return a request head without its last line.

    Args:
        method: its method.
        target: path and query.
        authority: host and port of the shard.
        key: the key that the shard accepts; empty for none.
        headers: further headers.
    """
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority)]
    if key:
        lines.append(b"authorization: Bearer %b\r\n" % key)
    lines += [b"%b: %b\r\n" % header for header in headers]
    return b"".join(lines)


def _passes(name: bytes) -> bool:
    return not (
        name in _HOP_BY_HOP or name in _ROUTERS_OWN or name.startswith((b"x-forwarded-", b"sec-fetch-", b"proxy-"))
    )
