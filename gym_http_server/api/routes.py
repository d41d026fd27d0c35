"""Routes by path: the operations, the OpenAPI document, MCP, WebSockets, and the pages for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from .asgi import link_of
from .guard.proxy import root_path
from .guard.security import is_api, is_mcp
from .normalizer import send_problem
from .problems import HttpProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..config import Settings
    from ..contract import Contract
    from .asgi import App, Receive, Scope, Send

WEBSOCKET: Final = re.compile(r"/openenv/.+/ws/?")
"""Matches paths at which there is nothing but a WebSocket."""


def websocket_paths(settings: Settings) -> re.Pattern[bytes] | None:
    """Return a pattern of path and query of requests that may become WebSockets; None for none."""
    if not settings.serves_openenv:
        return None
    at_root = b"?" if settings.has_openenv_root else b""
    return re.compile(rb"(/openenv/[^?]+)%b/(ws|mcp)/?(\?.*)?" % at_root)


def _is_websocket(scope: Scope) -> bool:
    return link_of(scope).upgrade is not None or WEBSOCKET.fullmatch(scope["path"]) is not None


class PageApp(Protocol):
    """An ASGI app of pages, which can also show a problem as one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

    @property
    def refuse(self) -> Callable[[HttpProblem, Scope, Send], Awaitable[None]]:
        """Answers a request with a problem, as a page if the client prefers HTML."""


class Routes:
    """An ASGI app that passes each request on by its path. `compress` wraps the apps of the document and of the pages."""

    def __init__(
        self,
        api: App,
        mcp: App,
        pages: PageApp,
        contract: Contract,
        compress: Callable[[App], App],
        websockets: App | None = None,
    ) -> None:
        self._api = api
        self._websockets = websockets
        self._mcp = mcp
        self._refuse_page = pages.refuse
        self._contract = contract
        self._pages = compress(pages)
        self._documents = compress(self._send_document)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"]
        # Not in connexion's router, where the pages would answer unknown operations with HTML.
        if self._websockets is not None and path.startswith("/openenv/") and _is_websocket(scope):
            app = self._websockets
        elif is_mcp(path):
            app = self._mcp
        elif is_api(path):
            app = self._api
        elif path in ("/openapi.yaml", "/openapi.json"):
            app = self._documents
        else:
            app = self._pages
        await app(scope, receive, send)

    async def refuse(self, problem: HttpProblem, scope: Scope, send: Send) -> None:
        """Answer a request with a problem, as a page or as problem details by its path."""
        if is_api(scope["path"]):
            await send_problem(problem_of(problem), send)
        else:
            await self._refuse_page(problem, scope, send)

    async def _send_document(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        path, method = scope["path"], scope["method"]
        if method not in ("GET", "HEAD"):
            detail = f"{method} is not served at {path!r}: it takes GET, HEAD"
            problem = HttpProblem(405, "method-not-allowed", detail, headers={"allow": "GET, HEAD"})
            await self.refuse(problem, scope, send)
            return
        is_yaml = path.endswith(".yaml")
        body = self._contract.yaml_at(root_path(scope)) if is_yaml else self._contract.json_at(root_path(scope))
        media_type = b"application/yaml" if is_yaml else b"application/json"
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
