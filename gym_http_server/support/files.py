"""Opening of untrusted files: only regular ones, because a FIFO would block for ever; texts of file errors."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def reason(error: BaseException) -> str:
    """Return the text of an error, of an `OSError` without its number and path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    try:
        # Not `stat` of the path, which may be replaced before it is opened.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))  # noqa: TRY301 -- closed below
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return file.read()


def read_within(path: Path, seconds: float) -> bytes:
    """Return the bytes of a file, or of a pipe that is written and closed within `seconds`.

    Raises:
        OSError: it cannot be read.
        TimeoutError: nobody has written and closed the pipe in time.
    """
    with contextlib.suppress(OSError):
        return read_regular(path)
    end = time.monotonic() + seconds
    data = b""
    descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while (remaining := end - time.monotonic()) > 0 and poll.poll(1000 * remaining):
            part = os.read(descriptor, 1 << 16)
            if part:
                data += part
            elif data or not is_pipe:
                return data
            else:
                time.sleep(0.01)  # there is no writer yet
    finally:
        os.close(descriptor)
    raise TimeoutError(errno.ETIMEDOUT, f"nobody has written it within {seconds:g} s")
