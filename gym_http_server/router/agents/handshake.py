"""The handshake of a WebSocket with a shard: what the shard is sent, and what it answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ...errors import ShardUnreachableError
from ...http1.arrival import MAX_HEAD_BYTES
from ...http1.known_heads import END_OF_HEAD
from ..exchanges import WholeReply, head_bytes, request_headers
from .tunnel import TunnelConnection

if TYPE_CHECKING:
    from ...api.asgi import Scope
    from ..connections import ConnectionPool

_UPGRADE: Final = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
MAX_REFUSAL_BYTES: Final = 1 << 20
"""Maximum size of an answer that is no 101."""


class ShardHandshake:
    """The answer of a shard; a `Taker`.

    Args:
        connection: the connection, on which the request is sent.

    Attributes:
        reply: the answer.
        early: what followed a 101.
    """

    def __init__(self, connection: TunnelConnection) -> None:
        self._connection = connection
        self._received = b""
        self._end = asyncio.get_running_loop().create_future()
        self.reply = WholeReply(0, [], b"")
        connection.begin(self)

    @property
    def early(self) -> bytes:
        """What followed a 101."""
        return self._received if self.reply.status == 101 else b""

    async def answered(self) -> None:
        """Wait for the answer.

        Raises:
            ShardUnreachableError: there is none.
        """
        reason = await self._end
        if reason:
            raise ShardUnreachableError.of(self._connection.prefix, reason, was_sent=False)

    def take(self, data: bytes) -> None:
        """Take received bytes."""
        self._received += data
        if not self.reply.status:
            head, end, rest = self._received.partition(END_OF_HEAD)
            if not end:
                if len(head) > MAX_HEAD_BYTES:
                    self._fail("the head of its reply is too long")
                return
            self._received = rest
            self._read(head)
        body = self._received
        length = next((value for name, value in self.reply.headers if name == b"content-length"), b"0")
        if self.reply.status == 101 or len(body) >= int(length):
            self.reply = self.reply._replace(body=b"" if self.reply.status == 101 else body)
            self._tell("")
        elif len(body) > MAX_REFUSAL_BYTES:
            self._fail("its reply is too long")

    def lose(self, reason: str) -> None:
        """Fail whoever waits."""
        self._tell(reason)

    def _read(self, head: bytes) -> None:
        status, *lines = head.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        self.reply = WholeReply(int(status[9:12]), headers, b"")

    def _fail(self, reason: str) -> None:
        self._connection.abort()
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        if not self._end.done():
            self._end.set_result(reason)


async def shake_hands(
    pool: ConnectionPool, scope: Scope, key: bytes, further: list[tuple[bytes, bytes]]
) -> tuple[TunnelConnection, ShardHandshake]:
    """Send a client's request for a WebSocket to a shard; return the connection and the answer, which may be a refusal.

    Args:
        pool: the connections to the shard.
        scope: the client's request.
        key: the key that the shard accepts.
        further: further headers.

    Raises:
        ShardUnreachableError: the shard does not answer.
    """
    connection = await pool.open(TunnelConnection)
    handshake = ShardHandshake(connection)
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    headers = [*request_headers(scope["headers"]), *_UPGRADE, *further]
    connection.transport.write(head_bytes(b"GET", target, pool.authority, key, headers) + b"\r\n")
    try:
        await handshake.answered()
    except BaseException:
        connection.abort()
        raise
    if handshake.reply.status != 101:
        connection.abort()
    return connection, handshake
