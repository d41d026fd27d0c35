"""The shared memory of the server and an environment's process, and its layout."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import sys
import tempfile
from typing import Any, Final

from . import traffic, usage

CONNECTION_CELLS: Final = 72
CONNECTION_BYTES: Final = 4 << 20
"""Room for the clients' connections that the process serves, in float64 and in bytes."""

_HEAD_BYTES: Final = 2 * 4096
"""Bytes of all cells, in whole pages."""
_SIZE: Final = _HEAD_BYTES + CONNECTION_BYTES


class Memory:
    """A block of shared memory; pages that were never written take no memory.

    Attributes:
        usage: the use of the environment.
        traffic: counters of the requests that the process answered on clients' connections.
        connection_cells: `CONNECTION_CELLS` float64 about these connections (`handover/receive_buffer.py`).
        connection_bytes: `CONNECTION_BYTES` bytes of theirs.
    """

    def __init__(self, mapped: mmap.mmap) -> None:
        view = memoryview(mapped)
        cells = view[:_HEAD_BYTES].cast("d")
        ends = tuple(itertools.accumulate((usage.CELLS, traffic.CELLS, CONNECTION_CELLS)))
        self.usage = usage.Usage(cells[: ends[0]])
        self.traffic = traffic.Traffic(cells[ends[0] : ends[1]])
        self.connection_cells = cells[ends[1] : ends[2]]
        self.connection_bytes = view[_HEAD_BYTES:]

    @classmethod
    def make(cls) -> tuple[Memory, int]:
        """Return a new block of zeros and a descriptor of it for the other process, for the caller to close.

        On Linux its size is sealed: if third-party code in the other process could truncate it, the server's next access
        would end in a SIGBUS.

        Raises:
            OSError: the system has no memory or descriptor left.
        """
        can_seal = hasattr(os, "memfd_create")
        if can_seal:
            descriptor = os.memfd_create("gym-http-server", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, _SIZE)
            if can_seal:
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            return cls.open(descriptor), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, descriptor: int) -> Memory:
        """Return the block of a descriptor, which can be closed afterwards."""
        # From Python 3.13 the mapping needs no duplicate of the descriptor, which the environment could find.
        options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        return cls(mmap.mmap(descriptor, _SIZE, **options))
