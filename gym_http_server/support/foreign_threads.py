"""The other threads of this process: a forked process lacks them, and code there that waits for one waits for ever."""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path
from typing import Final

ENDING_SECONDS: Final = 0.2
"""Time for threads that have returned to leave the list of the system."""
PAUSE_SECONDS: Final = 0.005
MAX_NAMES: Final = 4


def other_threads() -> list[str]:
    """Return the names of all threads but the calling one, of libraries in C too where the system lists them (Linux)."""
    own = threading.get_native_id()
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        tasks = [int(task) for task in os.listdir("/proc/self/task")]  # noqa: PTH208 -- pathlib takes twice as long
    except OSError:
        tasks = [task for task in names if task is not None]
    return [names.get(task) or _system_name(task) for task in tasks if task != own]


def lasting_threads() -> list[str]:
    """Return the names of the other threads, without those that are ending and those that a fork ends.

    OpenBLAS, which numpy and scipy bring along, starts threads at its import, ends them before a fork and starts them again when
    it needs them. JAX, thread pools and most others do not, so a fork tells them apart.
    """
    if not other_threads():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and JAX warn that a process with threads is forked
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    end = time.monotonic() + ENDING_SECONDS
    while (names := other_threads()) and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)
    return names


def described(names: list[str]) -> str:
    """Return the number of threads and the first of their names."""
    shown = sorted(set(names))
    more = ", …" if len(shown) > MAX_NAMES else ""
    return f"{len(names)} thread{'s' * (len(names) > 1)} ({', '.join(shown[:MAX_NAMES])}{more})"


def _system_name(task: int) -> str:
    try:
        return Path(f"/proc/self/task/{task}/comm").read_text().strip()
    except OSError:
        return "ended"
