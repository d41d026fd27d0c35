"""`DriverProcess`: the router's side of the driver's process."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ...config import ENVIRONMENT_PREFIX
from ...support.surroundings import PACKAGE_PARENT

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

DRIVER: Final = "gym_http_server.engines.ray.driver"
MAX_LINE_BYTES: Final = 1 << 24
SILENT_SECONDS: Final = 5.0
"""Time without a line of the driver after which the cluster counts as unreachable; it writes one each second."""
HUNG_SECONDS: Final = 120.0
"""Time without a line after which the driver is killed; it joins or starts a cluster in that time."""


class DriverProcess:
    """The process that is connected to Ray.

    Args:
        plan: what it is told first; see `plan_of`.
        take: called with each message of it.

    Attributes:
        is_leaving: whether it was told to leave.
    """

    def __init__(self, plan: dict[str, Any], take: Callable[[dict[str, Any]], None]) -> None:
        self._plan = plan
        self._take = take
        self._process: asyncio.subprocess.Process | None = None
        self._heard = 0.0
        self._is_connected = False
        self.is_leaving = False
        self._words: collections.deque[str] = collections.deque(maxlen=20)

    async def run(self) -> str:
        """Run the process until it ends; return why it did."""
        # Not the router's key, which whatever runs in a local Ray would inherit.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        environment["PYTHONPATH"] = os.pathsep.join([PACKAGE_PARENT, *filter(None, sys.path)])
        # Ray's warnings are not the user's to mend.
        environment.pop("PYTHONWARNINGS", None)
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", DRIVER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
            limit=MAX_LINE_BYTES,
        )
        self._heard, self._is_connected = time.monotonic(), False
        self.send(self._plan)
        beside = [asyncio.ensure_future(self._read_words(process)), asyncio.ensure_future(self._watch(process))]
        failure = ""
        try:
            while process.stdout is not None and (line := await process.stdout.readline()):
                self._heard = time.monotonic()
                message = json.loads(line)
                failure = message.get("failed", failure)
                if "failed" not in message:
                    self._is_connected = True
                    self._take(message)
            status = await process.wait()
        finally:
            for each in beside:
                each.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            # Of a local Ray whose driver was killed, agents would be left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        last = f": {self._words[-1]}" if self._words else ""
        return failure or f"the process that is connected to Ray has ended with status {status}{last}"

    def send(self, message: dict[str, Any]) -> None:
        """Send a command, if the process runs."""
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(message).encode() + b"\n")

    async def leave(self, seconds: float, *, ends: bool) -> None:
        """Have the process leave the cluster and wait for its end.

        Args:
            seconds: time after which the process is killed.
            ends: whether shards end if no other router is left.
        """
        self.is_leaving, process = True, self._process
        if process is None or process.returncode is not None:
            return
        self.send({"leave": ends})
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            logger.warning("the process that is connected to Ray does not end: it is killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _read_words(self, process: asyncio.subprocess.Process) -> None:
        """Read what Ray prints: its last words are a reason if it ends."""
        while process.stderr is not None and (line := await process.stderr.readline()):
            if words := line.decode(errors="replace").strip():
                self._words.append(words)
                logger.debug("Ray: %s", words)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Tell of a problem while the process is silent, because Ray blocks it or the machine is too busy."""
        while True:
            await asyncio.sleep(1.0)
            silence = time.monotonic() - self._heard
            if silence > SILENT_SECONDS and self._is_connected and not self.is_leaving:
                self._take({"problem": f"the process that is connected to Ray has not answered for {silence:.0f} s"})
            if silence > HUNG_SECONDS:
                process.kill()
