"""Archives made while they are sent."""

from __future__ import annotations

import io
import zipfile

import pytest

from gym_http_server.errors import UploadTargetError
from gym_http_server.results import archive
from gym_http_server.results.archive import zip_parts

DATE = (2026, 11, 23, 9, 31, 12)


def test_an_archive_holds_the_files_and_no_part_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty files, files of exactly a piece and of more come back as they are; a part is a piece and what zip adds to it."""
    monkeypatch.setattr(archive, "PIECE_BYTES", 100)
    files = {"a": b"", "b": bytes(range(100)), "c": bytes(range(250))}
    sizes = [(name, len(data)) for name, data in files.items()]
    parts = list(zip_parts(sizes, lambda name, start, length: files[name][start : start + length], DATE))
    assert max(map(len, parts[:-1])) < 300
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == files
        assert read.getinfo("a").date_time == DATE


def test_a_file_that_was_cut_short_is_an_error() -> None:
    """What would be a smaller archive without a word ends the reply."""
    with pytest.raises(UploadTargetError, match="a ends after 3 of 5 bytes"):
        list(zip_parts([("a", 5)], lambda _, start, __: b"abc"[start:], DATE))


def test_an_archive_that_is_given_up_reads_no_more() -> None:
    """Closing the parts ends them in the middle of a file."""
    asked: list[int] = []

    def read(_: str, start: int, length: int) -> bytes:
        asked.append(start)
        return bytes(length)

    parts = zip_parts([("a", 10 * archive.PIECE_BYTES)], read, DATE)
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # a generator
    assert asked == [0]
