"""uvicorn's configuration from the settings, with additions that uvicorn has no option for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import uvicorn

from .. import __version__

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from ..api.asgi import App, Scope
    from ..config import Settings

Refuse: TypeAlias = "Callable[[int, int, Scope | None], None]"
"""Callback for a refused request: status, body size of the reply in bytes, and scope with the received part of the head; the scope is
None if the app has the request, whose state then has `access_log.REFUSED`."""


class Configuration(uvicorn.Config):
    """uvicorn's configuration with additional attributes.

    Args:
        app: the app.
        settings: the server's settings.
        http: factory of a connection's protocol.
        on_refused: called for each request that the protocol answers itself, or None.
        lifespan: whether uvicorn starts and stops the app, `on` or `off`.
        websockets: matches path and query of a request that may become a WebSocket; None for none.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        http: Any,
        on_refused: Refuse | None = None,
        lifespan: Any = "off",
        websockets: re.Pattern[bytes] | None = None,
    ) -> None:
        super().__init__(
            app,
            http=http,
            ws="none",
            lifespan=lifespan,
            log_config=None,
            access_log=False,  # `api/telemetry/access_log.py` writes it
            server_header=False,
            headers=[("server", f"gym-http-server/{__version__}")],
            timeout_keep_alive=settings.keep_alive,
            timeout_graceful_shutdown=settings.shutdown_timeout,
            proxy_headers=False,
            ssl_certfile=settings.tls_cert or None,
            ssl_keyfile=settings.tls_key or None,
        )
        self.on_refused = on_refused
        self.websockets = websockets
        self.max_body = settings.max_body
        self.compression = settings.compression
        self.header_timeout = settings.header_timeout
        self.body_timeout = settings.body_timeout
