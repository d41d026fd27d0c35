"""The serving part: uvicorn between application and sockets. Slow to import, so loaded after the port is bound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from . import __version__, logs
from .api.refusals import REFUSALS, client_of
from .api.request import CURRENT
from .app import Application
from .errors import StartError
from .handover.gateway import Gateway, host_entry
from .handover.policy import can_hand_over
from .http1.configuration import Configuration
from .http1.protocol import HttpProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

    from .config import Settings
    from .engines.process.fork_server_process import ForkServerProcess
    from .router.application import RouterApplication
    from .router.shards import Shards

logger = logging.getLogger(__name__)

MIN_SECONDS_TO_CLOSE: Final = 5.0
"""Minimum time for closing environments, even if requests used up the whole time of a stop."""


class HttpServer(uvicorn.Server):
    """uvicorn's server, without raising the signal again that stopped it: a graceful stop exits with status 0."""

    stopped_by = "the program that started it"
    """What stopped the server, for the log."""

    _stopping_since: float | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, those with a request after its reply or the time limit."""
        # Not in the signal handler, which may interrupt a logging call.
        logger.info("stopping: by %s", self.stopped_by, extra={"stopped_by": self.stopped_by})
        self._stopping_since = time.monotonic()
        await super().shutdown(sockets)

    @property
    def seconds_to_close(self) -> float:
        """Time limit for closing environments: the rest of `--shutdown-timeout`, but at least `MIN_SECONDS_TO_CLOSE`."""
        whole = float(self.config.timeout_graceful_shutdown or MIN_SECONDS_TO_CLOSE)
        since = 0.0 if self._stopping_since is None else time.monotonic() - self._stopping_since
        return max(MIN_SECONDS_TO_CLOSE, whole - since)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In the main thread, stop gracefully on SIGINT or SIGTERM and at once on the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        captured = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in captured}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- the signature of a handler
        """Stop gracefully on the first signal, and at once on the next."""
        if not self.should_exit:
            self.stopped_by = signal.Signals(sig).name
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    settings: Settings,
    sockets: list[socket.socket],
    fork_server: ForkServerProcess | None,
    on_server: Callable[[uvicorn.Server], None],
    on_start: Callable[[str], None],
    shards: Shards | None = None,
) -> None:
    """Serve on listening sockets until the server is stopped.

    Args:
        settings: the server's settings, with the required key.
        sockets: the listening sockets.
        fork_server: its process, which is loading; None for an engine without one.
        on_server: called with the server before it serves; set its `should_exit` to stop it.
        on_start: called with the URL once requests are answered.
        shards: the shards that a router places instances on; None for a server with instances of its own.
    """
    logs.configure(settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, sockets, fork_server, on_server, on_start, shards))


async def _serve(
    settings: Settings,
    sockets: list[socket.socket],
    fork_server: ForkServerProcess | None,
    on_server: Callable[[uvicorn.Server], None],
    on_start: Callable[[str], None],
    shards: Shards | None,
) -> None:
    server: HttpServer | None = None

    def shut_down() -> None:
        if server is not None:
            request = CURRENT.get()
            client = client_of(None if request is None else request.scope)
            server.stopped_by = f"a request of {client or 'an unknown client'}"
            server.should_exit = True

    application: Application | RouterApplication
    if shards is not None:
        from .router import application as router

        application = router.RouterApplication(settings, shards, shut_down=shut_down, is_direct=settings.direct)
        protocol: Any = application.protocol
    elif can_hand_over(settings):
        entry = host_entry(settings)
        application = Application(settings, shut_down=shut_down, entry=entry, fork_server=fork_server)
        protocol = Gateway(application.operations, application.instances).protocol
    else:
        application = Application(settings, shut_down=shut_down, fork_server=fork_server)
        protocol = HttpProtocol

    paths = application.websocket_paths
    server = HttpServer(Configuration(application, settings, protocol, application.on_refused, websockets=paths))
    on_server(server)
    # Not in the lifespan, whose failure uvicorn would log as a traceback.
    await application.start()
    try:
        url = f"{'https' if settings.tls_cert else 'http'}://{_authority(sockets[0])}"
        if application.caveat:
            logger.warning("the %s engine: %s", settings.engine, application.caveat)
        asyncio.get_running_loop().call_soon(_once_started, server, on_start, url, settings)
        await server.serve(sockets)
    finally:
        live = application.live
        await application.stop(at_once=server.force_exit, seconds=server.seconds_to_close)
        REFUSALS.flush()
        if server.started:
            how = "ended" if server.force_exit else "closed"
            logger.info(
                "stopped: %d %s %s", live, "instance" if live == 1 else "instances", how, extra={"instances": live}
            )
    if not server.started:
        raise StartError("the HTTP server did not start: its log tells why")


def _once_started(server: HttpServer, on_start: Callable[[str], None], url: str, settings: Settings) -> None:
    if server.started:
        on_start(url)
        access = "a key is required" if settings.api_key else "no key is required"
        text = "started: version %s at %s, %s engine, %s"
        logger.info(text, __version__, url, settings.engine, access, extra={"url": url, "engine": settings.engine})
    elif not server.should_exit:
        asyncio.get_running_loop().call_later(0.005, _once_started, server, on_start, url, settings)


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
