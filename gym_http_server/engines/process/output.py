"""What a process of the engine writes to its standard output and error: logged within a budget, and its last lines kept.

Third-party code writes there, and may do so for ever. The event loop reads one piece at a time, splits no more of it into lines
than may be logged, counts the rest, and then pauses: a full pipe holds up the process that fills it, and nobody else.
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
"""How a line begins that our own code writes in an environment's process; it is logged and is no last word of the environment."""

LINES: Final = 20
"""How many lines are kept for whoever asks what was written last."""
KEPT_BYTES: Final = 1 << 14
READ_SIZE: Final = 1 << 16
MAX_LINE_BYTES: Final = 4096
LINES_A_SECOND: Final = 200
BYTES_A_SECOND: Final = 1 << 16
ALL_LINES_A_SECOND: Final = 1000
"""What is logged of all processes together, whatever each may have logged."""
PAUSE_SECONDS: Final = 0.0005
"""How long after a piece over the budget the next is read, times the number of processes that write so much."""
MAX_DRAIN_BYTES: Final = 1 << 20
"""What is read of a process that has ended: more than its pipe holds, where another process may still write to it."""

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
"""What libraries say whenever they are loaded; it is not logged."""

_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class Budget:
    """So much a second, and at most that at once.

    Args:
        a_second: how much.
    """

    def __init__(self, a_second: float) -> None:
        self._a_second = self._left = a_second
        self._at = time.monotonic()

    @property
    def left(self) -> float:
        """What there is at this moment."""
        now = time.monotonic()
        self._left = min(self._a_second, self._left + (now - self._at) * self._a_second)
        self._at = now
        return self._left

    def take(self, amount: float) -> None:
        """Take so much of it."""
        self._left -= amount


class Output:
    """The server's end of the pipe.

    Args:
        instance_id: the instance that the lines are logged under; None for the fork server's, which is of none.
        pipe: the server's end, which does not block, where there is a pipe already; None to make one.

    Attributes:
        theirs: the process's end of a pipe made here, for the caller to close.

    Raises:
        OSError: the system gives no pipe.
    """

    _all_lines: ClassVar = Budget(ALL_LINES_A_SECOND)
    _paused: ClassVar[set[Output]] = set()

    def __init__(self, instance_id: str | None, pipe: int | None = None) -> None:
        self._instance_id = instance_id
        self._loop = asyncio.get_running_loop()
        self._lines = Budget(LINES_A_SECOND)
        self._bytes = Budget(BYTES_A_SECOND)
        self._partial = self._last = b""
        self._dropped_lines = self._dropped_bytes = 0
        self._resuming: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._pipe, self.theirs = os.pipe() if pipe is None else (pipe, -1)
        os.set_blocking(self._pipe, False)

    @property
    def lines(self) -> list[str]:
        """The last lines that were not empty, logged or not, without those of our own code."""
        lines = map(_text, self._last.split(b"\n"))
        return [text for text in lines if text and not text.startswith(OWN_LINE)][-LINES:]

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._pipe, self._read)

    def drain(self) -> None:
        """Read what there is."""
        for _ in range(MAX_DRAIN_BYTES // READ_SIZE):
            if not self._read():
                break

    def finish(self) -> None:
        """Read what there is, an unfinished line included, and no more: another process may hold the pipe open."""
        self.drain()
        self.close()

    def close(self) -> None:
        """Read no more."""
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
        self._last = (self._last + data)[-KEPT_BYTES:]
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
        limits = f"at most {LINES_A_SECOND} lines and {BYTES_A_SECOND} bytes a second are"
        self._write(f"{lines} lines more, {size} bytes, are not logged: {limits}")

    def _log(self, line: bytes) -> None:
        if (text := _text(line)) and not BANNERS.match(text):
            self._write(text)

    def _write(self, text: str) -> None:
        name = self._instance_id or "fork server"
        logger.info("%s: %s", name, text, extra={"instance_id": self._instance_id})


def _text(line: bytes) -> str:
    """Return a line as a terminal would end up showing it, with what else would steer a terminal written out."""
    text = _STYLE.sub("", line[-MAX_LINE_BYTES:].decode("utf-8", "replace")).rstrip()
    return text.rpartition("\r")[2].translate(_CONTROL)
