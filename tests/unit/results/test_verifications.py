"""Verdicts in the upload target, and what an evaluation says of its trajectories."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self, cast

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import NoTrajectoriesError, UploadTargetError
from gym_http_server.results import verifications
from gym_http_server.results.evaluated_trajectories import EvaluatedTrajectories
from gym_http_server.results.evaluation import Evaluation
from gym_http_server.results.scoreboard import Results
from gym_http_server.results.verifications import DIFFERENT, VERIFIED, Verification

from ...support.recordings import record


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(Settings(results_root=(str(tmp_path),)))


@pytest.fixture
def evaluation(results: Results, tmp_path: Path) -> Evaluation:
    record(tmp_path / "run")
    return results.upload("run", "key", None)


def folder_of(evaluation: Evaluation, tmp_path: Path) -> Path:
    return tmp_path / "evaluations" / evaluation.env_id / evaluation.evaluation_id


def test_the_newest_verdict_counts_for_every_server(results: Results, evaluation: Evaluation, tmp_path: Path) -> None:
    """A verdict is a file of its own, which a server that starts later reads; the evaluation's file stays as it is."""
    before = (folder_of(evaluation, tmp_path) / "evaluation.json").read_bytes()
    results.keep_verification(evaluation, Verification(DIFFERENT, reason="no"))
    results.keep_verification(evaluation, Verification(VERIFIED, 3, 3, libraries={"python": "3.12"}))
    later = Results(Settings(results_root=(str(tmp_path),)))
    assert [each.evaluation_id for each in later.evaluations()] == [evaluation.evaluation_id]
    for each in (results, later):
        verification = each.verification(evaluation)
        assert verification is not None
        assert (verification.state, verification.done, verification.libraries) == (VERIFIED, 3, {"python": "3.12"})
    assert later.best(verified=True) == [evaluation]
    assert (folder_of(evaluation, tmp_path) / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize("seconds", [0, -3600], ids=["stands-still", "goes-back"])
def test_a_later_verdict_counts_whatever_the_clock_says(
    results: Results, evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Files of verdicts sort in the order in which they were kept."""
    times = iter(datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(seconds=seconds * n) for n in range(5))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:  # noqa: ARG003 - the signature is that of datetime
            return cast("Self", next(times))

    monkeypatch.setattr(verifications, "datetime", Clock)
    for number in range(5):
        results.keep_verification(evaluation, Verification(DIFFERENT, done=number))
    monkeypatch.undo()
    later = Results(Settings(results_root=(str(tmp_path),)))
    assert later.evaluations()
    newest = later.verification(evaluation)
    assert newest is not None
    assert newest.done == 4


GOOD = {"state": "verified", "done": 3, "total": 3, "libraries": {}, "verified_at": "2026-11-23T09:31:12.345Z"}


@pytest.mark.parametrize(
    "changed",
    [
        None,
        [],
        {"state": "running"},
        {"done": "3"},
        {"libraries": {"python": 3}},
        {"libraries": None},
        {"scores": None},
        {"scores": {"mean_return": 500.0}},
        {"reason": ["x"]},
        {"reason": "x" * 3000},
        {"verified_at": "yesterday"},
        {"verified_at": "2026-11-23T09:31:12"},
    ],
    ids=repr,
)
def test_what_is_no_verdict_about_these_scores_is_passed_over(
    results: Results, evaluation: Evaluation, tmp_path: Path, changed: Any
) -> None:
    """Whoever else writes into the target ends no listing, and a verdict about other scores gives no badge."""
    scores = {
        name: getattr(evaluation, name) for name in ("episodes", "total_steps", "mean_return", "best_mean_return")
    }
    text = {**GOOD, "scores": scores, **changed} if isinstance(changed, dict) else changed
    path = folder_of(evaluation, tmp_path) / "verification.20261123T093112.345000-5f2b9c1e.json"
    path.write_text(json.dumps({**GOOD, "scores": scores}))
    assert results.evaluations() == [evaluation]
    assert results.is_verified(evaluation)
    other = path.with_name("verification.20261124T093112.345000-5f2b9c1e.json")
    other.write_text(json.dumps(text))
    assert results.evaluations() == [evaluation]
    assert not results.is_verified(evaluation)


def test_a_verdict_that_cannot_be_written_leaves_no_file(
    results: Results, evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends it with the target's error, and the folder is as before."""
    folder = folder_of(evaluation, tmp_path)
    before = sorted(folder.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UploadTargetError, match="No space left"):
        results.keep_verification(evaluation, Verification(VERIFIED))
    assert sorted(folder.iterdir()) == before
    assert results.verification(evaluation) is None


def test_an_evaluation_without_trajectories_is_as_before(results: Results, evaluation: Evaluation) -> None:
    """Its file and reply have no new member, and asking for its trajectories says what to do."""
    assert evaluation.to_json().keys().isdisjoint({"trajectories", "verification"})
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    with pytest.raises(NoTrajectoriesError, match="trajectories: true"):
        results.open_trajectories(evaluation)


TOLD: dict[str, Any] = {
    "files": ["openaigym.trajectories.0.1.zst"],
    "bytes": 1,
    "episodes": 2,
    "recorded": 3,
    "kept": "full",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"files": []},
        {"files": ["../evaluation.json"]},
        {"files": ["openaigym.trajectories./etc"]},
        {"files": "x"},
        {"bytes": 1.5},
        {"recorded": None},
        {"kept": "all"},
        {"problem": 5},
        {"environment": []},
    ],
    ids=repr,
)
def test_trajectories_of_another_form_make_no_evaluation(evaluation: Evaluation, changed: dict[str, Any]) -> None:
    """What a target says is checked: names lead to no other file, numbers are numbers."""
    told = {**evaluation.to_json(), "trajectories": TOLD}
    assert Evaluation.from_json(told).to_json() == told
    with pytest.raises(ValueError, match="trajectories"):
        Evaluation.from_json({**told, "trajectories": {**TOLD, **changed}})


def test_a_file_of_trajectories_that_is_not_there_is_refused(results: Results, tmp_path: Path) -> None:
    """So is one that the manifest names outside the recording."""
    record(tmp_path / "run")
    [path] = (tmp_path / "run").glob("*.manifest.json")
    manifest = json.loads(path.read_text())
    for name in ("openaigym.trajectories.0.1.zst", "../secret", "/etc/passwd"):
        path.write_text(json.dumps({**manifest, "trajectories": name}))
        with pytest.raises(Exception, match="trajectories"):
            results.upload("run", "key", None)


def test_trajectories_that_cannot_be_read_are_carried_and_told(results: Results, tmp_path: Path) -> None:
    """The scores count without them, and the evaluation says why they cannot be verified."""
    record(tmp_path / "run")
    name = "openaigym.trajectories.0.1.zst"
    (tmp_path / "run" / name).write_bytes(b"damaged")
    [path] = (tmp_path / "run").glob("*.manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "trajectories": name}))
    made = results.upload("run", "key", None)
    assert isinstance(made.trajectories, EvaluatedTrajectories)
    assert (made.trajectories.files, made.trajectories.size, made.trajectories.kept) == ((name,), 7, None)
    assert "damaged" in (made.trajectories.problem or "")
    assert (folder_of(made, tmp_path) / name).read_bytes() == b"damaged"
