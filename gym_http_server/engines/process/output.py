"""Standard output and error of a process: logged within a budget; the last lines are kept.

Third-party code may write there without end. The event loop reads one block at a time, splits only as many lines as may be
logged, counts the rest, and pauses. A full pipe blocks the process that fills it and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from typing import ClassVar, Final

logger = logging.getLogger("gym_http_server.environment")

OWN_LINE: Final = "gym-http-server: "
"""Prefix of lines that this package writes in an environment's process: logged, but not among the last lines."""

MAX_KEPT_LINES: Final = 20
MAX_KEPT_BYTES: Final = 1 << 14
READ_SIZE: Final = 1 << 16
MAX_LINE_BYTES: Final = 4096
MAX_LINES_PER_SECOND: Final = 200
MAX_BYTES_PER_SECOND: Final = 1 << 16
MAX_TOTAL_LINES_PER_SECOND: Final = 1000
"""Maximum lines of all processes together."""
PAUSE_SECONDS: Final = 0.0005
"""Pause after a block over the budget, times the number of processes over theirs."""
MAX_DRAIN_BYTES: Final = 1 << 20
"""Maximum bytes to read after the end of a process: more than a pipe holds, but another process may still write to it."""

BANNERS: Final = re.compile(
    r"error: XDG_RUNTIME_DIR (is invalid or )?not set in the environment"
    r"|A\.L\.E: Arcade Learning Environment \(version "
    r"|\[Powered by Stella\]$"
    r"|pygame(-ce)? \d\S* \(SDL \d"
    r"|Hello from the pygame community\. "
    r"|Gym has been unmaintained since 2022 "
    r"|Please upgrade to Gymnasium, the maintained drop-in replacement of Gym"
    r"|Users of this version of Gym should be able to simply replace 'import gym'"
    r"|See the migration guide at https://gymnasium\.farama\.org/introduction/migration_guide/"
)
"""What libraries print when they are loaded: not logged."""

_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class Budget:
    """An amount that is refilled over each second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = self._left = per_second
        self._at = time.monotonic()

    @property
    def left(self) -> float:
        """The amount that is left now."""
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left

    def take(self, amount: float) -> None:
        """Take some of it."""
        self._left -= amount


class Output:
    """The server's end of the output pipe of a process.

    Args:
        instance_id: the instance that the lines are logged with; None for the fork server.
        pipe: descriptor of the server's end; None to make a pipe.

    Attributes:
        theirs: the process's end of a pipe made here, for the caller to close.

    Raises:
        OSError: the system has no descriptor left.
    """

    _all_lines: ClassVar = Budget(MAX_TOTAL_LINES_PER_SECOND)
    _paused: ClassVar[set[Output]] = set()

    def __init__(self, instance_id: str | None, pipe: int | None = None) -> None:
        self._instance_id = instance_id
        # The pipe
        self._loop = asyncio.get_running_loop()
        self._pipe, self.theirs = os.pipe() if pipe is None else (pipe, -1)
        os.set_blocking(self._pipe, False)
        self._partial = self._last = b""
        # What may be logged, and what was not
        self._lines = Budget(MAX_LINES_PER_SECOND)
        self._bytes = Budget(MAX_BYTES_PER_SECOND)
        self._dropped_lines = self._dropped_bytes = 0
        # Timers
        self._resuming: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None

    @property
    def lines(self) -> list[str]:
        """The last lines, logged or not, without empty ones and those of this package."""
        lines = map(_text, self._last.split(b"\n"))
        return [text for text in lines if text and not text.startswith(OWN_LINE)][-MAX_KEPT_LINES:]

    def start(self) -> None:
        """Start to read."""
        self._loop.add_reader(self._pipe, self._read)

    def drain(self) -> None:
        """Read everything that has been written."""
        for _ in range(MAX_DRAIN_BYTES // READ_SIZE):
            if not self._read():
                break

    def finish(self) -> None:
        """Read everything that has been written and close: another process may hold the pipe open."""
        self.drain()
        self.close()

    def close(self) -> None:
        """Stop to read, and log the unfinished line."""
        if self._pipe < 0:
            return
        if self._resuming is None:
            self._loop.remove_reader(self._pipe)
        else:
            self._resuming.cancel()
            self._paused.discard(self)
        os.close(self._pipe)
        self._pipe = -1
        self._log(self._partial)
        if self._telling is not None:
            self._telling.cancel()
            self._tell_dropped()

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
        if not data:
            self.close()
            return False
        self._last = (self._last + data)[-MAX_KEPT_BYTES:]
        count = max(int(min(self._lines.left, self._all_lines.left)), 0)
        *lines, rest = (self._partial + data).split(b"\n", count)
        for index, line in enumerate(lines):
            if self._bytes.left < 1.0:
                rest = b"\n".join((*lines[index:], rest))
                break
            self._lines.take(1.0)
            self._all_lines.take(1.0)
            self._bytes.take(min(len(line), MAX_LINE_BYTES))
            self._log(line)
        end = rest.rfind(b"\n") + 1
        self._partial = rest[end:][-MAX_LINE_BYTES:]
        if end:
            self._drop(rest[:end])
        if end or len(data) == READ_SIZE:
            self._pause()
        return True

    def _drop(self, data: bytes) -> None:
        self._dropped_lines += data.count(b"\n")
        self._dropped_bytes += len(data)
        if self._telling is None:
            self._telling = self._loop.call_later(1.0, self._tell_dropped)

    def _pause(self) -> None:
        if self._resuming is None:
            self._loop.remove_reader(self._pipe)
            self._paused.add(self)
            self._resuming = self._loop.call_later(PAUSE_SECONDS * len(self._paused), self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._paused.discard(self)
        self._loop.add_reader(self._pipe, self._read)

    def _tell_dropped(self) -> None:
        self._telling = None
        if self._all_lines.left < 1.0 and self._pipe >= 0:
            self._telling = self._loop.call_later(1.0, self._tell_dropped)
            return
        self._all_lines.take(1.0)
        lines, size = self._dropped_lines, self._dropped_bytes
        self._dropped_lines = self._dropped_bytes = 0
        limits = f"at most {MAX_LINES_PER_SECOND} lines and {MAX_BYTES_PER_SECOND} bytes a second are"
        self._write(f"{lines} lines more, {size} bytes, are not logged: {limits}")

    def _log(self, line: bytes) -> None:
        if (text := _text(line)) and not BANNERS.match(text):
            self._write(text)

    def _write(self, text: str) -> None:
        name = self._instance_id or "fork server"
        logger.info("%s: %s", name, text, extra={"instance_id": self._instance_id})


def _text(line: bytes) -> str:
    """Return a line as a terminal would show it, with other control characters written out."""
    text = _STYLE.sub("", line[-MAX_LINE_BYTES:].decode("utf-8", "replace")).rstrip()
    return text.rpartition("\r")[2].translate(_CONTROL)
