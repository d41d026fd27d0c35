"""The memory that the server and an environment's process share, and what lies in it."""

from __future__ import annotations

import itertools
import mmap
import os
import tempfile
from typing import Final

from . import inbox, traffic, usage

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
        self.inbox = inbox.Inbox(cells[ends[0] : ends[1]], view[_HEAD:])
        self.traffic = traffic.Traffic(cells[ends[1] : ends[2]])

    @classmethod
    def make(cls) -> tuple[Memory, int]:
        """Return a new piece, zeroed, and a descriptor of it for the other process, for the caller to close.

        Raises:
            OSError: the system gives none.
        """
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("gym-http-server")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, _HEAD + inbox.CAPACITY)
            return cls.open(descriptor), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, descriptor: int) -> Memory:
        """Return the piece behind a descriptor, which can be closed afterwards."""
        return cls(mmap.mmap(descriptor, _HEAD + inbox.CAPACITY))
