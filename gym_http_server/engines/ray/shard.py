"""`RayShard`: the actor of a shard, whose process runs an ordinary server in a thread.

Measured with Ray 2.60 and Python 3.11 on Linux: a shard takes 2.5 s of processor time to start, of which its fork server takes 0.6,
and 100 MB of memory for the actor with its server and 17 MB for the fork server (proportional sizes). The router's driver takes
84 MB and 1.8 s, the directory 73 MB and 1.3 s. A worker of Ray that does nothing takes 74 MB and a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any, Final

import ray

SERVER: Final = "gym_http_server.server"
"""The module whose `run` serves: an engine knows no HTTP, so it is imported by name."""

CONNECT_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.5
"""Time between two attempts to connect to Ray's head."""
MAX_REFUSALS: Final = 3
"""Attempts in a row that are refused, after which the cluster counts as ended."""
READ_BYTES: Final = 4096
CLOSE_SECONDS: Final = 2.0
"""Maximum time for the server to end when the cluster has."""
HEARD_SECONDS: Final = 2.0
"""Maximum time for the directory to hear why a shard ended; it kills the actor then."""


class RayShard:
    """The actor of a shard.

    Args:
        prefix: its prefix.
        options: settings of its server, without prefix, key and address.
        key: the cluster's key.
        directory: working directory of the router, which the shard takes where the node has it, too.
        is_durable: whether the cluster outlives its head.
    """

    def __init__(self, prefix: str, options: dict[str, Any], key: str, directory: str, *, is_durable: bool) -> None:
        # What it is told
        # JSON has no tuples.
        own = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        self._options = {**own, "shard": prefix, "api_key": key}
        self._key = key
        self._router_directory = directory
        # Its server
        self._thread: threading.Thread | None = None
        self._server: Any = None
        self._url: Future[str] = Future()
        self._end: Future[str] = Future()
        # Its cluster
        self._is_durable = is_durable
        self._has_head = True

    async def start(self) -> dict[str, Any]:
        """Start the server; return what the directory keeps of the shard, or an `error`. Idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="gym-http-server", daemon=True)
            with contextlib.suppress(OSError):
                os.chdir(self._router_directory)
            if self._router_directory not in sys.path:
                sys.path.append(self._router_directory)
            self._options |= {"listen": ray.util.get_node_ip_address(), "port": 0}
            self._thread.start()
            if not self._is_durable:
                self._watching = asyncio.ensure_future(self._watch(ray.get_runtime_context().gcs_address))
        try:
            url = await asyncio.wrap_future(self._url)
        except Exception as error:  # noqa: BLE001 -- whatever ends a start
            return {"error": str(error) or type(error).__name__}
        return self.about() | {"url": url}

    def about(self) -> dict[str, Any]:
        """Return what a directory that was started anew needs to know of the shard."""
        return {
            "prefix": self._options["shard"],
            "url": self._url.result() if self._url.done() else "",
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "key": self._key,
            "room": self._options["max_envs"],
        }

    async def ended(self) -> str:
        """Wait for the end of the server and return why it ended."""
        return await asyncio.shield(asyncio.wrap_future(self._end))

    async def ping(self) -> int:
        """Return the number of places that are taken: a session of an agent without an instance may make one, and only here."""
        return 0 if self._server is None else self._server.config.app.load().taken

    async def stop(self) -> None:
        """Close the instances, end the server and wait for it."""
        if self._server is not None:
            self._server.stopped_by = "the end of the shard"
            self._server.should_exit = True
            with contextlib.suppress(Exception):
                await self.ended()

    def _serve(self) -> None:
        try:
            module = importlib.import_module(SERVER)
            module.run(module.Settings(**self._options), self._url.set_result, self._know)
            self._end.set_result("its server was stopped")
        except BaseException as error:  # noqa: BLE001 -- the actor ends with its server, however that ends
            if not self._url.done():
                self._url.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            self._end.set_result(f"its server ended: {error}")
        if self._has_head:
            # The directory kills the actor once it has heard why, which ends this wait.
            time.sleep(HEARD_SECONDS)
        # Nothing of the shard is left, whoever is there to end it.
        os._exit(0)

    def _know(self, server: Any) -> None:
        self._server = server

    async def _watch(self, head: str) -> None:
        """End the server at once when Ray's head has ended, without which nothing would end its processes for a minute.

        An open connection to the head tells of its end. A machine that is lost or cut off closes none: then Ray decides.
        """
        host, _, port = head.rpartition(":")
        refusals = 0
        while refusals < MAX_REFUSALS:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            except ConnectionRefusedError:
                refusals += 1
            except OSError:
                refusals = 0
            else:
                refusals = 0
                with contextlib.closing(writer), contextlib.suppress(OSError):
                    while await reader.read(READ_BYTES):
                        pass
            await asyncio.sleep(RETRY_SECONDS)
        self._has_head = False
        if self._server is None:
            os._exit(1)
        self._server.stopped_by = "the end of Ray's head"
        self._server.force_exit = self._server.should_exit = True
        await asyncio.sleep(CLOSE_SECONDS)
        os._exit(1)
