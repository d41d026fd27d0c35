"""An export has its name when it is complete, and replaces nothing but an earlier export."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_http_server.datasets.export_directory import ExportDirectory
from gym_http_server.errors import ExportError


def write(path: Path, text: str, *, force: bool = False) -> None:
    with ExportDirectory(path, force=force, facts={"format": "x"}) as exported:
        (exported.part / "file").write_text(text)
        assert not path.exists() or force


def test_an_export_appears_as_a_whole(tmp_path: Path) -> None:
    """Until then nothing has its name, and afterwards nothing else is left."""
    write(tmp_path / "deep" / "set", "1")
    assert (tmp_path / "deep" / "set" / "file").read_text() == "1"
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["set"]


def interrupted(path: Path, error: type[BaseException]) -> None:
    with ExportDirectory(path, force=True, facts={}) as exported:
        (exported.part / "file").write_text("2")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Neither a part, nor an earlier export changed."""
    write(tmp_path / "set", "1")
    for path in (tmp_path / "set", tmp_path / "other"):
        with pytest.raises(error):
            interrupted(path, error)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
    assert (tmp_path / "set" / "file").read_text() == "1"


def test_what_exists_is_refused_and_an_earlier_export_replaced_by_force(tmp_path: Path) -> None:
    """Force replaces no other directory, and no file."""
    write(tmp_path / "set", "1")
    with pytest.raises(ExportError, match=r"exists already.*--force"):
        write(tmp_path / "set", "2")
    write(tmp_path / "set", "2", force=True)
    assert (tmp_path / "set" / "file").read_text() == "2"
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    for name in ("mine", "file"):
        with pytest.raises(ExportError, match="no earlier export"):
            write(tmp_path / name, "2", force=True)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    """A file where a directory is to be, and a disk that takes nothing, end with a sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot write to"):
        write(tmp_path / "file" / "set", "1")
    with pytest.raises(ExportError, match="No space left"), ExportDirectory(tmp_path / "set", force=False, facts={}):
        raise OSError(28, "No space left on device")
