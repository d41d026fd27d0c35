"""The fork server's process: started first, so that it loads the environment library while the server loads itself.

It imports little, for the same reason.
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
"""How long the fork server may take to end all that it forked, and itself."""
WORKER_MODULE = "gym_http_server.runtime.child"
"""What an environment's process runs to answer the server's calls."""


_started: weakref.WeakSet[ForkServerProcess] = weakref.WeakSet()


def kill_fork_servers() -> None:
    """Kill every fork server that this process has started."""
    for each in list(_started):
        each.kill()


class ForkServerProcess:
    """A fork server's process, which has been told what to load.

    Args:
        module: what the processes will run; see `fork_server.Entry`.
        settings: the server's settings.

    Attributes:
        module: as above.
        control: the socket to it.
        output: the pipe that it writes to, for reading; -1 where somebody else closes it.

    Raises:
        OSError: the system gives no process or descriptor.
    """

    def __init__(self, module: str, settings: Settings) -> None:
        self.module = module
        with contextlib.ExitStack() as on_error:
            self.control, theirs = socket.socketpair()
            on_error.callback(self.control.close)
            with theirs:
                self.output, pipe = os.pipe()
                on_error.callback(os.close, self.output)
                try:
                    self._process = _popen(theirs.fileno(), pipe, settings)
                finally:
                    os.close(pipe)
            on_error.pop_all()
        _started.add(self)
        os.set_blocking(self.output, False)
        self.control.setblocking(False)
        self.send({"load": {"module": module, "imports": list(settings.imports)}})

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> bool:
        """Send a message, with descriptors where it takes some; return whether that could be done."""
        data = json.dumps(message).encode() + b"\n"
        try:
            # A handful of bytes in a socket buffer of hundreds of kilobytes: where that is full, the fork server has stopped.
            return socket.send_fds(self.control, [data], descriptors or []) == len(data)
        except OSError:
            return False

    def wait(self) -> int:
        """Wait for its end, which closing the socket brings about; end it where that takes too long. Return its exit status."""
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            status = self._process.poll()
            return -signal.SIGKILL if status is None else status

    def kill(self) -> None:
        """End it at once, where it has not ended: it may be loading a module that never comes to an end."""
        self._kill()
        self.control.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # Not even a kill ends what waits for a file system that hangs, until that answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)


def _popen(control: int, output: int, settings: Settings) -> subprocess.Popen[bytes]:
    environment = variables_for_environments(settings.pass_variable)
    # One thread each: many environments share the processors, and a process with threads is not safely forked.
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    environment.setdefault("OMP_NUM_THREADS", "1")
    return subprocess.Popen(  # noqa: S603 -- our own module
        [sys.executable, "-P", "-m", "gym_http_server.engines.process.zygote", str(control)],
        env=environment,
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
