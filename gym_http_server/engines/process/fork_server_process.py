"""Starts the process of the fork server, which loads the environment library while the server loads itself.

This module is imported first, so it imports little.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

from ...runtime.registry.variables import variables_for_environments

if TYPE_CHECKING:
    from ...config import Settings

STOP_SECONDS = 5.0
"""Maximum time for the fork server to end its processes and itself."""
WORKER_MODULE = "gym_http_server.runtime.child"
"""The module of environments' processes that only answer the server."""

_started: weakref.WeakSet[ForkServerProcess] = weakref.WeakSet()


def kill_fork_servers() -> None:
    """Kill every fork server that this process has started."""
    for process in list(_started):
        process.kill()


class ForkServerProcess:
    """The process of a fork server, which has begun to load the module of an `Entry` and those of the settings.

    Attributes:
        control: the socket to it.
        output: the end of its output pipe to read from; -1 once another object closes it.

    Raises:
        OSError: the system has no process or descriptor left.
    """

    def __init__(self, module: str, settings: Settings) -> None:
        with contextlib.ExitStack() as on_error:
            self.control, theirs = socket.socketpair()
            on_error.callback(self.control.close)
            with theirs:
                self.output, pipe = os.pipe()
                on_error.callback(os.close, self.output)
                try:
                    self._process = _popen(theirs.fileno(), pipe, module, settings)
                finally:
                    os.close(pipe)
            on_error.pop_all()
        _started.add(self)
        os.set_blocking(self.output, False)
        self.control.setblocking(False)

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> bool:
        """Send a message with descriptors; return whether that worked."""
        data = json.dumps(message).encode() + b"\n"
        try:
            # A few bytes into a buffer of hundreds of kilobytes: if it is full, the fork server was stopped.
            return socket.send_fds(self.control, [data], descriptors or []) == len(data)
        except OSError:
            return False

    def wait(self) -> int:
        """Wait for its end after its socket was closed, kill it after `STOP_SECONDS`, and return its exit status."""
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            status = self._process.poll()
            return -signal.SIGKILL if status is None else status

    def kill(self) -> None:
        """Kill it at once: it may be loading a module that hangs."""
        self._kill()
        self.control.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # A process that waits for a hanging file system survives the kill until that answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)


def _popen(control: int, output: int, module: str, settings: Settings) -> subprocess.Popen[bytes]:
    environment = variables_for_environments(settings.pass_variable)
    # One thread each: environments share the processors, and forking a process with threads is not safe.
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    environment.setdefault("OMP_NUM_THREADS", "1")
    load = json.dumps({"module": module, "imports": settings.sources})
    return subprocess.Popen(  # noqa: S603 -- our own module
        [sys.executable, "-P", "-m", "gym_http_server.engines.process.zygote", str(control), load],
        env=environment,
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
