"""A file that is replaced as a whole again and again, so that a kill at any moment leaves one state of it.

To write a new file and rename it over the old one takes 250 µs on ext4, which hands a new file's data to the disk before
that. So there are a few spare files, whose blocks exist: the one that was longest out of place is overwritten and linked in
the place of the current one, in 20 µs. A reader that opens the file reads one state of it, if it does not take as long as
`SPARES` replacements to read it; that of `results/` reads again where it did.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SPARES: Final = 8


class ReplacedFile:
    """The file; what it holds never gets shorter.

    Args:
        path: its path.
        spare: path of the spare files, to which something is added.
    """

    def __init__(self, path: Path, spare: Path) -> None:
        self._path = path
        self._link = spare.with_name(spare.name + ".link")
        self._spares = [spare.with_name(f"{spare.name}.{number}") for number in range(SPARES)]
        self._count = 0
        self._has_links = hasattr(os, "link")

    def replace(self, data: bytes) -> None:
        """Have the file hold this.

        Raises:
            OSError: it cannot be written; it holds what it held.
        """
        if self._has_links:
            spare = self._spares[self._count % SPARES]
            # Later on they are not truncated, for that would give their blocks back.
            _overwrite(spare, data, os.O_TRUNC if self._count < SPARES else 0)
            self._count += 1
            try:
                self._link.unlink(missing_ok=True)
                self._link.hardlink_to(spare)
            except OSError:
                self._has_links = False  # some file systems have none
                self.close()
            else:
                self._link.replace(self._path)
                return
        write_and_rename(self._path, self._link, data)

    def close(self) -> None:
        """Remove the spare files."""
        for path in (*self._spares, self._link):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def write_and_rename(path: Path, partial: Path, data: bytes) -> None:
    """Replace a file by way of another one in the same directory.

    Raises:
        OSError: it cannot be written; it holds what it held.
    """
    partial.write_bytes(data)
    partial.replace(path)


def _overwrite(path: Path, data: bytes, further: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | further, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
