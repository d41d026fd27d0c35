"""The app under uvicorn in a thread of the tests' process, where they can look at it and replace parts of it."""

from __future__ import annotations

import tempfile
import threading
from typing import Any, Self

import uvicorn

from gym_http_server.app import Application
from gym_http_server.config import Settings
from gym_http_server.http1.configuration import Configuration
from gym_http_server.http1.listening import listen
from gym_http_server.http1.protocol import HttpProtocol

SECONDS = 60


class LiveApp:
    """An `Application` with the inline engine on a free port, and a recorder in place of the shutdown.

    Args:
        options: further arguments of `Application`.
    """

    def __init__(self, **options: Any) -> None:
        self.shutdowns: list[bool] = []
        # The limits keep what is generated from taking minutes.
        # What is generated names directories, too.
        self._results = tempfile.TemporaryDirectory()
        settings = Settings(
            engine="inline",
            imports=("tests.support.troublemakers",),
            max_envs=1_000_000,
            max_lanes=4,
            max_reply=1 << 16,
            results_root=(self._results.name,),
        )
        self.app = Application(settings, shut_down=lambda: self.shutdowns.append(True), **options)
        [self._socket] = listen("127.0.0.1", 0)
        self.address = self._socket.getsockname()
        self.url = "http://{}:{}".format(*self.address)
        self._started = threading.Event()
        self._server = uvicorn.Server(Configuration(self.app, settings, HttpProtocol, lifespan="on"))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(SECONDS)
        self._results.cleanup()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        startup = self._server.startup

        async def startup_and_say_so(**kwargs: Any) -> None:
            await startup(**kwargs)
            self._started.set()

        self._server.startup = startup_and_say_so  # type: ignore[method-assign]
        self._server.run([self._socket])
