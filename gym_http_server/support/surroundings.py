"""The surroundings of a process at its start: working directory, module search path, standard descriptors. Imports little."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
"""Directory from which this package is imported."""


def working_directory() -> str | None:
    """Return the working directory, or None if it was removed or is not accessible."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def with_working_directory_last(path: list[str]) -> list[str]:
    """Return a module search path with the working directory last, so that its files do not shadow libraries.

    Python puts the working directory first for `python -m` and at a prompt. A source tree of this package keeps its place.
    """
    here = working_directory()
    first = [entry for entry in path if entry == PACKAGE_PARENT or entry not in ("", ".", here)]
    # The path, not an empty entry: a child may have another working directory.
    return first + ([here] if here is not None and len(first) < len(path) else [])


def open_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if they are closed; otherwise a socket would get one, and `print` would write to it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # `open` returns the lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def say(text: str, stream: IO[str]) -> bool:
    """Write a line; return whether that worked. If nobody reads the stream any more, later output is discarded."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        # Otherwise Python would report the failed write again at exit.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return False
    return True
