"""What a process of the engine writes to its standard output and error: logged, and its last lines kept."""

from __future__ import annotations

import asyncio
import collections
import logging
import os
from typing import Final

logger = logging.getLogger("gym_http_server.environment")

LINES: Final = 20
"""How many lines are kept."""
READ_SIZE: Final = 1 << 16
LONGEST: Final = 4096
"""How many bytes of a line are kept."""


class Output:
    """The server's end of the pipe.

    Args:
        instance_id: the instance that the lines are logged under; None for the fork server's, which is of none.
        pipe: the server's end, which does not block, where there is a pipe already; None to make one.

    Attributes:
        lines: the last lines that were not empty.
        theirs: the process's end of a pipe made here, for the caller to close.

    Raises:
        OSError: the system gives no pipe.
    """

    def __init__(self, instance_id: str | None, pipe: int | None = None) -> None:
        self._instance_id = instance_id
        self._loop = asyncio.get_running_loop()
        self.lines: collections.deque[str] = collections.deque(maxlen=LINES)
        self._partial = b""
        self._pipe, self.theirs = os.pipe() if pipe is None else (pipe, -1)
        os.set_blocking(self._pipe, False)

    def start(self) -> None:
        """Begin to read."""
        # One read a turn, so that an environment that never stops printing does not stop the server.
        self._loop.add_reader(self._pipe, self._read)

    def drain(self) -> None:
        """Read all that there is."""
        while self._read():
            pass

    def finish(self) -> None:
        """Read all that there is, an unfinished line included, and no more: another process may hold the pipe open."""
        self.drain()
        self.close()
        self._log(self._partial)

    def close(self) -> None:
        """Read no more."""
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        if self._pipe < 0:
            return False
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            *lines, self._partial = (self._partial + data).split(b"\n")
            self._partial = self._partial[-LONGEST:]
        else:
            self.close()
            lines, self._partial = [self._partial], b""
        for line in lines:
            self._log(line)
        return bool(data)

    def _log(self, line: bytes) -> None:
        text = line[-LONGEST:].decode("utf-8", "replace").rstrip()
        if text:
            self.lines.append(text)
            name = self._instance_id or "fork server"
            logger.info("%s: %s", name, text, extra={"instance_id": self._instance_id})
