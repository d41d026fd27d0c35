"""Memory of environments: finds those over the setting `max_memory_per_env` (Linux, /proc).

The fork server runs it, because it knows every process below it, and forks between two slices of a check: with 1,000 environments
a check takes 60 ms. The frequent check reads the resident memory (statm,
microseconds), which includes the pages that a fork shares with the fork server. Only if that is over the limit is the
environment's own memory added up (smaps_rollup, milliseconds).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from .process_tree import children_of, owner_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .process_tree import Traces

CHECK_SECONDS: Final = 0.1
"""Minimum time between two checks."""
SLICE_SECONDS: Final = 0.001
"""Time after which a check is interrupted."""
PAUSE_FACTOR: Final = 20
"""Minimum length of the pause after a slice, relative to the slice: checks take at most a twentieth of a processor."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class MemoryWatch:
    """Finds environments that take, with their children, more bytes than the limit; 0 for no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 0.0
        # The check in execution
        self._unchecked: list[int] = []
        self._orphans: dict[int, list[int]] = {}

    @property
    def pause(self) -> float | None:
        """Seconds until the next slice of a check; None without a limit."""
        return max(0.0, self._next - time.monotonic()) if self._limit else None

    def exceeding(self, environments: Mapping[int, Traces]) -> dict[int, int]:
        """Check for a slice of time, if one is due; return the bytes of the environments over the limit, by process."""
        if not self._limit or self.pause:
            return {}
        began = now = time.monotonic()
        exceeding = {}
        if not self._unchecked:
            self._unchecked = list(environments)
            self._orphans = _orphans(environments)
        while self._unchecked and now - began < SLICE_SECONDS:
            pid = self._unchecked.pop()
            if pid in environments:
                processes = [*tree_of(pid), *self._orphans.get(pid, ())]
                if sum(map(resident, processes)) > self._limit and (taken := own(processes)) > self._limit:
                    exceeding[pid] = taken
            now = time.monotonic()
        self._next = now + max(0.0 if self._unchecked else CHECK_SECONDS, PAUSE_FACTOR * (now - began))
        return exceeding


def _orphans(environments: Mapping[int, Traces]) -> dict[int, list[int]]:
    """Return the processes whose parent has ended, by environment."""
    orphans: dict[int, list[int]] = {}
    for orphan in children_of(os.getpid()):
        if orphan not in environments and (owner := owner_of(orphan, environments)) is not None:
            orphans.setdefault(owner, []).extend(tree_of(orphan))
    return orphans


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, shared pages included; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 -- no path to speak of
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def own(processes: Iterable[int]) -> int:
    """Return the bytes that the processes of one environment do not share with other environments.

    At least the pages that belong to one process only. Pages that the processes share with each other are in the proportional
    set size; everything that they may share with this process is subtracted from it.
    """
    private = proportional = 0
    for pid in processes:
        figures = _rollup(pid)
        if figures is None:
            # Unreadable even for its own user: all its memory counts.
            private += resident(pid)
        else:
            private += figures.get("Private_Clean", 0) + figures.get("Private_Dirty", 0)
            proportional += figures.get("Pss_Anon", 0) + figures.get("Pss_Shmem", 0)
    inherited = (_rollup(os.getpid()) or {}).get("Anonymous", 0)
    return max(private, proportional - inherited)


def _rollup(pid: int) -> dict[str, int] | None:
    """Return the values of /proc/<pid>/smaps_rollup in bytes (proc(5)); None if it cannot be read."""
    figures = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 -- no path to speak of
            for line in file:
                name, _, rest = line.decode().partition(":")
                words = rest.split()
                if words[1:] == ["kB"]:
                    figures[name] = int(words[0]) * 1024
    except ProcessLookupError:
        return {}
    except OSError:
        return None
    return figures
