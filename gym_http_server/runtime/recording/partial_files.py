"""Partial files of recordings: those of a live recording are locked, those that a kill left are removed.

They are named `openaigym.partial.….<infix>.…`, where `<infix>` is `<number>.<pid>`. A live recording holds a lock (flock) on
`openaigym.partial.lock.<infix>`: the system gives it back however the process ends, and another process may have the pid by then.
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
    """The lock of one live recording.

    Args:
        directory: where it records.
        infix: of its files.
    """

    def __init__(self, directory: Path, infix: str) -> None:
        self._path = directory / f"{LOCK}{infix}"
        self._descriptor: int | None = None
        # A file system without locks: the pid tells.
        with contextlib.suppress(OSError):
            self._descriptor = _locked(self._path, os.O_CREAT)

    def release(self) -> None:
        """Give it back, and remove its file. Does nothing the second time."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def remove_left(directory: Path) -> None:
    """Remove the partial files of recordings that are over; what cannot be removed stays."""
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
        descriptor = None  # an earlier version of this server made no lock
    except OSError:
        return False  # another process has the lock
    if descriptor is not None:
        os.close(descriptor)
        return True
    return not _is_alive(pid)


def _locked(path: Path, flags: int) -> int | None:
    """Open a file and lock it; return its descriptor, or None where the system has no such locks."""
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
        return True  # there it cannot be asked without ending the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
