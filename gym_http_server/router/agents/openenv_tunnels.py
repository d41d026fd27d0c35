"""`OpenenvTunnels`: WebSockets of OpenEnv's clients at a router, each of which a shard takes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from ...agents.openenv.sockets.placing import LOST_ROOM, RESUME, ROOM, ROUTER_ASKS
from ...api.asgi import link_of
from ...api.normalizer import send_problem
from ...api.problems import problem_of
from ...errors import GymHttpServerError, InstanceLostError, NoShardError, ShardUnreachableError, UnknownInstanceError
from ..exchanges import WholeReply, send_reply
from ..forwarding import forward
from ..placing import FULL, choose
from .handshake import shake_hands
from .tunnel import GOING_AWAY, Tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ...api.asgi import Receive, Scope, Send
    from ...config import Settings
    from ..cluster import Cluster
    from ..connections import ConnectionPool

DECLINED: Final = (404, *FULL)
"""Statuses of a shard that leaves a WebSocket to the next one."""
EXTENSIONS: Final = b"sec-websocket-extensions"


class OpenenvTunnels:
    """An ASGI app that serves requests for WebSockets.

    The shard of a session has it in the session's id. For a new one, shards are asked in this order: those where environments wait
    for clients that lost their connection, known or not, whose first message tells whether it is one of these; those with room; all.

    Args:
        settings: the router's settings.
        cluster: the cluster.
    """

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._cluster = cluster
        self._max_body = settings.max_body
        self._has_grace = settings.openenv_grace > 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, to the end of its connection."""
        switch = link_of(scope).switch
        try:
            if switch is None:
                # A shard has the words for what is missing.
                pool = await self._cluster.any_pool()
                await forward(pool, scope, receive, send, key=self._cluster.key, max_body=self._max_body)
                return
        except GymHttpServerError as error:
            await send_problem(problem_of(error), send)
            return
        passage = _Passage(self._cluster, scope)
        try:
            async for pool, asked in self._choices(scope):
                if asked == RESUME and passage.is_new:
                    continue
                if await passage.try_shard(pool, asked):
                    break
        except GymHttpServerError as error:
            passage.failure = error
        await passage.end(send)

    async def _choices(self, scope: Scope) -> AsyncIterator[tuple[ConnectionPool, bytes]]:
        """Yield the shards that may take a WebSocket in their order, with what each is asked."""
        cluster = self._cluster
        session_id = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [None])[0]
        if session_id is not None:
            try:
                pool = cluster.pool_of(session_id)
            except (UnknownInstanceError, InstanceLostError):
                # Any shard says that it is not known.
                pool = await cluster.any_pool()
            yield pool, b""
            return
        if self._has_grace and scope["path"].rstrip("/").endswith("/ws"):
            await cluster.looks.now()
            for pool in [each for each in cluster.pools() if each.may_wait]:
                yield pool, RESUME
        if not any(shard.has_room for shard in cluster.shards.shards()):
            # As at a server, who was lost keeps nobody out.
            for pool in [each for each in cluster.pools() if each.may_wait]:
                yield pool, LOST_ROOM
        refused: set[str] = set()
        try:
            while True:
                shard = await choose(cluster, frozenset(refused))
                refused.add(shard.prefix)
                with contextlib.suppress(ShardUnreachableError):
                    yield cluster.pool_for(shard), ROOM
        except NoShardError:
            if not cluster.pools():
                raise
        # In the words of OpenEnv.
        yield await cluster.any_pool(), b""


class _Passage:
    """One request for a WebSocket.

    Args:
        cluster: the cluster.
        scope: the request.

    Attributes:
        failure: what the latest shard has answered, or why none has.
    """

    def __init__(self, cluster: Cluster, scope: Scope) -> None:
        self._cluster = cluster
        self._scope = scope
        self._tunnel: Tunnel | None = None
        self._extensions: list[bytes] = []
        self.failure: WholeReply | GymHttpServerError = NoShardError.of("no shard takes the WebSocket")

    @property
    def is_new(self) -> bool:
        """Whether its first message is known to go on with no episode."""
        return self._tunnel is not None and self._tunnel.is_new

    async def try_shard(self, pool: ConnectionPool, asked: bytes) -> bool:
        """Offer the WebSocket to a shard; return whether that is over."""
        if self._tunnel is not None and self._tunnel.is_over:
            return True
        further = [(ROUTER_ASKS, asked)] if asked else []
        try:
            connection, handshake = await shake_hands(pool, self._scope, self._cluster.key, further)
        except ShardUnreachableError as error:
            self._cluster.report(pool.shard.prefix)
            self.failure = error
            return False
        reply = handshake.reply
        if reply.status != 101:
            self.failure = reply
            return reply.status not in DECLINED
        extensions = [value for name, value in reply.headers if name == EXTENSIONS]
        if self._tunnel is None:
            switch = link_of(self._scope).switch
            assert switch is not None, "it asks for a WebSocket"  # noqa: S101 -- for the type checker
            self._tunnel = Tunnel(switch(_of_handshake(reply)))
            self._extensions = extensions
        elif extensions != self._extensions:
            # Its client was promised another encoding.
            connection.abort()
            return False
        try:
            is_over = await self._tunnel.run(connection, handshake.early, may_decline=asked == RESUME)
            if is_over and not self._tunnel.is_clean:
                pool.note_lost_client()
            return is_over  # noqa: TRY300 -- of the shard, not of the stop
        except asyncio.CancelledError:
            # The time of the stop is over.
            self._tunnel.end("the router stops: connect to the next one", GOING_AWAY)
            raise

    async def end(self, send: Send) -> None:
        """Tell the client why no shard has taken it, or take note how its tunnel ended."""
        tunnel, failure = self._tunnel, self.failure
        if tunnel is not None:
            tunnel.end("no shard of the cluster takes the WebSocket: connect again")
            # For the access log; the protocol sends nothing.
            sizes = {"received_bytes": tunnel.from_client.total, "sent_bytes": tunnel.from_shard.total}
            await send({"type": "gym_http_server.websocket", "status": 101, **sizes})
        elif isinstance(failure, WholeReply):
            await send_reply(failure, send)
        else:
            await send_problem(problem_of(failure), send)


def _of_handshake(reply: WholeReply) -> list[tuple[bytes, bytes]]:
    """Return the headers of a 101 that the client is sent."""
    kept = (b"connection", b"upgrade")
    return [(name, value) for name, value in reply.headers if name in kept or name.startswith(b"sec-websocket-")]
