"""Streamable HTTP: a session of MCP for each client, with a transport and a server of the SDK.

Sessions are those of the handshake (protocol versions up to 2025-11-25), because a session owns its instances. Newer versions of
the protocol have none; their clients are told so, and fall back to the handshake. Replies are JSON, because the server sends
nothing on its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import orjson
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.types import INVALID_REQUEST, UNSUPPORTED_PROTOCOL_VERSION
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS

from ...api.asgi import replay, whole_body
from ...api.problems import HttpProblem
from ...api.refusals import client_of
from ...errors import GymHttpServerError, TooManyInstancesError
from ..sessions import AgentSessions
from .pinned_player import player_for
from .rules import Rules
from .server import make_server

if TYPE_CHECKING:
    from ...api.asgi import Message, Receive, Scope, Send
    from ...config import Settings
    from ..operations import InProcessOperations
    from ..sessions import AgentSession
    from .player import Player

logger = logging.getLogger(__name__)

SESSION_HEADER: Final = b"mcp-session-id"
VERSION_HEADER: Final = b"mcp-protocol-version"

METHODS: Final = "POST, DELETE"


class StreamableHttp:
    """The sessions of all clients.

    Args:
        settings: the server's settings.
        operations: executes operations.
    """

    def __init__(self, settings: Settings, operations: InProcessOperations) -> None:
        self._rules = Rules.of(settings)
        self._sessions = AgentSessions(
            operations, settings.max_envs, settings.mcp_idle_timeout, "--mcp-idle-timeout", self._forget, "mcp"
        )
        self._live: dict[str, McpSession] = {}

    @property
    def empty(self) -> int:
        """Number of live sessions without an instance."""
        return self._sessions.empty

    async def serve(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Serve one request with its whole body."""
        headers = dict(scope["headers"])
        session_id = headers.get(SESSION_HEADER, b"").decode("latin-1")
        if scope["method"] not in METHODS.split(", "):
            # Clients ask by GET for a stream, and take this for an answer.
            text = f"{scope['method']} is not served at /mcp: it takes {METHODS}; the server sends nothing on its own"
            await _send(send, 405, _error({}, text), (b"allow", METHODS.encode()))
        elif (refusal := _refusal_of_version(headers, body)) is not None:
            await _send(send, 400, refusal)
        elif scope["method"] == "DELETE":
            await self._end(session_id, send)
        elif session_id:
            await self._continue(session_id, scope, replay([whole_body(body)], receive), body, send)
        else:
            await self._begin(scope, replay([whole_body(body)], receive), body, send)

    async def stop(self) -> None:
        """End all sessions; their instances are left to the server."""
        live = list(self._live.values())
        await self._sessions.stop()
        for session in live:
            await session.stop()

    async def _begin(self, scope: Scope, receive: Receive, body: bytes, send: Send) -> None:
        message = _read(body)
        if message.get("method") != "initialize":
            text = "there is no session: send initialize first, and with each later message the Mcp-Session-Id of its reply"
            await _send(send, 400, _error(message, text))
            return
        try:
            agent = self._sessions.open(client_of(scope))
        except TooManyInstancesError as error:
            await _send(send, 429, _error(message, error.detail))
            return
        is_begun = False
        try:
            session = self._live[agent.session_id] = McpSession(
                agent, await player_for(agent, self._rules, _pinned(scope))
            )
            await session.start()
            is_begun = await session.serve(scope, receive, send) < 400
        except (GymHttpServerError, HttpProblem) as error:
            await _send(send, 400, _error(message, error.detail))
        finally:
            if not is_begun:
                await asyncio.shield(agent.end("it could not begin"))

    async def _continue(self, session_id: str, scope: Scope, receive: Receive, body: bytes, send: Send) -> None:
        session = self._live.get(session_id)
        if session is None:
            await _send(send, 404, _error(_read(body), _unknown(session_id)))
            return
        session.agent.touch()
        await session.serve(scope, receive, send)

    async def _end(self, session_id: str, send: Send) -> None:
        session = self._live.get(session_id)
        if session is None:
            await _send(send, 404, _error({}, _unknown(session_id)))
            return
        await asyncio.shield(session.agent.end("its client has ended it"))
        await _send(send, 200, None)

    def _forget(self, agent: AgentSession) -> None:
        session = self._live.pop(agent.session_id, None)
        if session is not None:
            session.stop_soon()


class McpSession:
    """One session of MCP.

    Args:
        agent: owns the instances.
        player: its tools.

    Attributes:
        agent: as above.
    """

    def __init__(self, agent: AgentSession, player: Player) -> None:
        self.agent = agent
        self._server = make_server(player)
        # No rules about Host and Origin: the server's own guard has them.
        self._transport = StreamableHTTPServerTransport(agent.session_id, is_json_response_enabled=True)
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read messages."""
        is_connected = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(is_connected))
        await is_connected.wait()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Serve a request; return the status of the reply, or 500 without one."""
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._transport.handle_request(scope, receive, noting)
        return status

    def stop_soon(self) -> None:
        """End the transport without waiting."""
        self._ending = self._ending or asyncio.get_running_loop().create_task(self.stop())

    async def stop(self) -> None:
        """End the transport."""
        if not self._transport.is_terminated:
            await self._transport.terminate()
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self, is_connected: asyncio.Event) -> None:
        try:
            async with self._transport.connect() as (reading, writing):
                is_connected.set()
                await self._server.run(reading, writing, self._server.create_initialization_options())
        except Exception:  # of the SDK or of what it calls: nobody awaits this task, and other sessions go on
            logger.exception("a session of MCP has failed")
        finally:
            is_connected.set()
            if self.agent.why_ended is None:
                await self.agent.end("its connection has ended")


def _refusal_of_version(headers: dict[bytes, bytes], body: bytes) -> dict[str, Any] | None:
    version = headers.get(VERSION_HEADER, b"").decode("latin-1")
    if not version or version in HANDSHAKE_PROTOCOL_VERSIONS:
        return None
    text = (
        f"the protocol version {version[:100]!r} is not served here: environments live in sessions, which begin with initialize "
        f"in the versions {', '.join(HANDSHAKE_PROTOCOL_VERSIONS)}"
    )
    refusal = _error(_read(body), text, UNSUPPORTED_PROTOCOL_VERSION)
    refusal["error"]["data"] = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": version}
    return refusal


def _pinned(scope: Scope) -> str:
    """Return the environment that the address names; empty for any."""
    env_id = scope["path"].removeprefix("/mcp").strip("/")
    return f"{env_id}?{scope['query_string'].decode('latin-1')}" if env_id else ""


def _read(body: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _error(message: dict[str, Any], text: str, code: int = INVALID_REQUEST) -> dict[str, Any]:
    request_id = message.get("id")
    known = request_id if isinstance(request_id, str | int) else None
    return {"jsonrpc": "2.0", "id": known, "error": {"code": code, "message": text}}


def _unknown(session_id: str) -> str:
    which = f"the session {session_id[:100]!r}" if session_id else "the session"
    return f"{which} is not known: it has ended, or nobody has used it for long (--mcp-idle-timeout); send initialize to begin another"


async def _send(send: Send, status: int, value: dict[str, Any] | None, *headers: tuple[bytes, bytes]) -> None:
    body = b"" if value is None else orjson.dumps(value)
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
