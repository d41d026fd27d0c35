"""Evaluations with trajectories: uploaded, verified by replay, and found out where they claim something else."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from gym_http_server.runtime.recording.trajectories import file as trajectory_file

from ..conftest import start
from ..support.serving import Server, eventually

DONE = {"verified", "different", "impossible"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


OPTIONS = ("--import", "tests.support.fickle_envs", "--import", "tests.support.reward_envs", "--call-timeout", "5")


@pytest.fixture(scope="module")
def serving(root: Path) -> Iterator[Server]:
    """A server whose clients may have one instance."""
    target = root / "kept"
    with start(
        "handover", "--results-root", str(root), "--upload-to", str(target), "--max-envs", "1", *OPTIONS
    ) as server:
        server.target = target
        yield server


def record(server: Server, name: str, env_id: str = "CartPole-v1", episodes: int = 3, **options: Any) -> str:
    """Record random episodes with trajectories; return the directory."""
    kept = options.pop("trajectories", True)
    path = server.create(env_id, **options)
    body = {"directory": name, "force": True, "trajectories": kept}
    assert server.post(f"{path}/monitor/start/", body).status == 200
    assert server.post(f"{path}/rollout/", {"policy": "random", "episodes": episodes, "seed": 5}).status == 200
    assert server.post(f"{path}/close/").status == 200
    return name


def upload(server: Server, directory: str, **body: Any) -> Any:
    answer = server.post("/v1/upload/", {"training_dir": directory, "api_key": "key", **body})
    assert answer.status == 200, answer.message
    return answer.json


def verified(server: Server, evaluation_id: str) -> dict[str, Any]:
    """Verify an evaluation; return the verdict."""
    started = server.post(f"/v1/evaluations/{evaluation_id}/verify/")
    assert started.status == 202, started.message
    assert started.json["state"] in ("waiting", "running")

    def verdict() -> Any:
        state = server.get(f"/v1/evaluations/{evaluation_id}/").json["verification"]
        return state if state["state"] in DONE else None

    return eventually(verdict)


def forged(server: Server, root: Path, name: str, change: Callable[[Path], None]) -> dict[str, Any]:
    """Record, change the recording, upload it and verify that; return the verdict."""
    record(server, name)
    change(root / name)
    return verified(server, upload(server, name)["evaluation_id"])


def test_a_recording_with_trajectories_earns_the_badge(serving: Server) -> None:
    """Upload says what came with it; the verdict is told with versions, by reply and list, and lies beside the evaluation."""
    made = upload(serving, record(serving, "right"))
    assert made["trajectories"]["kept"] == "full"
    assert made["trajectories"]["episodes"] == 3
    assert made["trajectories"]["bytes"] > 1000
    assert "verification" not in made
    verdict = verified(serving, made["evaluation_id"])
    assert (verdict["state"], verdict["done"], verdict["total"]) == ("verified", 3, 3), verdict
    assert {"python", "numpy", "gymnasium"} <= set(verdict["libraries"])
    listed = serving.get("/v1/evaluations/?verified=true").json["evaluations"]
    assert [each["verification"] for each in listed if each["evaluation_id"] == made["evaluation_id"]] == [verdict]
    [folder] = serving.target.rglob(made["evaluation_id"])
    assert json.loads((folder / "evaluation.json").read_text()).keys().isdisjoint({"verification"})
    assert len(list(folder.glob("verification.*.json"))) == 1
    assert serving.get("/v1/envs/").json["envs"] == {}


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("CartPole-v1", {"trajectories": "actions"}),
        ("FrozenLake-v1", {"kwargs": {"map_name": "8x8"}}),
        ("Taxi-v4", {"wrappers": [{"name": "TimeAwareObservation"}], "max_episode_steps": 7}),
        ("Pendulum-v1", {"max_episode_steps": 20, "autoreset": True}),
        ("Blackjack-v1", {}),
    ],
)
def test_what_an_environment_was_made_with_is_made_again(serving: Server, env_id: str, options: dict[str, Any]) -> None:
    """Kwargs, wrappers and step limit; observations of each kind of space; and where only actions are kept."""
    made = upload(serving, record(serving, "made", env_id, **options))
    told = made["trajectories"]["environment"]
    assert told["kwargs"] == options.get("kwargs", {})
    assert told["max_episode_steps"] == options.get("max_episode_steps")
    verdict = verified(serving, made["evaluation_id"])
    assert verdict["state"] == "verified", verdict


def test_a_batch_is_verified_lane_by_lane(serving: Server) -> None:
    """Episodes of several lanes come in the order in which they ended."""
    path = serving.create("CartPole-v1", num_envs=3, seed=3, vectorization_mode="sync")
    assert (
        serving.post(f"{path}/monitor/start/", {"directory": "lanes", "force": True, "trajectories": True}).status
        == 200
    )
    assert serving.post(f"{path}/batch/reset/", {}).status == 200
    for _ in range(120):
        assert serving.post(f"{path}/batch/step/", {"actions": [0, 1, 0]}).status == 200
    assert serving.post(f"{path}/close/").status == 200
    made = upload(serving, "lanes")
    assert made["episodes"] > 20
    verdict = verified(serving, made["evaluation_id"])
    assert (verdict["state"], verdict["done"]) == ("verified", made["episodes"]), verdict


def test_rewards_of_several_components_are_verified_by_component(serving: Server) -> None:
    """The scores are those of the component that was uploaded."""
    for form, component in (("vector", "1"), ("agents", "first")):
        made = upload(
            serving, record(serving, "several", "tests/Rewards-v0", kwargs={"form": form}), component=component
        )
        assert verified(serving, made["evaluation_id"])["state"] == "verified"


def change_stats(directory: Path, **changed: Any) -> None:
    [path] = directory.glob("*.stats.json")
    stats = json.loads(path.read_text())
    for name, change in changed.items():
        stats[name] = change(stats[name])
    path.write_text(json.dumps(stats))


def swapped(directory: Path) -> None:
    """Replace the trajectories by those of another recording."""
    [mine] = directory.glob("*.zst")
    [other] = (directory.parent / "other").glob("*.zst")
    shutil.copy(other, mine)


FORGERIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a return": (
        lambda path: change_stats(path, episode_rewards=lambda values: [500.0, *values[1:]]),
        "a return of 500 ",
    ),
    "a length": (
        lambda path: change_stats(path, episode_lengths=lambda values: [*values[:-1], 9]),
        "in 9 steps is claimed",
    ),
    "the order": (
        lambda path: change_stats(
            path, episode_rewards=lambda values: values[::-1], episode_lengths=lambda values: values[::-1]
        ),
        "is claimed, and the replay gives",
    ),
    "the trajectories": (swapped, "is claimed, and the replay gives"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_recording_that_claims_something_else_is_different(serving: Server, root: Path, forgery: str) -> None:
    """Returns, lengths and their order are those of the replay; true trajectories of another run do not help."""
    path = serving.create("CartPole-v1")
    assert (
        serving.post(f"{path}/monitor/start/", {"directory": "other", "force": True, "trajectories": True}).status
        == 200
    )
    assert serving.post(f"{path}/rollout/", {"policy": "random", "episodes": 3, "seed": 99}).status == 200
    assert serving.post(f"{path}/close/").status == 200
    change, reason = FORGERIES[forgery]
    verdict = forged(serving, root, "forged", change)
    assert verdict["state"] == "different", verdict
    assert reason in verdict["reason"]


def test_trajectories_of_an_easier_environment_do_not_verify_another(serving: Server) -> None:
    """The environment is the evaluation's: its id, and the kwargs and wrappers that the upload told."""
    made = upload(serving, record(serving, "plain"))
    easier = upload(
        serving, record(serving, "easier", wrappers=[{"name": "TimeLimit", "kwargs": {"max_episode_steps": 5}}])
    )
    for evaluation, other in ((made, easier), (easier, made)):
        [folder] = serving.target.rglob(evaluation["evaluation_id"])
        [file] = folder.glob("*.zst")
        kept = file.read_bytes()
        [source] = next(serving.target.rglob(other["evaluation_id"])).glob("*.zst")
        before = source.read_bytes()
        file.write_bytes(before)
        verdict = verified(serving, evaluation["evaluation_id"])
        assert verdict["state"] == "different"
        assert "of another environment: wrappers" in verdict["reason"]
        file.write_bytes(kept)


def test_scores_that_were_changed_after_the_verdict_lose_the_badge(serving: Server) -> None:
    """The verdict is one about the scores that it saw."""
    made = upload(serving, record(serving, "changed"))
    assert verified(serving, made["evaluation_id"])["state"] == "verified"
    [folder] = serving.target.rglob(made["evaluation_id"])
    text = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps({**text, "mean_return": 500.0}))
    with start("process", "--results-root", str(folder), "--upload-to", str(serving.target)) as another:
        one = another.get(f"/v1/evaluations/{made['evaluation_id']}/").json
        assert "verification" not in one
        verdict = verified(another, made["evaluation_id"])
    assert verdict["state"] == "different"
    assert verdict["reason"].startswith("mean_return is claimed to be 500.0")


def test_an_environment_that_is_not_there_is_impossible(serving: Server) -> None:
    """The verdict has the words with which `createEnv` would refuse it."""
    made = upload(serving, record(serving, "gone", "tests/Rewards-v0", kwargs={"form": "number"}))
    with start("process", "--results-root", str(serving.target.parent), "--upload-to", str(serving.target)) as another:
        verdict = verified(another, made["evaluation_id"])
    assert verdict["state"] == "impossible"
    assert "tests/Rewards-v0" in verdict["reason"]


@pytest.mark.parametrize(
    ("orders", "state", "reason"),
    [
        ("die", "impossible", "EnvironmentDiedError"),
        ("hang", "impossible", "CallTimeoutError"),
        ("raise", "impossible", "no more steps"),
        ("pay more", "different", "reward: 1.0 was recorded, now 2.0"),
    ],
)
def test_an_environment_that_misbehaves_ends_its_verification_only(
    serving: Server, root: Path, orders: str, state: str, reason: str
) -> None:
    """One that dies, hangs or raises is impossible, one that gives another reward different, with the episode and the step."""
    file = root / "orders"
    file.unlink(missing_ok=True)
    made = upload(serving, record(serving, "fickle", "tests/Fickle-v0", kwargs={"orders": str(file)}))
    assert verified(serving, made["evaluation_id"])["state"] == "verified"
    file.write_text(orders)
    verdict = verified(serving, made["evaluation_id"])
    assert (verdict["state"], verdict["episode"]) == (state, 0), verdict
    assert reason in verdict["reason"]
    assert verdict.get("step") == (3 if state == "different" else None)
    file.unlink()
    assert verified(serving, made["evaluation_id"])["state"] == "verified"


def test_what_a_target_says_of_an_environment_is_checked_like_a_request(serving: Server) -> None:
    """Kwargs that name code or a path outside the roots are refused, with the words of `createEnv`."""
    made = upload(serving, record(serving, "checked"))
    [folder] = serving.target.rglob(made["evaluation_id"])
    text = json.loads((folder / "evaluation.json").read_text())
    for kwargs in ({"xml_file": "/etc/passwd"}, {"reward": "os:system"}):
        text["trajectories"]["environment"]["kwargs"] = kwargs
        (folder / "evaluation.json").write_text(json.dumps(text))
        [file] = folder.glob("*.zst")
        rewrite(file, kwargs)
        with start(
            "inline", "--results-root", str(serving.target.parent), "--upload-to", str(serving.target)
        ) as another:
            verdict = verified(another, made["evaluation_id"])
        assert verdict["state"] == "impossible"
        assert next(iter(kwargs)) in verdict["reason"]


def rewrite(file: Path, kwargs: dict[str, Any]) -> None:
    """Have a file of trajectories say that its environment was made with `kwargs`."""
    parts: list[bytes] = []
    with file.open("rb") as source:
        for at, head in trajectory_file.heads(source):
            source.seek(at)
            record = source.read(trajectory_file.HEAD_BYTES + head.stored_bytes)
            parts.append(record)
        told = json.loads(trajectory_file.read_record(source, 0)[1])
    file.unlink()
    trajectory_file.TrajectoryFile(file, json.dumps({**told, "kwargs": kwargs}).encode()).close()
    with file.open("ab") as end:
        end.write(b"".join(parts[1:]))


def test_a_recording_that_began_without_trajectories_is_impossible(serving: Server) -> None:
    """Episodes without trajectories cannot be replayed, and one kind of batch neither: the verdict says why."""
    path = serving.create("CartPole-v1")
    for more in ({"force": True}, {"resume": True, "trajectories": True}):
        assert serving.post(f"{path}/monitor/start/", {"directory": "later", **more}).status == 200
        assert serving.post(f"{path}/rollout/", {"policy": "random", "episodes": 2}).status == 200
    assert serving.post(f"{path}/close/").status == 200
    verdict = verified(serving, upload(serving, "later")["evaluation_id"])
    assert verdict["state"] == "impossible", verdict


def test_what_cannot_be_verified_is_refused(serving: Server) -> None:
    """An evaluation without trajectories is a 409 that says what to do, an unknown one a 404, at upload and at all times."""
    path = serving.create("CartPole-v1")
    assert serving.post(f"{path}/monitor/start/", {"directory": "bare", "force": True}).status == 200
    assert serving.post(f"{path}/rollout/", {"policy": "random", "episodes": 1}).status == 200
    assert serving.post(f"{path}/close/").status == 200
    made = upload(serving, "bare")
    assert "trajectories" not in made
    answer = serving.post(f"/v1/evaluations/{made['evaluation_id']}/verify/")
    assert answer.status == 409
    assert "trajectories: true" in answer.message
    assert serving.post("/v1/evaluations/20260101T000000-00000000/verify/").status == 404


def test_a_recorded_episode_is_read_in_pages(serving: Server) -> None:
    """Values are those of the environment, in JSON and MessagePack, with the return so far; values may be left out."""
    made = upload(serving, record(serving, "read", "FrozenLake-v1"))
    path = f"/v1/evaluations/{made['evaluation_id']}/episodes/1/"
    states: list[dict[str, Any]] = []
    following: int | None = 0
    while following is not None:
        page = serving.get(f"{path}?start={following}&count=3").json
        assert len(page["states"]) <= 3
        states += page["states"]
        following = page["next"]
    assert [state["step"] for state in states] == list(range(page["steps"] + 1))
    assert (states[0]["observation"], states[0]["return"], "action" in states[0]) == (0, 0.0, False)
    assert states[-1]["terminated"] or states[-1]["truncated"]
    assert states[-1]["return"] == sum(state.get("reward", 0.0) for state in states)
    environment = gymnasium.make("FrozenLake-v1")
    seed = serving.get(f"/v1/evaluations/{made['evaluation_id']}/episodes/0/").json
    environment.reset(seed=int(seed["seed"]))
    assert [environment.step(state["action"])[0] for state in seed["states"][1:]] == [
        state["observation"] for state in seed["states"][1:]
    ]
    packed = serving.get(path, headers={"Accept": "application/msgpack"})
    assert packed.headers["content-type"] == "application/msgpack"
    assert "observation" not in serving.get(f"{path}?values=false").json["states"][0]
    assert serving.get(f"/v1/evaluations/{made['evaluation_id']}/episodes/99/").status == 404


def test_an_episode_is_drawn_again(serving: Server, root: Path) -> None:
    """Each frame is that of its step, the last too; beyond it is a 404; where the replay differs it is a 409 that says so."""
    file = root / "orders-of-drawing"
    made = upload(serving, record(serving, "drawn", "tests/Fickle-v0", kwargs={"orders": str(file)}))
    path = f"/v1/evaluations/{made['evaluation_id']}/episodes"
    for step in (3, 0, 5):
        answer = serving.get(f"{path}/2/frames/{step}/")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert np.array(Image.open(io.BytesIO(answer.body)))[0, 0, 0] == 40 * step
    assert serving.get(f"{path}/2/frames/6/").status == 404
    assert serving.get(f"{path}/9/frames/0/").status == 404
    file.write_text("raise")
    assert serving.get(f"{path}/0/frames/2/").status == 200
    assert serving.get(f"{path}/0/frames/3/").status == 502
    assert serving.get("/v1/envs/").json["envs"] == {}


def test_an_episode_that_gives_no_frames_says_so(serving: Server) -> None:
    """An environment without a render mode is a 409, a text is a text."""
    made = upload(serving, record(serving, "blind", "tests/Rewards-v0", kwargs={"form": "number"}))
    answer = serving.get(f"/v1/evaluations/{made['evaluation_id']}/episodes/0/frames/0/")
    assert answer.status == 409
    assert "no render mode" in answer.message
    made = upload(serving, record(serving, "text", "FrozenLake-v1", render_mode="ansi"))
    answer = serving.get(f"/v1/evaluations/{made['evaluation_id']}/episodes/0/frames/1/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")


def test_trajectories_are_downloaded_as_a_dataset(serving: Server, tmp_path: Path) -> None:
    """Parquet with a row for each observation; trajectories of actions alone are a 409 that says what to do."""
    made = upload(serving, record(serving, "dataset"))
    answer = serving.get(f"/v1/evaluations/{made['evaluation_id']}/dataset/")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        archive.extractall(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"steps.parquet", "episodes.parquet", "metadata.json"}
    rows = pyarrow.parquet.read_table(tmp_path / "steps.parquet").to_pylist()
    assert len(rows) == made["total_steps"] + made["episodes"]
    first = serving.get(f"/v1/evaluations/{made['evaluation_id']}/episodes/0/").json
    assert np.array_equal(rows[0]["observation"], np.array(first["states"][0]["observation"], np.float32))
    made = upload(serving, record(serving, "dataset", trajectories="actions"))
    answer = serving.get(f"/v1/evaluations/{made['evaluation_id']}/dataset/")
    assert answer.status == 409
    assert "gym-http-server export" in answer.message
