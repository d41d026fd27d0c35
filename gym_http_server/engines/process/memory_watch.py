"""How much memory environments take: who is over the setting `max_memory_per_env` (Linux, /proc).

The fork server watches, for it knows every process below it and is never in a request. What is looked at often is what
costs microseconds: the resident memory (statm). It overstates, because a fork shares the pages of the fork server; only
where it is over the limit is the memory added up that is an environment's own (smaps_rollup, milliseconds).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from .process_tree import children_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .process_tree import Traces

SECONDS: Final = 0.1
"""How long after one look the next follows."""
SHARE: Final = 20
"""A look that takes long is followed by a pause this many times as long, so that watching takes a twentieth of a processor."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class MemoryWatch:
    """Tells which environments are over the limit.

    Args:
        limit: the most memory that an environment and its children may take, in bytes; 0 for any.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 0.0

    @property
    def pause(self) -> float | None:
        """Seconds until the next look is due, or None where there is nothing to watch."""
        return max(0.0, self._next - time.monotonic()) if self._limit else None

    def exceeding(self, environments: Mapping[int, Traces]) -> dict[int, int]:
        """Return the environments that are over the limit, and how many bytes each takes; none before a look is due.

        Args:
            environments: the process of each, and what others have of it.
        """
        if not self._limit or self.pause:
            return {}
        began = time.monotonic()
        found = {}
        orphans = self._orphans(environments)
        for pid in environments:
            processes = [*tree_of(pid), *orphans.get(pid, ())]
            if sum(map(resident, processes)) > self._limit and (taken := own(processes)) > self._limit:
                found[pid] = taken
        now = time.monotonic()
        self._next = now + max(SECONDS, SHARE * (now - began))
        return found

    def _orphans(self, environments: Mapping[int, Traces]) -> dict[int, list[int]]:
        """Return the processes whose parent has ended, by the environment that they belong to."""
        found: dict[int, list[int]] = {}
        for orphan in children_of(os.getpid()):
            if orphan not in environments:
                owner = next((pid for pid, traces in environments.items() if traces.are_on(orphan)), None)
                if owner is not None:
                    found.setdefault(owner, []).extend(tree_of(orphan))
        return found


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, what it shares included; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 -- no path to speak of
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def own(processes: Iterable[int]) -> int:
    """Return how many bytes some processes of one environment take for themselves.

    At least the pages that only one of them has. What they share among each other is in the proportional figure, from
    which all is taken off that they can share with this process, so that nobody is ended for what is not his.
    """
    private = proportional = 0
    for pid in processes:
        figures = _rollup(pid)
        if figures is None:
            # It hides from its own user, and then counts with all that it has.
            private += resident(pid)
        else:
            private += figures.get("Private_Clean", 0) + figures.get("Private_Dirty", 0)
            proportional += figures.get("Pss_Anon", 0) + figures.get("Pss_Shmem", 0)
    inherited = (_rollup(os.getpid()) or {}).get("Anonymous", 0)
    return max(private, proportional - inherited)


def _rollup(pid: int) -> dict[str, int] | None:
    """Return the figures of /proc/<pid>/smaps_rollup in bytes (proc(5)); None where they cannot be read."""
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
