"""`AtRoot`: the paths of OpenEnv at the server's root, for `--openenv /=ENV_ID`.

Two paths are the server's own, too. `/openapi.json` stays the whole contract, which OpenEnv's validator accepts. `/mcp` is MCP for
requests that accept an event stream, as its clients must say, and OpenEnv's dialect for all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...api.asgi import link_of
from ...api.content.headers import combined

if TYPE_CHECKING:
    from ...api.asgi import App, Receive, Scope, Send

PATHS: Final = frozenset(("/health", "/metadata", "/schema", "/state", "/reset", "/step", "/ws"))
MCP: Final = "/mcp"


class AtRoot:
    """ASGI middleware that serves the environment named `/` below `/openenv//`, where the operations find it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope["path"].removesuffix("/")
        if path in PATHS or (path == MCP and _is_of_openenv(scope)):
            path = f"/openenv//{path}"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def _is_of_openenv(scope: Scope) -> bool:
    if link_of(scope).upgrade is not None:
        return True
    accept = combined(scope["headers"], b"accept") or ""
    return scope["method"] == "POST" and "text/event-stream" not in accept
