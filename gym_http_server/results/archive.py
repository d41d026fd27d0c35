"""`zip_parts`: files of an evaluation as a ZIP archive, made part by part while it is sent.

No part is larger than a piece of a file, and between two parts nothing is open: a client that reads slowly or not at all holds
neither a file nor a thread. What recordings consist of is compressed already, so the files are stored as they are.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sizes after the data (bit 3).
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Final

from ..errors import UploadTargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PIECE_BYTES: Final = 1 << 20
"""Bytes of a file that are read at once."""

_LARGE_BYTES: Final = 1 << 31
"""Size above which a file has the fields of ZIP64; a little less than what the others hold."""


class _Sink:
    """A stream that is written to and emptied. It has no `seek`, so `zipfile` writes sizes after the data."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes."""
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def taken(self) -> bytes:
        """Return the bytes written since the last call."""
        written, self._written = b"".join(self._written), []
        return written


def zip_parts(
    files: Iterable[tuple[str, int]], read: Callable[[str, int, int], bytes], date: tuple[int, int, int, int, int, int]
) -> Iterator[bytes]:
    """Yield the parts of an archive.

    Args:
        files: names and sizes.
        read: returns at most so many bytes of the file of that name, from an offset; none at its end.
        date: year, month, day, hour, minute and second of every file.

    Raises:
        UploadTargetError: a file is shorter than it was said to be, or `read` raised it.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # `write` and `flush` are all that it needs
        for name, size in files:
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr = 0o644 << 16
            offset = 0
            with archive.open(entry, "w", force_zip64=size > _LARGE_BYTES) as place:
                while offset < size:
                    piece = read(name, offset, min(PIECE_BYTES, size - offset))
                    if not piece:
                        raise UploadTargetError(f"{name} ends after {offset} of {size} bytes")
                    offset += len(piece)
                    place.write(piece)
                    yield sink.taken()
    yield sink.taken()
