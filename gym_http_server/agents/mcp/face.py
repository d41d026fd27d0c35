"""`/mcp`: the ASGI app of MCP, which loads the SDK on first use."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
from typing import TYPE_CHECKING, Any

from ...api.content.value_count import json_exceeds
from ...api.normalizer import ClientDisconnected, check_coding, read_body, send_problem
from ...api.problems import HttpProblem, problem_of
from ...runtime.making.dependencies import missing

if TYPE_CHECKING:
    from ...api.asgi import Receive, Scope, Send
    from ...config import Settings
    from ..operations import InProcessOperations
    from .streamable_http import StreamableHttp


class McpFace:
    """An ASGI app that serves MCP over Streamable HTTP.

    Args:
        settings: the server's settings.
        operations: executes operations.
    """

    def __init__(self, settings: Settings, operations: InProcessOperations) -> None:
        self._settings = settings
        self._operations = operations
        self._loading = asyncio.Lock()
        self._served: StreamableHttp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await self._body(scope, receive)
            served = self._served or await self._load()
            await served.serve(scope, body, receive, send)
        except ClientDisconnected:
            return
        except HttpProblem as error:
            await send_problem(problem_of(error), send)

    @property
    def empty(self) -> int:
        """Number of live sessions without an instance."""
        return 0 if self._served is None else self._served.empty

    async def stop(self) -> None:
        """End all sessions; their instances are left to the server."""
        if self._served is not None:
            await self._served.stop()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        check_on(self._settings)
        check_coding(scope)
        body = await read_body(scope, receive, self._settings.max_body)
        limit = self._settings.max_values
        if json_exceeds(body, limit):
            detail = f"the message holds more than {limit} values: send fewer, or start the server with a larger --max-values"
            raise HttpProblem(413, "too-many-values", detail, limit=limit, setting="max_values")
        return body

    async def _load(self) -> StreamableHttp:
        async with self._loading:
            if self._served is None:
                # In a thread: it takes a second, in which others are served.
                module: Any = await asyncio.to_thread(_imported)
                self._served = module.StreamableHttp(self._settings, self._operations)
            return self._served


def check_on(settings: Settings) -> None:
    """Raise HttpProblem where MCP is not served."""
    if not is_on(settings):
        raise HttpProblem(
            404, "not-found", "MCP is not served here: start the server with --mcp, which also needs a key unless it "
            "listens on loopback or has --no-auth"
        )  # fmt: skip


def is_on(settings: Settings) -> bool:
    """Return whether MCP is served: by default where the server listens on loopback or requires a key."""
    if settings.mcp is not None:
        return settings.mcp
    return bool(settings.api_key) or settings.auth or _is_loopback(settings.listen)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return name == "localhost"


def _imported() -> Any:
    try:
        return importlib.import_module(".streamable_http", __package__)
    except ImportError as error:
        raise HttpProblem(501, "missing-dependency", missing("MCP", error).detail) from None
