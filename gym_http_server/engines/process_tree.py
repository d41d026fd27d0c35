"""The processes below a process, and their end. What the platform does not tell (outside Linux's /proc) is left out."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the processes that the threads of `pid` started, where the platform tells (Linux, /proc)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        # A child belongs to the thread that started it.
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_bytes().split())
    return found


def tree_of(pid: int) -> list[int]:
    """Return a process and all below it, itself first."""
    found = [pid]
    for each in found:
        found += children_of(each)
    return found


def holds(pid: int, inode: int) -> bool:
    """Return whether a process has the pipe of that inode open (Linux, /proc)."""
    with contextlib.suppress(OSError):
        return any(each.stat().st_ino == inode for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def kill_tree(pid: int) -> None:
    """End an environment's process, its group, and those of its descendants that left the group."""
    found = tree_of(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for each in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)
