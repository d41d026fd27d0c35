"""The processes below a process, and their end. What the platform does not tell (outside Linux's /proc) is left out."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "GYM_INSTANCE_ID"
"""Which instance a process belongs to, as an environment variable: it stays with what a process starts, and their own."""


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


@dataclass(frozen=True, slots=True)
class Traces:
    """What a process has of the environment whose code started it, by which it is known when its parent has ended.

    Attributes:
        session: the environment's process, which leads a session.
        output: the inode of the pipe that the environment writes to.
        instance_id: the value of `VARIABLE` among the environment's variables.
    """

    session: int
    output: int
    instance_id: str

    def are_on(self, pid: int) -> bool:
        """Return whether a process is in the session, has the pipe open or was started with the variable (Linux, /proc).

        One that is in a session of its own, writes elsewhere and was started without a program is not recognised.
        """
        with contextlib.suppress(OSError):
            if os.getsid(pid) == self.session:
                return True
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"{VARIABLE}={self.instance_id}".encode() in variables:
                return True
        with contextlib.suppress(OSError):
            return any(each.stat().st_ino == self.output for each in Path(f"/proc/{pid}/fd").iterdir())
        return False


def kill_tree(pid: int) -> None:
    """End an environment's process, its group, and those of its descendants that left the group."""
    found = tree_of(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for each in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)
