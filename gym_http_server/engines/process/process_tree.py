"""Finds and kills the processes below a process. Without Linux's /proc no children are found."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTANCE_VARIABLE: Final = "GYM_INSTANCE_ID"
"""The environment variable with the id of a process's instance, which its children inherit."""


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        # A child belongs to the thread that started it.
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children += map(int, (thread / "children").read_bytes().split())
    return children


def tree_of(pid: int) -> list[int]:
    """Return a process and all processes below it, itself first."""
    tree = [pid]
    for process in tree:
        tree += children_of(process)
    return tree


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces of an environment in the processes that it started, by which orphans of it are recognised.

    Attributes:
        session: its session, which is its process's id.
        output: inode of its output pipe.
        instance_id: value of `INSTANCE_VARIABLE`.
    """

    session: int
    output: int
    instance_id: str

    def are_on(self, pid: int) -> bool:
        """Return whether a process is in the session, has the pipe open or was started with the variable.

        A process that was forked without an exec, leads its own session and writes elsewhere is not recognised.
        """
        with contextlib.suppress(OSError):
            if os.getsid(pid) == self.session:
                return True
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"{INSTANCE_VARIABLE}={self.instance_id}".encode() in variables:
                return True
        with contextlib.suppress(OSError):
            return any(file.stat().st_ino == self.output for file in Path(f"/proc/{pid}/fd").iterdir())
        return False


def kill_tree(pid: int) -> None:
    """Kill an environment's process, its group, and its descendants in other groups."""
    tree = tree_of(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
