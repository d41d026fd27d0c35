"""Partial files of recordings: locked while the recording is live, removed if a killed process left them.

Their names are `openaigym.partial.….<infix>.…`, where `<infix>` is `<number>.<pid>`. A live recording holds a lock (flock) on
`openaigym.partial.lock.<infix>`, which ends with the process. The pid alone proves nothing, because pids are reused.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "openaigym.partial."
LOCK: Final = PREFIX + "lock."
INFIX: Final = re.compile(r"\.(\d+\.(\d+))(?:\.|$)")


class Lock:
    """The lock of a live recording.

    Args:
        directory: the directory of the recording.
        infix: the infix of its files.
    """

    def __init__(self, directory: Path, infix: str) -> None:
        self._path = directory / f"{LOCK}{infix}"
        self._descriptor: int | None = None
        # On a file system without locks the pid decides.
        with contextlib.suppress(OSError):
            self._descriptor = _locked(self._path, os.O_CREAT)

    def release(self) -> None:
        """Release the lock and remove its file. Does nothing the second time."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def remove_left(directory: Path) -> None:
    """Remove the partial files of ended recordings; errors are ignored."""
    parts: dict[tuple[str, int], list[Path]] = {}
    for path in directory.iterdir():
        if path.name.startswith(PREFIX) and (match := INFIX.search(path.name)):
            parts.setdefault((match[1], int(match[2])), []).append(path)
    for (infix, pid), paths in parts.items():
        if _is_over(directory / f"{LOCK}{infix}", pid):
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _is_over(lock: Path, pid: int) -> bool:
    try:
        descriptor = _locked(lock, 0)
    except FileNotFoundError:
        descriptor = None  # earlier versions of this server had no lock
    except OSError:
        return False  # another process has the lock
    if descriptor is not None:
        os.close(descriptor)
        return True
    return not _is_alive(pid)


def _locked(path: Path, flags: int) -> int | None:
    """Open and lock a file; return its descriptor, or None on a system without flock."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would end the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
