"""What proxies tell of the clients in front of them, believed of those that the operator trusts and of nobody else."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ...errors import AccessError
from ..headers import combined, repetition
from ..normalizer import send_problem
from ..problems import HttpProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..normalizer import App, Receive, Scope, Send


ROOT_PATH: Final = "gym_http_server.root_path"
"""In a request's scope: the path under which a proxy serves this server, without a final slash."""

_SINGLE: Final = (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix", b"host")
"""Read here, ahead of the guard, once each; `Host` as well, which the proxy's takes the place of."""
_PREFIX: Final = re.compile(r"(/(?!\.\.?(/|$))[\w.~-]+)*/?", re.ASCII)


def root_path(scope: Scope) -> str:
    """Return what every link to this server begins with: the path under which a proxy serves it; empty for the root."""
    path: str = scope.get(ROOT_PATH, "")
    return path


class TrustedProxies:
    """An ASGI app behind proxies: the client, scheme and host of another one's requests are those that they tell.

    Headers: `X-Forwarded-For`, a list that each proxy adds to, in as many lines as it likes; and once each
    `X-Forwarded-Proto`, and `X-Forwarded-Host` and `X-Forwarded-Prefix` of the proxy that connects here.

    Args:
        app: the other one.
        proxies: addresses and networks of proxies, such as `10.0.0.0/8`.

    Raises:
        AccessError: one of them is neither.
    """

    def __init__(self, app: App, proxies: Sequence[str]) -> None:
        for each in proxies:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise AccessError(f"--trusted-proxy {each} is no address and no network: {error}") from None
        self._app = app
        self._believing = ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))  # type: ignore[arg-type]  # uvicorn names the same messages by its own types

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


def _nearest(scope: Scope, header: bytes) -> str | None:
    """Return what the nearest proxy has set a header to, or added to its list; None where it is not there."""
    values = combined(scope["headers"], header)
    return None if values is None else values.rsplit(",", 1)[-1].strip()
