"""Upload targets: directories, memory, a real S3-compatible server, and one that fails."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import InvalidValueError, TargetUnavailableError, UnknownEvaluationError, UploadTargetError
from gym_http_server.results import target as target_module
from gym_http_server.results.recording import load_results
from gym_http_server.results.scoreboard import Results
from gym_http_server.results.target import Target
from tests.support.object_store import FailingFileSystem, s3_server
from tests.support.recordings import record


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a bucket on a server that the environment variables lead to."""
    import s3fs

    with s3_server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("results")
        yield "s3://results/some/where"
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FailingFileSystem]]:
    """The file system that fails, known to fsspec as `failing` and as one that takes a token."""
    fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
    monkeypatch.setitem(target_module.TOKEN_OPTIONS, "failing", "token")
    for name, value in {"writes_left": 10**6, "words": "the disk is full", "removes": True, "tokens": []}.items():
        monkeypatch.setattr(FailingFileSystem, name, value)
    yield FailingFileSystem
    FailingFileSystem.store.clear()
    FailingFileSystem.clear_instance_cache()


@pytest.fixture(params=["local", "file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A target of each kind."""
    match request.param:
        case "local":
            return str(tmp_path / "target [1]*")
        case "file":
            return f"file://{tmp_path}/target"
        case "memory":
            return f"memory://{tmp_path.name}"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def results_at(url: str, tmp_path: Path) -> Results:
    return Results(Settings(results_root=(str(tmp_path),), upload_to=url))


@pytest.mark.parametrize("env_id", ["CartPole-v0", "ALE/Pong-v5"])
def test_an_upload_is_found_again_with_all_its_files(tmp_path: Path, url: str, env_id: str) -> None:
    """By another server as well, which has to read what is there."""
    record(tmp_path / "run", [1.0] * 120, videos=[0, 1], env_id=env_id)
    results = results_at(url, tmp_path)
    assert results.evaluations() == []
    made = results.upload("run", "key", "mine")
    assert made.videos == ("openaigym.video.0.4711.video000000.mp4", "openaigym.video.0.4711.video000001.mp4")
    for each in (results, results_at(url, tmp_path)):
        assert each.evaluations() == [made]
        assert each.get(made.evaluation_id) == made
        curve = each.curve(made.evaluation_id)
        assert (curve.episode_returns, curve.episode_lengths) == ((1.0,) * 120, (10,) * 120)
        with each.open_file(made.evaluation_id, made.videos[1]) as file:
            assert file.seekable()
            assert file.seek(6) == 6
            assert file.read() == b"1 of 0.4711"
        with pytest.raises(UnknownEvaluationError):
            each.open_file(made.evaluation_id, "evaluation.json")
    again = results.upload("run", "key", None)
    assert {each.evaluation_id for each in results_at(url, tmp_path).evaluations()} == {
        made.evaluation_id,
        again.evaluation_id,
    }


def test_what_was_uploaded_is_a_recording_still(tmp_path: Path) -> None:
    """Its folder is a training directory, with the evaluation beside."""
    record(tmp_path / "run", videos=[0])
    made = results_at(str(tmp_path / "kept"), tmp_path).upload("run", "key", None)
    folder = tmp_path / "kept" / made.env_id / made.evaluation_id
    there = load_results(folder)
    assert there["episode_rewards"] == [1.0, 2.0, 3.0]
    assert Path(there["videos"][0][0]).read_bytes() == b"video 0 of 0.4711"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["evaluation.json", *(path.name for path in (tmp_path / "run").iterdir())]
    )


@pytest.mark.parametrize("after", range(5))
def test_a_target_that_fails_half_way_keeps_nothing(
    tmp_path: Path, failing: type[FailingFileSystem], after: int
) -> None:
    """Five files are written: whichever fails, no evaluation is there, and none of the files before it."""
    record(tmp_path / "run", videos=[0])
    results = results_at("failing://kept", tmp_path)
    failing.writes_left = after
    with pytest.raises(UploadTargetError, match=r"failing://kept/CartPole-v0/.*: the disk is full"):
        results.upload("run", "key", None)
    assert failing.store == {}
    assert results.evaluations() == []
    failing.writes_left = 5
    made = results.upload("run", "key", None)
    assert results.evaluations() == [made]


def test_an_upload_that_cannot_be_taken_away_looks_like_none(tmp_path: Path, failing: type[FailingFileSystem]) -> None:
    """The evaluation is written last."""
    record(tmp_path / "run", videos=[0])
    results = results_at("failing://kept", tmp_path)
    failing.writes_left, failing.removes = 4, False
    with pytest.raises(UploadTargetError):
        results.upload("run", "key", None)
    assert len(failing.store) == 4
    assert results.evaluations() == []


def test_the_token_of_the_caller_is_used_once_and_kept_nowhere(
    tmp_path: Path, failing: type[FailingFileSystem], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the error, the log, the evaluation or fsspec's cache; the target is read with the server's own."""
    caplog.set_level(logging.DEBUG)
    record(tmp_path / "run")
    results = results_at("failing://kept", tmp_path)
    made = results.upload("run", "tok-en\\1", None)
    assert failing.tokens == [None, "tok-en\\1"]
    failing.writes_left, failing.words = 1, "refused b'Bearer {token}'"
    with pytest.raises(UploadTargetError) as caught:
        results.upload("run", "tok-en\\1", None)
    assert caught.value.detail.endswith(": RuntimeError")
    failing.words = "refused 'tok-en\\\\1'"
    failing.writes_left = 1
    with pytest.raises(UploadTargetError) as caught:
        results.upload("run", "tok-en\\1", None)
    assert "tok-en" not in caught.value.detail + caplog.text + str(made.to_json()) + repr(vars(results))
    del caught  # its traceback has the frames of the upload
    failing.store.clear()  # memory's files know the file system that wrote them
    gc.collect()
    # By type(), for other tests leave objects that lie about their class.
    assert not [each for each in gc.get_objects() if issubclass(type(each), FailingFileSystem) and each.token]
    with pytest.raises(InvalidValueError, match="api_key"):
        results.upload("run", "tok\nen", None)


def test_a_target_that_takes_no_token_is_given_none(tmp_path: Path) -> None:
    """Any text will do as a key there."""
    record(tmp_path / "run")
    results = results_at("memory://none", tmp_path)
    made = results.upload("run", "sk-anything\n", None)
    assert made in results.evaluations()


@pytest.mark.parametrize("url", ["s3://no-such-bucket/x", "s3://results"])
def test_a_bucket_is_never_made(tmp_path: Path, s3: str, url: str) -> None:
    """One that is not there is an error that names it and no secret; the root of one will do."""
    assert s3
    record(tmp_path / "run")
    results = results_at(url, tmp_path)
    if url == "s3://results":
        made = results.upload("run", "key", None)
        assert made in results.evaluations()
        return
    assert results.evaluations() == []
    with pytest.raises(UploadTargetError, match=r"cannot write to s3://no-such-bucket/x/CartPole-v0/") as caught:
        results.upload("run", "key", None)
    assert "a-secret-of-s3" not in caught.value.detail


@pytest.mark.parametrize(("protocol", "module"), [("s3", "s3fs"), ("hf", "huggingface_hub")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, protocol: str, module: str) -> None:
    """At the start, and with the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    # fsspec remembers the file systems that it has loaded.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(TargetUnavailableError, match=rf"{sys.executable} -m pip install '{module}>="):
        Target(f"{protocol}://datasets/x/y")


def test_what_cannot_be_a_target_is_refused_at_the_start(tmp_path: Path) -> None:
    """An unknown protocol, a bucket without a name, a file; without the URL's password."""
    (tmp_path / "file").write_text("")
    for url, words in {
        "nonsense://me:pass@x/y?token=pass": "nonsense://x/y cannot be used",
        "s3://": "names no bucket",
        str(tmp_path / "file"): "is no directory",
    }.items():
        with pytest.raises(TargetUnavailableError, match=words) as caught:
            Target(url)
        assert "pass" not in caught.value.detail


def test_a_local_target_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It says where and why."""
    record(tmp_path / "run")
    results = results_at(str(tmp_path / "kept"), tmp_path)
    (tmp_path / "kept").rmdir()
    (tmp_path / "kept").write_text("a file by now")
    with pytest.raises(
        UploadTargetError, match=r"cannot write to .*/kept/CartPole-v0/.*: (Not a directory|File exists)"
    ):
        results.upload("run", "key", None)
