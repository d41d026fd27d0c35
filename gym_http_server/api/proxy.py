"""What proxies tell of the clients in front of them, believed of those that the operator trusts and of nobody else."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..errors import AccessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .edge import App, Receive, Scope, Send


class TrustedProxies:
    """An ASGI app behind proxies: the client, scheme and host of another one's requests are those that they tell.

    Headers: `X-Forwarded-For`, `X-Forwarded-Proto`, and `X-Forwarded-Host` of the proxy that connects here.

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
        told = [value for name, value in scope["headers"] if name == b"x-forwarded-host"]
        if told:
            # What the nearest proxy has added to a list.
            host = told[-1].rsplit(b",", 1)[-1].strip()
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [*headers, (b"host", host)]}
        await self._believing(scope, receive, send)  # type: ignore[arg-type]  # as above
