"""Recording over HTTP: what may be asked for, where, and that nothing recorded is lost with a process or the server."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_http_server import load_results
from gym_http_server.results.trajectories import open_trajectories
from tests.conftest import KINDS, start
from tests.support import old_gym
from tests.support.serving import Server, living

SHORT = "tests/Short-v0"
"""Its episodes take three steps."""


def begin(server: Server, directory: Path | str, env_id: str = SHORT, **options: Any) -> str:
    """Make an environment and record it."""
    env = server.create(env_id)
    answer = server.post(f"{env}/monitor/start/", {"directory": str(directory), **options})
    assert (answer.status, answer.json) == (200, {}), answer.body
    return env


def play(server: Server, env: str, episodes: int) -> None:
    for _ in range(episodes):
        assert server.post(f"{env}/reset/").status == 200
        while not server.post(f"{env}/step/", {"action": "x"}).json["done"]:
            pass


def kept(directory: Path, length: int = 3) -> list[bool]:
    """Return for each recorded episode whether it is complete, after a look at all of its values."""
    with open_trajectories(directory) as recorded:
        episodes = list(recorded)
        for episode in episodes:
            steps = list(zip(episode.actions, episode.rewards, episode.terminated, episode.truncated, strict=True))
            assert len(list(episode.observations or ())) == len(list(episode.infos or ())) == len(steps) + 1
            assert len(steps) == length or not episode.is_complete
        return [episode.is_complete for episode in episodes]


def lengths(directory: Path) -> list[int]:
    found = load_results(directory)
    if old_gym.source() is not None:
        theirs = old_gym.load(directory)
        assert {**found, "videos": [list(each) for each in found["videos"]]} == theirs
    return found["episode_lengths"]


def test_a_recording_from_its_start_to_its_end(server: Server, tmp_path: Path) -> None:
    """Start, episodes, state and close, wherever the requests are served; each episode is on disk at once."""
    env = begin(server, tmp_path)
    for count in (1, 2, 3):
        play(server, env, 1)
        assert lengths(tmp_path) == [3] * count
    told = server.get(f"{env}/monitor/").json
    assert told["enabled"] is True
    assert (told["trajectories"], told["trajectory_episodes"], told["trajectory_bytes"]) == ("none", 0, 0)
    assert told["directory"] == str(tmp_path.resolve())
    assert (told["episodes"], told["last_length"], told["mean_length"]) == (3, 3, 3.0)
    closed = server.post(f"{env}/monitor/close/")
    assert (closed.status, closed.json) == (200, {})
    play(server, env, 1)
    assert lengths(tmp_path) == [3] * 3
    assert server.get(f"{env}/monitor/").json == {**told, "enabled": False}
    assert server.post(f"{env}/close/").status == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 409),
        ({"force": "false", "resume": "false"}, 409),
        ({"force": None, "resume": None}, 409),
        ({"resume": True}, 200),
        ({"resume": "true"}, 200),
        ({"force": "true"}, 200),
        ({"force": "yes"}, 400),
        ({"resume": 1}, 400),
        ({"resume": True, "video_callable": "never"}, 400),
        ({"resume": True, "video_callable": [1]}, 400),
        ({"resume": True, "video-callable": True}, 200),
    ],
)
def test_a_second_recording_needs_force_or_resume(
    server: Server, tmp_path: Path, given: dict[str, Any], status: int
) -> None:
    """Both are booleans or the texts that old clients send, and a mistake is named."""
    play(server, begin(server, tmp_path), 1)
    answer = server.post(f"{server.create(SHORT)}/monitor/start/", {"directory": str(tmp_path), **given})
    assert answer.status == status, answer.body
    if status == 409:
        assert "force" in answer.message
        assert "resume" in answer.message
    if status == 400:
        assert next(name for name, value in given.items() if value is not True) in answer.message
    assert len(lengths(tmp_path)) == (0 if given.get("force") == "true" else 1)


@pytest.mark.parametrize("directory", ["/etc/x", "../../../../etc", "/proc/self/root/etc", "", None, 7])
def test_a_directory_elsewhere_is_refused(server: Server, directory: Any) -> None:
    """What lies outside the roots is a 403 that names them, and what is no directory is a 400."""
    answer = server.post(f"{server.create(SHORT)}/monitor/start/", {"directory": directory})
    if isinstance(directory, str) and directory:
        assert answer.status == 403
        assert "--results-root" in answer.message
        assert str(Path.cwd()) in answer.json["roots"]
    else:
        assert answer.status == 400
        assert "directory" in answer.message


def test_results_roots_are_settings(tmp_path: Path) -> None:
    """With --results-root only what is below one of them is written to, a relative directory below the first."""
    roots = [tmp_path / "a", tmp_path / "b"]
    options = [option for root in roots for option in ("--results-root", str(root))]
    with start("process", *options) as server:
        play(server, begin(server, "below"), 1)
        assert lengths(roots[0] / "below") == [3]
        play(server, begin(server, roots[1] / "x"), 1)
        refused = server.post(f"{server.create(SHORT)}/monitor/start/", {"directory": str(tmp_path / "c")})
        assert refused.status == 403
        assert all(str(root) in refused.message for root in roots)
        kept = server.post(f"{server.create(SHORT)}/monitor/start/", {"directory": "evaluations/CartPole-v1/x"})
        assert kept.status == 403
        assert "evaluations" in kept.message


def test_several_roots_in_the_variable_are_separated_as_in_path(tmp_path: Path) -> None:
    """A directory with a blank in its name can be named there."""
    roots = [tmp_path / "a b", tmp_path / "c"]
    variables = {"GYM_HTTP_SERVER_RESULTS_ROOT": os.pathsep.join(map(str, roots))}
    with Server("--import", "tests.support.troublemakers", environment=variables) as server:
        for root in roots:
            play(server, begin(server, root / "x"), 1)
            assert lengths(root / "x") == [3]


def test_two_instances_record_into_one_directory(server: Server, tmp_path: Path) -> None:
    """Their episodes are merged when the directory is read."""
    first = begin(server, tmp_path)
    second = begin(server, tmp_path, resume=True)
    for env in (first, second, first):
        play(server, env, 1)
    assert lengths(tmp_path) == [3] * 3


def test_every_lane_of_a_batch_is_recorded(server: Server, tmp_path: Path) -> None:
    """A batch of two whose episodes take three steps completes two with every fourth step."""
    env = server.create(SHORT, num_envs=2)
    server.post(f"{env}/monitor/start/", {"directory": str(tmp_path)})
    server.post(f"{env}/batch/reset/")
    for _ in range(11):
        assert server.post(f"{env}/batch/step/", {"actions": ["x", "x"]}).status == 200
    assert lengths(tmp_path) == [3] * 6


@pytest.mark.parametrize(("asked", "told"), [(True, "full"), ("actions", "actions")])
def test_a_monitor_keeps_trajectories_and_tells_how_many(
    server: Server, tmp_path: Path, asked: bool | str, told: str
) -> None:
    """Every completed episode is read at once, with all of it or with its actions; the state tells episodes and bytes."""
    env = begin(server, tmp_path, trajectories=asked)
    for count in (1, 2):
        play(server, env, 1)
        with open_trajectories(tmp_path) as recorded:
            assert (recorded.env_id, recorded.kept, recorded.notes) == (SHORT, told, [])
            episodes = list(recorded)
        assert [list(each.actions) for each in episodes] == [["x"] * 3] * count
        assert {each.observations is None for each in episodes} == {told == "actions"}
        state = server.get(f"{env}/monitor/").json
        assert (state["trajectories"], state["trajectory_episodes"]) == (told, count)
        [path] = tmp_path.glob("openaigym.trajectories.*")
        assert state["trajectory_bytes"] == path.stat().st_size
    assert lengths(tmp_path) == [3, 3]


def test_an_unknown_kind_of_trajectories_is_refused(server: Server, tmp_path: Path) -> None:
    """The error names the value and those that are expected, and nothing is recorded."""
    env = server.create(SHORT)
    answer = server.post(f"{env}/monitor/start/", {"directory": str(tmp_path / "new"), "trajectories": "most"})
    assert answer.status == 400
    assert "'most'" in answer.message
    assert "'actions'" in answer.message
    assert not (tmp_path / "new").exists()


def test_an_environment_of_gym_is_recorded(server: Server, tmp_path: Path) -> None:
    """The recording names its library, whichever of the two it is of."""
    env = server.create("CartPole-v0", library="gym")
    assert server.post(f"{env}/monitor/start/", {"directory": str(tmp_path), "video_callable": 1}).status == 200
    server.post(f"{env}/reset/")
    count = 1
    while not server.post(f"{env}/step/", {"action": 1}).json["done"]:
        count += 1
    assert server.post(f"{env}/close/").status == 200
    assert lengths(tmp_path) == [count]
    assert load_results(tmp_path)["env_info"]["gym_version"].startswith("gym 0.26")
    assert len(load_results(tmp_path)["videos"]) == 1


def test_the_death_of_an_environment_loses_no_episode(process_server: Server, tmp_path: Path) -> None:
    """What was completed is on disk and loads, and another instance records on."""
    env = begin(process_server, tmp_path, trajectories=True)
    play(process_server, env, 3)
    process_server.post(f"{env}/reset/")
    assert process_server.post(f"{env}/step/", {"action": "abort"}).status == 502
    assert lengths(tmp_path) == [3] * 3
    assert kept(tmp_path) == [True] * 3
    assert process_server.get(f"{env}/monitor/").status == 410
    play(process_server, begin(process_server, tmp_path, resume=True, trajectories=True), 1)
    assert lengths(tmp_path) == [3] * 4
    assert kept(tmp_path) == [True] * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_server_loses_no_episode(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    """After SIGTERM and after SIGKILL every episode that was answered is there, in each lane and each instance."""
    with start(kind) as server:
        envs = [begin(server, tmp_path / name, trajectories=True) for name in ("a", "b")]
        for env in envs:
            play(server, env, 4)
        server.post(f"{envs[0]}/reset/")
        server.post(f"{envs[0]}/step/", {"action": "x"})
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.kill(number)
        assert not living(children, 20)
    for name in ("a", "b"):
        assert lengths(tmp_path / name) == [3] * 4
        assert [is_complete for is_complete in kept(tmp_path / name) if is_complete] == [True] * 4
        manifests = list((tmp_path / name).glob("openaigym.manifest.*"))
        assert [json.loads(path.read_text())["env_info"]["env_id"] for path in manifests] == [SHORT]


def test_closing_an_instance_closes_its_monitor(server: Server, tmp_path: Path) -> None:
    """Nothing of a recording but its own files is left in the directory."""
    env = begin(server, tmp_path)
    play(server, env, 2)
    server.post(f"{env}/close/")
    assert lengths(tmp_path) == [3, 3]
    assert not list(tmp_path.glob("openaigym.partial*"))
