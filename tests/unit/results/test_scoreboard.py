"""Uploads and the scoreboard: what is uploaded, what is found, and in which order."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import ForbiddenDirectoryError, NoRecordingError, UnknownEvaluationError, UploadTargetError
from gym_http_server.results.evaluation import Evaluation
from gym_http_server.results.scoreboard import Results
from gym_http_server.results.target import Target
from tests.support.recordings import record
from tests.support.serving import threads


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """The results of a server whose only root is the directory of the test."""
    return Results(Settings(results_root=(str(tmp_path),)))


def test_evaluations_are_kept_under_the_first_root(results: Results, tmp_path: Path) -> None:
    """Where nothing else is set, and nothing is made before the first upload."""
    assert results.evaluations() == []
    assert list(tmp_path.iterdir()) == []
    record(tmp_path / "run")
    made = results.upload("run", "key", None)
    assert (tmp_path / "evaluations/CartPole-v0" / made.evaluation_id / "evaluation.json").is_file()


def test_an_evaluation_tells_what_was_recorded(results: Results, tmp_path: Path) -> None:
    """Of one recording in several parts, with some videos gone and gym's version written the old way."""
    record(tmp_path / "run", [0.0] * 20 + [200.0] * 90, infix="0.7", version="0.9.7", videos=[0, 8])
    record(tmp_path / "run", [200.0] * 30, infix="1.7", version="0.9.7", begin=1500001000.0, videos=[1])
    (tmp_path / "run/openaigym.video.0.7.video000008.mp4").unlink()
    (tmp_path / "run/openaigym.video.1.7.video000001.meta.json").unlink()
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = results.upload(str(tmp_path / "run"), "key", "mine")
    assert (made.env_id, made.library, made.algorithm_id) == ("CartPole-v0", "gym 0.9.7", "mine")
    assert (made.episodes, made.total_steps) == (140, 1400)
    assert made.mean_return == pytest.approx(200.0 * 120 / 140)
    assert (made.best_mean_return, made.reward_threshold) == (200.0, 195.0)
    assert (made.episodes_to_threshold, made.seconds_to_threshold) == (18, 18.0)
    assert made.videos == ("openaigym.video.0.7.video000000.mp4", "openaigym.video.1.7.video000001.mp4")
    assert before < made.created_at < datetime.now(UTC)
    assert made.evaluation_id.startswith(made.created_at.strftime("%Y%m%dT%H%M%S-"))


def test_a_recording_without_a_completed_episode_ranks_nowhere(results: Results, tmp_path: Path) -> None:
    """It is an evaluation of 0 episodes without a mean, after all others, and read again it is the same."""
    record(tmp_path / "run", [])
    made = results.upload("run", "key", "late")
    assert (made.episodes, made.total_steps, made.mean_return, made.best_mean_return) == (0, 0, None, None)
    assert Evaluation.from_json(made.to_json()) == made
    assert results.curve(made.evaluation_id).episode_returns == ()
    assert results.best() == []
    record(tmp_path / "bad", [-1e9])
    bad = results.upload("bad", "key", "bad")
    assert results.evaluations(order="best") == [bad, made]
    assert results.best() == [bad]


def test_what_is_no_recording_is_not_uploaded(results: Results, tmp_path: Path) -> None:
    """An empty directory, and one that is not there."""
    (tmp_path / "empty").mkdir()
    for directory, words in {"empty": "no manifests", "absent": "not found"}.items():
        with pytest.raises(NoRecordingError, match=words):
            results.upload(directory, "key", None)
    assert results.evaluations() == []


def test_nothing_outside_of_the_roots_is_uploaded(results: Results, tmp_path: Path) -> None:
    """Neither by the name of the directory, nor by a link in it, nor by a name in a manifest."""
    outside = tmp_path.parent / f"{tmp_path.name}-secret"
    outside.write_text("secret")
    with pytest.raises(ForbiddenDirectoryError):
        results.upload("..", "key", None)
    record(tmp_path / "run", videos=[0])
    video = tmp_path / "run/openaigym.video.0.4711.video000000.mp4"
    video.unlink()
    video.symlink_to(outside)
    with pytest.raises(ForbiddenDirectoryError):
        results.upload("run", "key", None)
    manifest = tmp_path / "run/openaigym.manifest.0.4711.manifest.json"
    plain = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**plain, "videos": [[f"../../{outside.name}", "evaluation.json"]]}))
    assert results.upload("run", "key", None).videos == ()
    manifest.write_text(json.dumps({**plain, "stats": f"../../{outside.name}"}))
    with pytest.raises(NoRecordingError, match="not called as a file of a recording"):
        results.upload("run", "key", None)
    [folder] = (tmp_path / "evaluations/CartPole-v0").iterdir()
    assert not [path for path in folder.iterdir() if path.read_text() == "secret"]


def test_a_pipe_in_the_place_of_a_file_is_no_recording(results: Results, tmp_path: Path) -> None:
    """To read it would wait for ever."""
    record(tmp_path / "run")
    stats = tmp_path / "run/openaigym.episode_batch.0.4711.stats.json"
    stats.unlink()
    os.mkfifo(stats)
    with pytest.raises(NoRecordingError, match="no file"):
        results.upload("run", "key", None)


@pytest.mark.parametrize("env_id", ["../../etc", "..", ".", "a/b/c", "", "a\0b", "x" * 300, "/etc", "a\\..\\b"])
def test_an_id_that_is_none_becomes_no_path(results: Results, tmp_path: Path, env_id: str) -> None:
    """A manifest can name anything as its environment."""
    record(tmp_path / "run", env_id=env_id)
    with pytest.raises(NoRecordingError, match="no environment id"):
        results.upload("run", "key", None)
    assert not (tmp_path / "evaluations").exists()


def test_a_recording_that_is_being_written_is_uploaded_whole(results: Results, tmp_path: Path) -> None:
    """As it stood at one moment: the figures are those of the files that were uploaded."""
    record(tmp_path / "run", [1.0])
    done = threading.Event()

    def write() -> None:
        for number in range(2, 10_000):
            record(tmp_path / "new", [float(each) for each in range(number)])
            for path in (tmp_path / "new").iterdir():
                path.replace(tmp_path / "run" / path.name)
            if done.is_set():
                return

    with threads(write):
        try:
            for _ in range(40):
                made = results.upload("run", "key", None)
                assert len(results.curve(made.evaluation_id).episode_returns) == made.episodes
        finally:
            done.set()


def placed(root: Path, evaluation: Evaluation, **changed: object) -> Path:
    path = root / "evaluations" / evaluation.env_id / evaluation.evaluation_id / "evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**evaluation.to_json(), **changed}))
    return path


def of(number: int, env_id: str, algorithm_id: str | None, best: float | None, mean: float) -> Evaluation:
    created_at = datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC)
    figures = (200, 2000, mean, best, None, None, None, ())
    return Evaluation(
        f"20260101T0000{number:02}-0000000{number}", env_id, "gym 0.26.2", algorithm_id, created_at, *figures
    )


def test_evaluations_come_newest_or_best_first(results: Results, tmp_path: Path) -> None:
    """The best mean of a hundred episodes first, where there is none last, and then the mean of all."""
    all_of_them = [
        of(1, "A-v0", "x", 5.0, 1.0),
        of(2, "A-v0", "x", 7.0, 1.0),
        of(3, "A-v0", None, None, 9.0),
        of(4, "B-v0", "x", 5.0, 2.0),
        of(5, "A-v0", "y", 7.0, 1.0),
        of(6, "A-v0", "x", 7.0, 1.0),
    ]
    for each in all_of_them:
        placed(tmp_path, each)

    def numbers(found: list[Evaluation]) -> list[int]:
        return [int(each.evaluation_id[-1]) for each in found]

    assert numbers(results.evaluations()) == [6, 5, 4, 3, 2, 1]
    assert numbers(results.evaluations("B-v0")) == [4]
    assert numbers(results.evaluations("nothing")) == []
    assert numbers(results.evaluations(order="best")) == [6, 5, 2, 4, 1, 3]
    assert numbers(results.evaluations("A-v0", "best")) == [6, 5, 2, 1, 3]
    assert numbers(results.best()) in ([2, 5, 3, 4], [5, 2, 3, 4])


def test_garbage_in_the_target_is_passed_over(
    results: Results, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning each; links and folders of other names are not looked into."""
    good = of(1, "A-v0", "x", 5.0, 1.0)
    placed(tmp_path, good)
    kept = tmp_path / "evaluations"
    placed(tmp_path, of(2, "A-v0", "x", 5.0, 1.0), mean_return="much")
    placed(tmp_path, of(3, "A-v0", "x", 5.0, 1.0), env_id="B-v0")
    placed(tmp_path, of(4, "A-v0", "x", 5.0, 1.0), videos=["../../../secret"])
    placed(tmp_path, of(5, "A-v0", "x", 5.0, 1.0)).write_bytes(b"\xff{")
    placed(tmp_path, of(6, "A-v0", "x", 5.0, 1.0)).write_text("[" * 100_000)
    (kept / "A-v0/notes/evaluation.json").mkdir(parents=True)
    (kept / "evaluation.json").write_text("{}")
    away = placed(tmp_path / "away", of(7, "A-v0", "x", 5.0, 1.0))
    (kept / "A-v0" / away.parent.name).symlink_to(away.parent)
    (kept / "A-v0/circle").symlink_to(kept)
    linked = kept / "A-v0/20260101T000008-00000008"
    linked.mkdir()
    (linked / "evaluation.json").symlink_to(away)
    for _ in range(3):
        assert results.evaluations() == [good]
    assert caplog.text.count("is no evaluation and is passed over") == 5


def test_an_evaluation_is_read_once(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never changes; one that was taken away is no longer listed."""
    path = placed(tmp_path, of(1, "A-v0", "x", 5.0, 1.0))
    read: list[str] = []
    really = Target.read
    monkeypatch.setattr(Target, "read", lambda self, path: read.append(path) or really(self, path))
    for _ in range(3):
        assert len(results.evaluations()) == 1
    assert len(read) == 1
    path.unlink()
    assert results.evaluations() == []


@pytest.mark.parametrize(
    "evaluation_id", ["", "..", "20260101T000001-00000001", "20260101T000001-00000001/../x", "٢0260101T000001-00000001"]
)
def test_an_unknown_evaluation_is_an_error(results: Results, evaluation_id: str) -> None:
    """Whatever it is called."""
    for ask in (results.get, results.curve, lambda each: results.open_file(each, "x")):
        with pytest.raises(UnknownEvaluationError):
            ask(evaluation_id)


def test_a_curve_that_is_gone_or_damaged_is_an_error(results: Results, tmp_path: Path) -> None:
    """The target's, not the caller's, where the evaluation is there still."""
    record(tmp_path / "run", videos=[0])
    made = results.upload("run", "key", None)
    folder = tmp_path / "evaluations/CartPole-v0" / made.evaluation_id
    (folder / "openaigym.video.0.4711.video000000.mp4").unlink()
    with pytest.raises(UnknownEvaluationError, match="no video"):
        results.open_file(made.evaluation_id, made.videos[0])
    [stats] = folder.glob("*.stats.json")
    stats.write_text("{")
    with pytest.raises(UploadTargetError, match="damaged"):
        results.curve(made.evaluation_id)
    folder.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(UnknownEvaluationError):
            results.curve(made.evaluation_id)
