"""The server: an address, an application, and uvicorn between them, until somebody has it stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import signal
import socket
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

import uvicorn

from . import logs
from .api.keys import Key, key_for
from .app import Application
from .config import Settings
from .errors import AccessError, AddressError, StartError
from .handover.gateway import Gateway, can_hand_over, owner_entry
from .protocol import HttpProtocol
from .uvicorn_config import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

logger = logging.getLogger(__name__)

BACKLOG = 2048


class HttpServer(uvicorn.Server):
    """uvicorn's server, which keeps a signal that stopped it for itself: a graceful stop exits with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, at once on the second, where signals can be had: in the main thread."""
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
        self.force_exit = self.should_exit
        self.should_exit = True


def start_server(*, on_start: Callable[[str], None] | None = None, **options: Any) -> None:
    """Serve until shutdown: by `POST /v1/shutdown/`, SIGINT or SIGTERM (the last two in the main thread only).

    It blocks. It can run in any thread, and again after it returned.

    Args:
        on_start: called with the URL once the server listens.
        **options: the settings, such as `listen="127.0.0.1"` and `port=5000`; see `Settings`.

    Where a key is required and none is given, it makes one and prints it to stdout.

    Raises:
        AccessError: the key or the certificate cannot be used.
        AddressError: the address cannot be resolved or listened on.
        StartError: the engine cannot be started.
        TypeError, ValueError: an option is unknown or has a value that is not allowed.
    """
    settings = Settings(**options)
    logs.configure(settings)
    _allow_descriptors()
    _check_certificate(settings)
    sockets = listen(settings.listen, settings.port)
    try:
        key = key_for(settings, [each.getsockname()[0] for each in sockets])
        settings = dataclasses.replace(settings, api_key=key.text)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, sockets, functools.partial(_started, key, on_start)))
    finally:
        for each in sockets:
            each.close()


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address that `host` resolves to, all on the same port.

    Raises:
        AddressError: it cannot be resolved, or one of the addresses cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise AddressError(f"cannot resolve the address {host!r}: {why}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            each = socket.socket(family, kind, protocol)
            sockets.append(each)
            if sys.platform != "win32":
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
            each.listen(BACKLOG)
            each.setblocking(False)
    except OSError as error:
        for each in sockets:
            each.close()
        raise AddressError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --listen or --port"
        ) from None
    return sockets


def _check_certificate(settings: Settings) -> None:
    """Raise AccessError where the certificate cannot be used; uvicorn would do so with a traceback, or ask for a password."""
    if not settings.tls_cert:
        if settings.tls_key:
            raise AccessError("--tls-key is given without --tls-cert: name the certificate as well")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None, password="")
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (settings.tls_cert, settings.tls_key)))
        why = error.strerror or str(error)
        raise AccessError(
            f"cannot use the certificate and key in {files}: {why}; give PEM files, the key without a password"
        ) from None


def _started(key: Key, on_start: Callable[[str], None] | None, url: str) -> None:
    if key.warning:
        logger.warning("%s", key.warning)
    if key.is_made:
        # To whoever started it, and not to a log, which others read.
        sys.stdout.write(f"API key, made for this run and shown this once: {key.text}\n")
        sys.stdout.flush()
    if on_start is not None:
        on_start(url)


async def _serve(settings: Settings, sockets: list[socket.socket], on_start: Callable[[str], None]) -> None:
    server: HttpServer | None = None

    def shut_down() -> None:
        if server is not None:
            server.should_exit = True

    if can_hand_over(settings):
        application = Application(settings, shut_down=shut_down, entry=owner_entry(settings))
        protocol: Any = Gateway(application.operations, application.instances).protocol
    else:
        application = Application(settings, shut_down=shut_down)
        protocol = HttpProtocol

    server = HttpServer(configuration(application, settings, protocol, application.on_refused))
    # Here and not in the lifespan, whose failure uvicorn would log as a traceback.
    await application.start()
    try:
        url = f"{'https' if settings.tls_cert else 'http'}://{_authority(sockets[0])}"
        if application.engine.caveat:
            logger.warning("the %s engine: %s", application.engine.name, application.engine.caveat)
        asyncio.get_running_loop().call_soon(_once_started, server, on_start, url)
        await server.serve(sockets)
    finally:
        await application.stop(at_once=server.force_exit)
    if not server.started:
        raise StartError("the HTTP server did not start: its log tells why")


def _once_started(server: HttpServer, on_start: Callable[[str], None], url: str) -> None:
    if server.started:
        on_start(url)
    elif not server.should_exit:
        asyncio.get_running_loop().call_later(0.005, _once_started, server, on_start, url)


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _allow_descriptors() -> None:
    """Raise the limit of open descriptors as far as the system lets us: each environment takes two, each client one."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit than it tells
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
