"""Outermost middleware: rejects unauthorised requests and adds CORS headers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from ..asgi import with_link
from ..content.headers import has_header
from ..refusals import client_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..asgi import App, Message, Receive, Scope, Send
    from ..problems import HttpProblem
    from .guesses import Guesses
    from .security import Guard

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
LOGIN: Final = ("POST", "/login")
"""The request of the login form, which has the key."""

REQUEST_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Instance-Hold",
    "Last-Event-Id",
    "Mcp-Method",  # with the next two what pages with an MCP client send, of versions old and new
    "Mcp-Name",
    "Mcp-Protocol-Version",
    "Mcp-Session-Id",
    "X-Request-Id",
)
RESPONSE_HEADERS: Final = ("Mcp-Session-Id", "Retry-After", "Warning", "WWW-Authenticate", "X-Request-Id")


class Gate:
    """ASGI middleware that refuses requests and adds CORS headers (https://fetch.spec.whatwg.org/) for allowed origins.

    Args:
        app: the wrapped app.
        guard: decides which requests are refused.
        refuse: answers a request with a problem.
        on_refused: called with the status and body size in bytes of each refusal.
        guesses: notes each wrong key, in a header or in the login form.
    """

    def __init__(
        self,
        app: App,
        guard: Guard,
        refuse: Callable[[HttpProblem, Scope, Send], Awaitable[None]],
        on_refused: Callable[[int, int], None],
        guesses: Guesses,
    ) -> None:
        self._app = app
        self._guard = guard
        self._refuse = refuse
        self._on_refused = on_refused
        self._guesses = guesses
        origins = guard.access.origins
        self._cors = (
            CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=METHODS,
                allow_headers=REQUEST_HEADERS,
                expose_headers=RESPONSE_HEADERS,
                allow_private_network=True,
            )
            if origins
            else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        problem = self._guard.refusal(scope)
        if problem is not None:
            if problem.status == 401 and has_header(scope, b"authorization"):
                await self._slow_down(scope)
            sent = 0

            async def counting(message: Message) -> None:
                nonlocal sent
                sent += len(message.get("body", b""))
                await send(message)

            await self._refuse(problem, scope, counting)
            self._on_refused(problem.status, 0 if scope["method"] == "HEAD" else sent)
            return
        if (scope["method"], scope["path"]) == LOGIN:
            send = self._slowing(scope, send)
        if self._cors is None or not has_header(scope, b"origin"):
            await self._app(scope, receive, send)
            return
        await self._cors(with_link(scope, reply=None), receive, send)

    async def _slow_down(self, scope: Scope) -> None:
        """Delay the answer to a wrong key."""
        await asyncio.sleep(self._guesses.note(client_of(scope)))

    def _slowing(self, scope: Scope, send: Send) -> Send:
        """Return a `send` for the login form that delays the answer to a wrong key."""

        async def slowing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                await self._slow_down(scope)
            await send(message)

        return slowing
