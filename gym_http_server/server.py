"""`start_server`: binds the port first, then loads everything that answers requests.

    server.py          options, sockets bound and listening     click and the settings only        0.1 s of CPU
      ├─ fork server     loads the environment libraries        on another processor             ┐
      └─ serving.py      loads the application and uvicorn      without numpy and gymnasium      ┘ 0.8 s of CPU

This module imports little. Clients that connect meanwhile wait in the sockets' backlog and are answered. A failure or a signal
meanwhile ends the fork server and the waiting connections.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Final

from .config import Settings
from .errors import AccessError, StartError
from .handover.policy import HOST_MODULE, can_hand_over
from .http1.listening import listen
from .support.garbage import Survivors, collecting_no_garbage
from .support.surroundings import open_standard_descriptors, say

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn

    from .api.guard.keys import Key
    from .engines.process.fork_server_process import ForkServerProcess
    from .router.shards import Shards


MIN_DESCRIPTORS: Final = 64
"""Minimum limit of open descriptors: enough for a few clients and environments."""


def start_server(*, on_start: Callable[[str], None] | None = None, **options: Any) -> None:
    """Serve until shutdown: by `POST /v1/shutdown/`, SIGINT or SIGTERM (the last two in the main thread only).

    It blocks, in any thread, and can be called again after it returned. If an event loop runs in the caller's thread, as in a
    notebook, it serves in a new thread and still blocks: interrupt the cell to stop it.

    Args:
        on_start: called with the URL once requests are answered.
        **options: the settings, such as `listen="127.0.0.1"` and `port=5000`; see `Settings`.

    While it serves, existing objects are exempt from garbage collection (`gc.freeze`); cycles among them are collected after it
    returned.

    The port listens at once; earlier requests are answered when the server is ready. If a key is required and none is given,
    it generates one and prints it to stdout.

    Raises:
        AccessError: the key or the certificate cannot be used.
        AddressError: the address cannot be resolved or listened on.
        StartError: the engine cannot be started.
        TypeError, ValueError: an option is unknown or has a value that is not allowed.
    """
    settings = Settings(**options)
    open_standard_descriptors()
    if _is_in_a_loop():
        _run_in_a_thread(settings, on_start)
    else:
        run(settings, on_start, lambda _: None)


def _is_in_a_loop() -> bool:
    """Return whether an event loop runs in this thread, as it does in a notebook's cells."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_a_thread(settings: Settings, on_start: Callable[[str], None] | None) -> None:
    """Serve in a new thread and wait for its end; an interrupt stops the server."""
    from concurrent.futures import ThreadPoolExecutor

    is_interrupted = False
    servers: list[uvicorn.Server] = []

    def know(server: uvicorn.Server) -> None:
        servers.append(server)
        server.should_exit = is_interrupted

    with ThreadPoolExecutor(1, thread_name_prefix="gym-http-server") as threads:
        running = threads.submit(run, settings, on_start, know)
        try:
            running.result()
        except KeyboardInterrupt:
            is_interrupted = True
            for each in servers:
                each.should_exit = True
            running.result()


def run(
    settings: Settings, on_start: Callable[[str], None] | None, on_server: Callable[[uvicorn.Server], None]
) -> None:
    """Serve in this thread, in which no event loop runs.

    Args:
        settings: the settings.
        on_start: called with the URL once requests are answered.
        on_server: called with the server before it serves; set its `should_exit` to stop it.
    """
    is_started = False
    survivors = Survivors()

    def started(url: str) -> None:
        nonlocal is_started
        is_started = True
        # Scanning the objects of the start for garbage would block every client for 40 ms.
        survivors.exempt()
        _tell_key(key)
        if on_start is not None:
            on_start(url)

    _check_certificate(settings)
    _allow_descriptors()
    sockets = listen(settings.listen, settings.port)
    fork_server: ForkServerProcess | None = None
    try:
        from .api.guard.keys import key_for

        key = key_for(settings, [each.getsockname()[0] for each in sockets])
        settings = dataclasses.replace(settings, api_key=key.text)
        shards = shards_of(settings)
        if settings.engine == "process" and shards is None:
            fork_server = _start_fork_server(settings)
        with collecting_no_garbage():
            from .serving import serve
        serve(settings, sockets, fork_server, on_server, started, shards)
    except OSError as error:
        if is_started:
            raise
        raise StartError(f"the server cannot start: {error}") from error
    finally:
        for each in sockets:
            each.close()
        if fork_server is not None:
            fork_server.kill()
        survivors.release()


def shards_of(settings: Settings) -> Shards | None:
    """Return the shards that a router places instances on; None for a server with instances of its own."""
    if settings.engine != "ray":
        return None
    from .engines.ray.shards import RayShards

    return RayShards(settings)


def _start_fork_server(settings: Settings) -> ForkServerProcess:
    """Start the fork server's process, which loads the environment library on another processor."""
    from .engines.process.fork_server_process import WORKER_MODULE, ForkServerProcess

    try:
        return ForkServerProcess(HOST_MODULE if can_hand_over(settings) else WORKER_MODULE, settings)
    except OSError as error:
        raise StartError(f"cannot start the fork server: {error}; or choose --engine inline") from error


def _check_certificate(settings: Settings) -> None:
    """Raise AccessError if the certificate cannot be used; uvicorn would print a traceback or ask for a password."""
    if not settings.tls_cert:
        if settings.tls_key:
            raise AccessError("--tls-key is given without --tls-cert: name the certificate as well")
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None, password="")
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (settings.tls_cert, settings.tls_key)))
        why = error.strerror or str(error)
        raise AccessError(
            f"cannot use the certificate and key in {files}: {why}; give PEM files, the key without a password"
        ) from None


def _tell_key(key: Key) -> None:
    import logging

    logger = logging.getLogger(__name__)
    if key.warning:
        logger.warning("%s", key.warning)
    # On stdout, not in the log, which others may read.
    if key.is_made and not say(f"API key, made for this run and shown this once: {key.text}", sys.stdout):
        logger.warning("the API key that was made cannot be written to stdout: give one with --api-key-file")


def _allow_descriptors() -> None:
    """Raise the limit of open descriptors to its maximum: each environment takes two, each client one."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit than it reports
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                soft = hard
        if 0 <= soft < MIN_DESCRIPTORS:
            raise StartError(
                f"the limit of open descriptors is {soft}, and a server needs {MIN_DESCRIPTORS} at least: raise it (ulimit -n)"
            )
