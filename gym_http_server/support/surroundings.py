"""What a process finds around itself when it starts, made such that it can be relied on. It imports little."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
"""Where this package is imported from."""


def working_directory() -> str | None:
    """Return the working directory, or None where it has been removed or cannot be reached."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def with_working_directory_last(path: list[str]) -> list[str]:
    """Return a module search path such that no file beside which a command was started shadows a library's module.

    Python puts the working directory first, for `python -m` and at a prompt. A source tree of this package stays in its place.
    """
    here = working_directory()
    first = [each for each in path if each == PACKAGE_PARENT or each not in ("", ".", here)]
    # The name, and not an empty entry: a child may have another working directory.
    return first + ([here] if here is not None and len(first) < len(path) else [])


def open_standard_descriptors() -> None:
    """Open descriptors 0 to 2, where they are closed: a socket would get one of them, and be written to by a `print`."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, which is this one, for those below are open.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def say(text: str, stream: IO[str]) -> bool:
    """Write a line; return whether it could be written. Where nobody reads it any more, nothing else is written either."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        # Or Python would complain about what it could not write once more when it ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return False
    return True
