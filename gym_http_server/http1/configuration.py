"""What uvicorn is configured with, by the settings, and what it has no option for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import uvicorn

from .. import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api.normalizer import App, Scope
    from ..config import Settings

Refuse: TypeAlias = "Callable[[int, int, Scope | None], None]"
"""Who is told of a request that is refused: the status, the length of the reply's body in bytes, and what has come of its
head; None where the app has the request, whose state then tells (`access_log.REFUSED`)."""


class Configuration(uvicorn.Config):
    """uvicorn's configuration, and what it does not have.

    Args:
        app: the app.
        settings: the server's settings.
        on_refused: told of each request that the protocol answers itself; None for nobody.
        **options: uvicorn's own.

    Attributes:
        on_refused: as above.
        header_timeout, body_timeout: how long the head and the body of a request may take to arrive, in seconds.
    """

    def __init__(self, app: App, settings: Settings, on_refused: Refuse | None = None, **options: Any) -> None:
        super().__init__(app, **options)
        self.on_refused = on_refused
        self.header_timeout = settings.header_timeout
        self.body_timeout = settings.body_timeout


def configuration(app: App, settings: Settings, http: Any, on_refused: Refuse | None = None) -> Configuration:
    """Return what uvicorn is to serve with.

    Args:
        app: the app.
        settings: the server's settings.
        http: makes the protocol of a connection.
        on_refused: told of each request that the protocol answers itself; None for nobody.
    """
    return Configuration(
        app,
        settings,
        on_refused,
        http=http,
        ws="none",
        lifespan="off",
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
