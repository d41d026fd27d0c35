"""OpenEnv's dialect of MCP: one JSON-RPC 2.0 request, one answer, with sessions of its own and without a handshake.

Not the protocol of `/mcp`: clients of OpenEnv send no `initialize`, no `Mcp-Session-Id` and no `Accept`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...api.problems import HttpProblem
from ...errors import GymHttpServerError, TooManyInstancesError
from .tools import call_tool, tools_of

if TYPE_CHECKING:
    from .environments import OpenenvEnvironments
    from .players import OpenenvPlayers

MALFORMED: Final = -32700
INVALID_REQUEST: Final = -32600
UNKNOWN_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
FAILED: Final = -32603
NO_ROOM: Final = -32000


class RpcError(Exception):
    """An error of JSON-RPC, with its `code`, message and `data`."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Dialect:
    """Answers requests of JSON-RPC.

    Args:
        environments: what is made for each name.
        players: the live environments of sessions.
    """

    def __init__(self, environments: OpenenvEnvironments, players: OpenenvPlayers) -> None:
        self._environments = environments
        self._players = players
        self._methods = {
            "openenv/session/create": self._create,
            "openenv/session/close": self._close,
            "tools/list": self._list,
            "tools/call": self._call,
        }

    async def answer(self, name: str, request: Any, client: str | None) -> dict[str, Any]:
        """Return the answer to a request.

        Args:
            name: the name of the environment.
            request: the request; the problem of one that is not JSON.
            client: the address of the client.
        """
        told = {"jsonrpc": "2.0", "id": request.get("id") if isinstance(request, dict) else None}
        try:
            if isinstance(request, HttpProblem):
                raise RpcError(MALFORMED, f"Parse error: {request.detail}")  # noqa: TRY301 -- answered below
            if not isinstance(request, dict):
                raise RpcError(INVALID_REQUEST, "Invalid request: expected one object")  # noqa: TRY301
            return {**told, "result": await self._result(name, request, client)}
        except RpcError as error:
            code, words, data = error.code, str(error), error.data
        except TooManyInstancesError as error:
            code, words, data = NO_ROOM, error.detail, self._players.capacity()
        except (GymHttpServerError, HttpProblem) as error:
            code, words, data = FAILED, error.detail, None
        return {**told, "error": {"code": code, "message": words, "data": data}}

    async def _result(self, name: str, request: dict[str, Any], client: str | None) -> dict[str, Any]:
        method, params = request.get("method"), request.get("params") or {}
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
            raise RpcError(INVALID_REQUEST, 'Invalid request: expected {"jsonrpc": "2.0", "method": …, "params": {…}}')
        if method not in self._methods:
            raise RpcError(UNKNOWN_METHOD, f"Method not found: {method}")
        return await self._methods[method](name, params, client)

    async def _create(self, name: str, params: dict[str, Any], client: str | None) -> dict[str, Any]:  # noqa: ARG002 -- as the other methods
        player = await self._players.open(name, client)
        return {"session_id": player.session.session_id}

    async def _close(self, name: str, params: dict[str, Any], client: str | None) -> dict[str, Any]:  # noqa: ARG002 -- as the other methods
        session_id = params.get("session_id")
        if not isinstance(session_id, str):
            raise RpcError(INVALID_PARAMS, "Invalid params - 'session_id' is required")
        player = self._players.find(name, session_id)
        if player is None:
            raise RpcError(INVALID_PARAMS, f"Unknown session_id: {session_id}")
        if self._players.close(player):
            return {"session_id": session_id, "closed": True}
        return {"session_id": session_id, "closed": False, "closing": True}

    async def _list(self, name: str, params: dict[str, Any], client: str | None) -> dict[str, Any]:
        session_id = params.get("session_id")
        if session_id is None:
            return {"tools": tools_of(await self._environments.facts(name, client))}
        player = self._players.find(name, session_id)
        if player is None:
            raise RpcError(INVALID_PARAMS, f"Unknown session_id: {session_id}")
        return {"tools": tools_of(player.facts)}

    async def _call(self, name: str, params: dict[str, Any], client: str | None) -> dict[str, Any]:
        tool, arguments, session_id = params.get("name"), params.get("arguments") or {}, params.get("session_id")
        if not isinstance(tool, str) or not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "Missing 'name' in params")
        if session_id is None:
            async with self._players.temporary(name, client) as player:
                return await call_tool(player, tool, arguments)
        found = self._players.find(name, session_id)
        if found is None:
            raise RpcError(INVALID_PARAMS, f"Unknown session_id: {session_id}")
        return await call_tool(found, tool, arguments)
