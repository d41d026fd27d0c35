"""Standard input and output as the two ends of a protocol; whatever else this process prints goes to stderr."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final, Self

from ..support.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES: Final = 65536


class InputLines:
    """The lines of a descriptor, as text.

    A daemon thread reads them, because no end of the process waits for another line.

    Args:
        descriptor: open for reading.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = DaemonThreads(1, "input")
        self._received = bytearray()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await asyncio.wrap_future(self._threads.submit(self._read_line))
        if not line:
            raise StopAsyncIteration
        return line.decode(errors="replace")

    def _read_line(self) -> bytes:
        seen = 0
        while (end := self._received.find(b"\n", seen)) < 0:
            seen = len(self._received)
            part = os.read(self._descriptor, _READ_BYTES)
            if not part:
                end = len(self._received)
                break
            self._received += part
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line


class OutputText:
    """A descriptor that text is written to, by a daemon thread: a client that reads nothing holds nobody else.

    Args:
        descriptor: open for writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = DaemonThreads(1, "output")

    async def write(self, text: str) -> None:
        """Write a text.

        Raises:
            OSError: nobody reads it any more.
        """
        await asyncio.wrap_future(self._threads.submit(self._write, text.encode()))

    async def flush(self) -> None:
        """Nothing is kept back."""

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]


@contextlib.contextmanager
def standard_streams() -> Iterator[tuple[InputLines, OutputText]]:
    """Yield what standard input and output are, which no child inherits; meanwhile input is empty and output is stderr."""
    sys.stdout.flush()
    kept = [os.dup(descriptor) for descriptor in (0, 1)]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        yield InputLines(kept[0]), OutputText(kept[1])
    finally:
        # The copies stay open: a thread may still be using them.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        for descriptor, copy in enumerate(kept):
            os.dup2(copy, descriptor)
