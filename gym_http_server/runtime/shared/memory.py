"""The memory that the server and an environment's process share, and what lies in it."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import sys
import tempfile
from typing import Any, Final

from . import receive_buffer as inbox
from . import traffic, usage

_HEAD: Final = 2 * 4096
"""Bytes for all that is not the inbox's data: whole pages."""


class Memory:
    """A piece of shared memory; the pages that nobody has written to take no room.

    Args:
        mapped: the memory.

    Attributes:
        usage: how much the environment is used.
        inbox: what is not answered on the connection that the process serves.
        traffic: how the process answered on such connections.
    """

    def __init__(self, mapped: mmap.mmap) -> None:
        view = memoryview(mapped)
        cells = view[:_HEAD].cast("d")
        ends = tuple(itertools.accumulate((usage.CELLS, inbox.CELLS, traffic.CELLS)))
        self.usage = usage.Usage(cells[: ends[0]])
        self.inbox = inbox.ReceiveBuffer(cells[ends[0] : ends[1]], view[_HEAD:])
        self.traffic = traffic.Traffic(cells[ends[1] : ends[2]])

    @classmethod
    def make(cls) -> tuple[Memory, int]:
        """Return a new piece, zeroed, and a descriptor of it for the other process, for the caller to close.

        On Linux its size is sealed: the other process runs third-party code, and if that could truncate the memory, the
        server would end with SIGBUS at its next look.

        Raises:
            OSError: the system gives none.
        """
        can_seal = hasattr(os, "memfd_create")
        if can_seal:
            descriptor = os.memfd_create("gym-http-server", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, _HEAD + inbox.CAPACITY)
            if can_seal:
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            return cls.open(descriptor), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, descriptor: int) -> Memory:
        """Return the piece behind a descriptor, which can be closed afterwards."""
        # Where it can be had without one, the other process has no descriptor of it.
        options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        return cls(mmap.mmap(descriptor, _HEAD + inbox.CAPACITY, **options))
