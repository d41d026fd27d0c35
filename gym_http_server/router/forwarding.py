"""Requests that are passed on part by part, as ASGI messages: all but those of the fast path."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from ..api.asgi import link_of
from ..api.normalizer import ClientDisconnected, read_body
from ..errors import ShardUnreachableError
from .exchanges import REPEATABLE, ParsedReply, head_bytes, reply_headers, request_headers

if TYPE_CHECKING:
    from ..api.asgi import Message, Receive, Scope, Send
    from .connections import ConnectionPool, ShardConnection

MAX_JOINED_BYTES: Final = 1 << 16
"""Bytes of a body below which it is written with its head."""


async def forward(
    pool: ConnectionPool, scope: Scope, receive: Receive, send: Send, *, key: bytes, max_body: int
) -> int:
    """Pass a request on to a shard and its reply back; return the status, 0 if that is not known.

    A shard that is lost in the middle of a reply ends the client's connection, which tells it so.

    Args:
        pool: the connections to the shard.
        scope: the ASGI scope.
        receive: the ASGI receive function.
        send: the ASGI send function.
        key: the key that the shard accepts for it.
        max_body: maximum bytes of a body.

    Raises:
        HttpProblem: the body is too large.
        ShardUnreachableError: the shard does not answer, and nothing was sent to the client.
    """
    declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is not None and declared > max_body:
        with contextlib.suppress(ClientDisconnected):
            await read_body(scope, receive, max_body)
        return 0
    message = await receive()
    if message["type"] == "http.disconnect":
        return 0
    body, has_more = message.get("body", b""), message.get("more_body", False)
    method = scope["method"]
    headers = request_headers(scope["headers"])
    is_repeatable = not has_more and (method in REPEATABLE or any(name == b"idempotency-key" for name, _ in headers))
    is_chunked = has_more and declared is None
    if is_chunked:
        headers.append((b"transfer-encoding", b"chunked"))
    elif declared is not None or body or method in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", b"%d" % (declared if has_more and declared is not None else len(body))))
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    head = head_bytes(method.encode(), target, pool.authority, key, headers) + b"\r\n"
    while True:
        connection = pool.idle() or await pool.connect()
        exchange = _Exchange(pool, connection, is_head=method == "HEAD", is_chunked=is_chunked, is_sent=not has_more)
        exchange.write(head, body)
        try:
            status = await exchange.run(receive, send)
        except ShardUnreachableError:
            if is_repeatable and connection.was_used and not exchange.reply.has_begun and not pool.failure:
                continue
            raise
        finally:
            exchange.end()
        if status is None and (abandon := link_of(scope).abandon) is not None:
            abandon()
        return status or 0


class _Exchange:
    """One request on one connection to a shard."""

    def __init__(
        self, pool: ConnectionPool, connection: ShardConnection, *, is_head: bool, is_chunked: bool, is_sent: bool
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._is_chunked = is_chunked
        self._is_sent = is_sent
        self._is_client_gone = False
        self.reply = ParsedReply(connection, pool.shard.prefix, is_head=is_head)

    def write(self, head: bytes, body: bytes) -> None:
        """Write the head and the first part of the body."""
        body = _chunk(body) if self._is_chunked else body
        if len(body) <= MAX_JOINED_BYTES:
            self._connection.transport.write(head + body)
        else:
            self._connection.transport.writelines((head, body))

    async def run(self, receive: Receive, send: Send) -> int | None:
        """Pass the rest of the body and the reply on; return its status, or None for a reply that ended too early."""
        sending = asyncio.ensure_future(self._send_rest(receive))
        has_begun = False
        try:
            await self.reply.head()
            start = {"status": self.reply.status, "headers": reply_headers(self.reply.headers)}
            await send({"type": "http.response.start", **start})
            has_begun = True
            while (part := await self.reply.part()) is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except ShardUnreachableError:
            if self._is_client_gone:
                return 0
            if has_begun:
                return None
            raise
        finally:
            sending.cancel()
        return self.reply.status

    async def _send_rest(self, receive: Receive) -> None:
        """Send the rest of the body as it comes; then wait for the client's end, which ends the exchange."""
        while True:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                self._is_client_gone = True
                if not self.reply.is_complete:
                    self._connection.transport.abort()
                return
            if self._connection.is_closed or self._is_sent:
                continue
            part, has_more = message.get("body", b""), message.get("more_body", False)
            data = _chunk(part) if self._is_chunked else part
            if not has_more:
                self._is_sent = True
                data += b"0\r\n\r\n" if self._is_chunked else b""
            if data:
                self._connection.transport.write(data)
            await self._connection.drain()

    def end(self) -> None:
        """Keep the connection, or end it where its exchange is not over."""
        if self.reply.is_complete and self._is_sent:
            self._pool.keep(self._connection)
        else:
            self._connection.abort()


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part) if part else b""
