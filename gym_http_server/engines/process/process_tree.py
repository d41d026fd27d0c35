"""Finds and kills the processes below a process. Without Linux's /proc no children are found."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PF_EXITING: Final = 0x4
"""The flag of a process that ends (`include/linux/sched.h`)."""

INSTANCE_VARIABLE: Final = "GYM_INSTANCE_ID"
"""The environment variable with the id of a process's instance, which its children inherit."""


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        # A child belongs to the thread that started it.
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 -- called for each environment; a path takes longer than the file
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                children += map(int, file.read().split())
    return children


def tree_of(pid: int) -> list[int]:
    """Return a process and all processes below it, itself first."""
    tree = [pid]
    for process in tree:
        tree += children_of(process)
    return tree


def is_ending(pid: int) -> bool:
    """Return whether a process ends, and its children still have it as their parent."""
    with contextlib.suppress(OSError):
        return bool(int(_fields(pid)[9]) & PF_EXITING)
    return False


def is_starting_a_program(pid: int) -> bool:
    """Return whether a process is within `execve`, when it has the variables of neither program."""
    with contextlib.suppress(OSError):
        # Opened first: without permission the fields are 0, too.
        return not Path(f"/proc/{pid}/environ").read_bytes() and int(_fields(pid)[51]) == 0
    return False


def _fields(pid: int) -> dict[int, bytes]:
    """Return the fields of a process by their number in proc_pid_stat(5), from the third."""
    # The second, its name, may contain spaces and parentheses.
    return dict(enumerate(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split(), start=3))


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces of an environment in the processes that it started, by which orphans of it are recognised.

    Attributes:
        output: inode of its output pipe.
        instance_id: value of `INSTANCE_VARIABLE`.
    """

    output: int
    instance_id: str


def owner_of(pid: int, environments: Mapping[int, Traces]) -> int | None:
    """Return the environment whose traces a process has: it is in its session, has its variable or its pipe open.

    An environment is given and returned as its process, whose id is that of the session.

    A process that was forked without an exec, leads its own session and writes elsewhere is not recognised.
    """
    with contextlib.suppress(OSError):
        if (session := os.getsid(pid)) in environments:
            return session
    variables: set[bytes] = set()
    outputs: set[int] = set()
    with contextlib.suppress(OSError):
        variables = set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                outputs.add(file.stat().st_ino)
    for environment, traces in environments.items():
        if traces.output in outputs or f"{INSTANCE_VARIABLE}={traces.instance_id}".encode() in variables:
            return environment
    return None


def kill_tree(pid: int) -> None:
    """Kill an environment's process, its group, and its descendants in other groups."""
    tree = tree_of(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
