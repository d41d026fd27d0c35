"""`OpenenvOperations`: the operations of the tag `openenv` at a router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ...agents.openenv.dialect import FAILED, NO_ROOM
from ...api.guard.proxy import with_router_url
from ...api.normalizer import read_body
from ...errors import GymHttpServerError, InstanceLostError, NoShardError, ShardUnreachableError, UnknownInstanceError
from ...runtime.messages import JSON
from ..exchanges import WholeReply, ask, request_headers, send_reply
from ..forwarding import forward
from ..placing import is_full, place

if TYPE_CHECKING:
    from ...api.asgi import Receive, Scope, Send
    from ..cluster import Cluster
    from ..connections import ConnectionPool

OF_ENVIRONMENT: Final = ("getOpenenvMetadata", "getOpenenvSchema")
"""Operations that make an environment once, and keep what they have learned."""
MAKING: Final = ("resetOpenenv", "stepOpenenv")
"""Operations that make an environment for one request."""
RPC: Final = "callOpenenvMcp"


class OpenenvOperations:
    """Serves requests whose operation is known.

    Args:
        cluster: the cluster.
        max_body: maximum bytes of a body.
    """

    def __init__(self, cluster: Cluster, max_body: int) -> None:
        self._cluster = cluster
        self._max_body = max_body

    async def serve(self, operation_id: str, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request about an environment.

        Raises:
            GymHttpServerError: no shard serves it.
            HttpProblem: the body is too large.
            ClientDisconnected: it is incomplete.
        """
        if operation_id in OF_ENVIRONMENT:
            # The same shard for the same environment, which that makes once; another where it is full.
            reply = await self._ask(await self._cluster.any_pool(name), scope)
            await send_reply(await self._place(scope) if is_full(reply) else reply, send)
        elif operation_id in MAKING:
            await send_reply(await self._place(scope, await read_body(scope, receive, self._max_body)), send)
        elif operation_id == RPC:
            await send_reply(await self._call(scope, await read_body(scope, receive, self._max_body)), send)
        else:
            pool = await self._cluster.any_pool()
            key = self._cluster.key
            await forward(pool, with_router_url(scope), receive, send, key=key, max_body=self._max_body)

    async def _call(self, scope: Scope, body: bytes) -> WholeReply:
        """Answer a request of OpenEnv's JSON-RPC: on the shard of its session, or on one with room."""
        request = _read(body)
        params = request.get("params")
        session_id = params.get("session_id") if isinstance(params, dict) else None
        try:
            if not isinstance(session_id, str):
                return await self._place(scope, body)
            try:
                pool = self._cluster.pool_of(session_id)
            except UnknownInstanceError:
                # Any shard says that it is not known.
                pool = await self._cluster.any_pool()
            return await self._ask(pool, scope, body)
        except GymHttpServerError as error:
            detail, code = error.detail, NO_ROOM if isinstance(error, NoShardError) else FAILED
            if isinstance(error, InstanceLostError):
                detail = f"the session {session_id} is lost: {self._cluster.shards.loss(str(session_id)[:3])}"
            told = {"jsonrpc": "2.0", "id": request.get("id")}
            told["error"] = {"code": code, "message": detail, "data": None}
            return WholeReply(200, [(b"content-type", JSON.encode())], orjson.dumps(told))

    async def _place(self, scope: Scope, body: bytes = b"") -> WholeReply:
        _, reply = await place(self._cluster, lambda pool: self._ask(pool, scope, body), is_refusal=_is_refusal)
        return reply

    async def _ask(self, pool: ConnectionPool, scope: Scope, body: bytes = b"") -> WholeReply:
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        headers = request_headers(scope["headers"])
        try:
            return await ask(pool, scope["method"], target, key=self._cluster.key, headers=headers, body=body)
        except ShardUnreachableError:
            self._cluster.report(pool.shard.prefix)
            raise


def _is_refusal(reply: WholeReply) -> bool:
    """Return whether a shard has no room, which its JSON-RPC says with status 200."""
    if is_full(reply):
        return True
    error = _read(reply.body).get("error") if b"%d" % NO_ROOM in reply.body[:4096] else None
    return isinstance(error, dict) and error.get("code") == NO_ROOM


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
