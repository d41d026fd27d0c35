"""`McpRoute`: MCP at a router. A session is on one shard, whose prefix its id begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ...agents.mcp.face import check_on
from ...api.asgi import replay, whole_body
from ...api.normalizer import ClientDisconnected, check_coding, read_body, send_problem
from ...api.problems import HttpProblem, problem_of
from ...errors import (
    GymHttpServerError,
    InstanceLostError,
    NoShardError,
    ShardUnreachableError,
    UnknownInstanceError,
)
from ..exchanges import WholeReply, ask, request_headers, send_reply
from ..forwarding import forward
from ..placing import place
from ..shards import PREFIX_CHARS

if TYPE_CHECKING:
    from ...api.asgi import Receive, Scope, Send
    from ...config import Settings
    from ..cluster import Cluster
    from ..connections import ConnectionPool

SESSION_HEADER: Final = b"mcp-session-id"
BEGINNING: Final = b'"initialize"'
"""What the first message of a session contains."""

FAILED: Final = -32603
"""The code of an internal error in JSON-RPC."""


class McpRoute:
    """An ASGI app that passes requests of MCP on to shards.

    Args:
        settings: the router's settings.
        cluster: the cluster.
    """

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            check_on(self._settings)
            check_coding(scope)
            body = await read_body(scope, receive, self._settings.max_body)
            session_id = dict(scope["headers"]).get(SESSION_HEADER, b"").decode("latin-1")
            if not session_id and scope["method"] == "POST" and BEGINNING in body:
                await send_reply(await self._begin(scope, body), send)
            else:
                pool = await self._pool(session_id)
                again = replay([whole_body(body)], receive)
                await forward(pool, scope, again, send, key=self._cluster.key, max_body=self._settings.max_body)
        except ClientDisconnected:
            return
        except HttpProblem as error:
            await send_problem(problem_of(error), send)
        except GymHttpServerError as error:
            await send_reply(self._failure(error, session_id, body), send)

    async def _begin(self, scope: Scope, body: bytes) -> WholeReply:
        """Begin a session on a shard with room."""
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        headers = request_headers(scope["headers"])

        async def send_to(pool: ConnectionPool) -> WholeReply:
            return await ask(pool, "POST", target, key=self._cluster.key, headers=headers, body=body)

        # A session that nobody knows ends by itself.
        _, reply = await place(self._cluster, send_to, is_repeatable=True)
        return reply

    async def _pool(self, session_id: str) -> ConnectionPool:
        if session_id:
            try:
                return self._cluster.pool_of(session_id)
            except UnknownInstanceError:
                pass
        # Any shard has the words for a session that is not known, or for what needs none.
        return await self._cluster.any_pool()

    def _failure(self, error: GymHttpServerError, session_id: str, body: bytes) -> WholeReply:
        """Return an error of JSON-RPC.

        A lost session is told by 404, after which clients begin another. Where a request may be under way, the status is that of an
        answer: clients of the SDK's first generation end with an exception at any other, and the model never reads the words.
        """
        if isinstance(error, ShardUnreachableError) and session_id:
            self._cluster.report(session_id[:PREFIX_CHARS])
        text, status = error.detail, 200
        if isinstance(error, InstanceLostError):
            loss = self._cluster.shards.loss(session_id[:PREFIX_CHARS])
            text, status = f"the session {session_id[:100]!r} is lost: {loss}; send initialize to begin another", 404
        elif isinstance(error, NoShardError) or not session_id:
            status = 503
        elif isinstance(error, ShardUnreachableError):
            text = f"shard {error.facts['shard']} of the cluster, which has the session, does not answer: {error.facts['reason']}; "
            text += "whether the call was executed is not known: call again, or begin another session"
        request_id = _id_of(body)
        if request_id is None and status == 200:
            status = 502
        told = {"jsonrpc": "2.0", "id": request_id, "error": {"code": FAILED, "message": text}}
        return WholeReply(status, [(b"content-type", b"application/json")], orjson.dumps(told))


def _id_of(body: bytes) -> Any:
    """Return the id of a request of JSON-RPC; None for anything else."""
    try:
        request_id = orjson.loads(body)["id"]
    except (ValueError, TypeError, KeyError):
        return None
    return request_id if isinstance(request_id, str | int) else None
