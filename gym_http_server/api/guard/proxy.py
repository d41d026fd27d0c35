"""Forwarding headers (`X-Forwarded-*`), accepted from trusted proxies only."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ...errors import AccessError
from ..content.headers import combined, repetition
from ..normalizer import send_problem
from ..problems import HttpProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..asgi import App, Receive, Scope, Send


ROOT_PATH: Final = "gym_http_server.root_path"
"""Key in the scope: the path under which a proxy serves this server, without a final slash."""

ROUTER_URL: Final = b"router-url"
"""The header in which a router tells a shard the base URL that its client used."""

_SINGLE: Final = (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix", b"host")
"""Headers that may appear once. They are read before the guard; `X-Forwarded-Host` replaces `Host`."""
_PREFIX: Final = re.compile(r"(/(?!\.\.?(/|$))[\w.~-]+)*/?", re.ASCII)
_URL: Final = re.compile(rb"(https?)://([\w.:\[\]-]+)((?:/[\w.~-]+)*)")


def root_path(scope: Scope) -> str:
    """Return the path under which a proxy serves this server, the prefix of every link; empty for the root."""
    path: str = scope.get(ROOT_PATH, "")
    return path


class TrustedProxies:
    """ASGI middleware that takes client, scheme, host and root path from the headers of trusted proxies.

    Headers: `X-Forwarded-For`, a list to which each proxy adds, in any number of lines; and once each `X-Forwarded-Proto`,
    `X-Forwarded-Host` and `X-Forwarded-Prefix`, the last two as set by the nearest proxy.

    Args:
        app: the wrapped app.
        proxies: addresses and networks of proxies, such as `10.0.0.0/8`.

    Raises:
        AccessError: an item of `proxies` is neither an address nor a network.
    """

    def __init__(self, app: App, proxies: Sequence[str]) -> None:
        for each in proxies:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise AccessError(f"--trusted-proxy {each} is no address and no network: {error}") from None
        self._app = app
        self._believing = ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))  # type: ignore[arg-type]  # uvicorn has its own types for ASGI messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        client = scope.get("client")
        if client is None or client[0] not in self._believing.trusted_hosts:
            await self._app(scope, receive, send)
            return
        repeated = repetition(scope["headers"], _SINGLE)
        if repeated is not None:
            await send_problem(problem_of(repeated), send)
            return
        host = _nearest(scope, b"x-forwarded-host")
        if host is not None:
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [*headers, (b"host", host.encode("latin-1"))]}
        prefix = _nearest(scope, b"x-forwarded-prefix") or ""
        if not _PREFIX.fullmatch(prefix):
            detail = f"the proxy's X-Forwarded-Prefix is {ascii(prefix)[:200]} and must be a path, such as /gym"
            await send_problem(problem_of(HttpProblem(400, "bad-request", detail)), send)
            return
        scope = {**scope, ROOT_PATH: prefix.rstrip("/")}
        await self._believing(scope, receive, send)  # type: ignore[arg-type]  # as above


class RouterUrl:
    """ASGI middleware of a shard: takes scheme, host and root path from its router, whose key a request has shown before.

    Args:
        app: the wrapped app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        url = next((value for name, value in scope["headers"] if name == ROUTER_URL), b"")
        if match := _URL.fullmatch(url):
            scheme, host, prefix = match.groups()
            headers = [header for header in scope["headers"] if header[0] not in (b"host", ROUTER_URL)]
            headers.append((b"host", host))
            scope = {**scope, "scheme": scheme.decode(), "headers": headers, ROOT_PATH: prefix.decode()}
        await self._app(scope, receive, send)


def base_url(scope: Scope) -> bytes:
    """Return the URL of this server that the client used, without a final slash."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return b"%b://%b%b" % (scope["scheme"].encode(), host, root_path(scope).encode())


def with_router_url(scope: Scope) -> Scope:
    """Return a scope whose headers tell a shard the URL of this router, for the links and commands in its replies."""
    headers = [header for header in scope["headers"] if header[0] != ROUTER_URL]
    return {**scope, "headers": [*headers, (ROUTER_URL, base_url(scope))]}


def _nearest(scope: Scope, header: bytes) -> str | None:
    """Return the last item of a header, which the nearest proxy set; None if it is absent."""
    values = combined(scope["headers"], header)
    return None if values is None else values.rsplit(",", 1)[-1].strip()
