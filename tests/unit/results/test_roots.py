"""The results roots: which directories a client may name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from gym_http_server.errors import ForbiddenDirectoryError, InvalidValueError
from gym_http_server.results.roots import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Two roots, with links that lead out of the first, into the second, and in a circle."""
    for name in ("one/inside", "two/inside", "outside", "one-more"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one/out").symlink_to(tmp_path / "outside")
    (tmp_path / "one/across").symlink_to(tmp_path / "two/inside")
    (tmp_path / "one/circle").symlink_to(tmp_path / "one/circle")
    (tmp_path / "one/file").write_text("")
    return Roots((str(tmp_path / "one"), str(tmp_path / "two")))


@pytest.mark.parametrize(
    ("directory", "resolved"),
    [
        ("inside", "one/inside"),
        ("not/there/yet", "one/not/there/yet"),
        (".", "one"),
        ("inside/../other", "one/other"),
        ("{}/one/inside/", "one/inside"),
        ("{}/two/inside", "two/inside"),
        ("{}/two/not-there", "two/not-there"),
        ("../two/inside", "two/inside"),
        ("across/x", "two/inside/x"),
        ("out/../inside", None),
        ("Zürich 東京 🚲", "one/Zürich 東京 🚲"),
        ("~/x", "one/~/x"),
        ("file/x", "one/file/x"),
        ("..", None),
        ("../outside", None),
        ("../one-more", None),
        ("inside/../../outside", None),
        ("not/there/../../../outside", None),
        ("out", None),
        ("out/x", None),
        ("/etc", None),
        ("/", None),
        ("{}", None),
        ("{}/one-more", None),
        ("{}/one/../outside", None),
        ("//etc", None),
    ],
)
def test_a_directory_is_under_a_root_or_forbidden(
    roots: Roots, tmp_path: Path, directory: str, resolved: str | None
) -> None:
    """Links and `..` are followed first; a relative directory is under the first root, which need not hold it yet."""
    named = directory.replace("{}", str(tmp_path))
    if resolved is None:
        with pytest.raises(ForbiddenDirectoryError) as caught:
            roots.resolve(named)
        assert all(str(tmp_path / root) in caught.value.detail for root in ("one", "two"))
        assert "--results-root" in caught.value.detail
    else:
        assert roots.resolve(named) == tmp_path / resolved


@pytest.mark.parametrize("directory", ["", "a\0b", "\ud800", "x" * 300, "circle", "x/" * 3000])
def test_what_no_directory_can_be_called_is_refused(roots: Roots, directory: str) -> None:
    """Nothing, NUL, half a character, more than the system takes and links in a circle are the caller's mistake."""
    with pytest.raises(InvalidValueError) as caught:
        roots.resolve(directory)
    assert len(caught.value.detail) < 400
    caught.value.detail.encode()


def test_without_roots_the_working_and_the_temporary_directory_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old clients name /tmp/random-agent-results, wherever the temporary directory is."""
    monkeypatch.chdir(tmp_path)
    roots = Roots()
    assert roots.resolve("tmp") == tmp_path / "tmp"
    usual = "/tmp/random-agent-results"  # noqa: S108 -- what old clients say
    assert roots.resolve(usual) == Path(usual).resolve()
    assert roots.resolve(tempfile.gettempdir() + "/x").name == "x"
    with pytest.raises(ForbiddenDirectoryError):
        roots.resolve("/etc")


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    """What is under it is allowed by both its names."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    roots = Roots((str(tmp_path / "link"),))
    assert roots.resolve("x") == roots.resolve(str(tmp_path / "link/x")) == roots.resolve(str(tmp_path / "real/x"))
