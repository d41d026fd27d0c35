"""Videos of a monitor: which files there are, that they are listed when they are complete, and what their frames are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import pytest

from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.support import old_gym

from .test_monitor import state


def listed(directory: Path) -> list[tuple[str, str]]:
    """Return the videos that the manifests of a directory list, and assert that all is there."""
    found = []
    for path in sorted(directory.glob("openaigym.manifest.*.manifest.json")):
        found += [tuple(each) for each in json.loads(path.read_text())["videos"]]
    for video, meta in found:
        assert (directory / video).is_file()
        assert json.loads((directory / meta).read_text()).keys() == {"episode_id", "content_type", "encoder_version"}
    return found


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def play(served: Any, episodes: int) -> list[int]:
    """Play so many episodes; return their lengths."""
    lengths = []
    for _ in range(episodes):
        served.call("reset", {})
        length = 0
        done = False
        while not done:
            done = json.loads(served.call("step", {"action": length % 2}).body)["done"]
            length += 1
        lengths.append(length)
    return lengths


def test_every_nth_episode_has_a_video_with_a_frame_for_each_step(tmp_path: Path) -> None:
    """A video shows the first observation and what each step led to, and is listed with its metadata."""
    served = open_served(CreateRequest("CartPole-v1", seed=1))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": 2})
    lengths = play(served, 5)
    videos = listed(tmp_path)
    assert [name[-14:] for name, _ in videos] == [f"video{episode:06}.mp4"[-14:] for episode in (0, 2, 4)]
    assert [frames(tmp_path / name) for name, _ in videos] == [lengths[episode] + 1 for episode in (0, 2, 4)]
    for (video, meta), episode in zip(videos, (0, 2, 4), strict=True):
        told = json.loads((tmp_path / meta).read_text())
        assert (told["episode_id"], told["content_type"]) == (episode, "video/mp4")
        assert meta == video.replace(".mp4", ".meta.json")
    assert state(served)["videos"] == [name for name, _ in videos]
    assert state(served)["error"] is None
    served.close()


def test_a_video_of_an_episode_that_was_not_completed_is_kept(tmp_path: Path) -> None:
    """A reset, the end of the monitor and the end of the instance finish the video that is under way."""
    served = open_served(CreateRequest("CartPole-v1", seed=1))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": 1})
    for end in ("reset", "monitor_close", "close"):
        if end == "close":
            served.call("monitor_start", {"directory": str(tmp_path), "video_callable": 1, "resume": True})
        served.call("reset", {})
        for action in (0, 1, 0):
            served.call("step", {"action": action})
        if end == "close":
            served.close()
        else:
            served.call(end, {})
    videos = listed(tmp_path)
    # That of the second is the first frame of an episode that a reset cut short at once.
    assert [frames(tmp_path / name) for name, _ in videos] == [4, 1, 4, 4]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_lanes_are_filmed_apart(tmp_path: Path, mode: str) -> None:
    """Each lane's episodes are counted among those of all lanes, and each video is of one lane."""
    served = open_served(CreateRequest("CartPole-v1", seed=1, num_envs=3, vectorization_mode=mode))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": 2})
    served.call("batch_reset", {})
    for _ in range(30):
        served.call("batch_step", {"actions": [1, 1, 1]})
    complete = state(served)["videos"]
    served.call("monitor_close", {})
    stats = json.loads(next(tmp_path.glob("*.stats.json")).read_text())
    assert len(complete) >= 3
    assert [name for name, _ in listed(tmp_path)][: len(complete)] == complete
    # A frame for its beginning and one for each step.
    assert all(frames(tmp_path / name) - 1 in stats["episode_lengths"] for name in complete)
    served.close()


def test_an_environment_that_renders_text_has_an_asciicast(tmp_path: Path) -> None:
    """Its metadata has the type that Gym gave it."""
    served = open_served(CreateRequest("FrozenLake-v1", seed=1, render_mode="ansi"))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": True})
    served.call("reset", {})
    done = False
    count = 1
    while not done:
        done = json.loads(served.call("step", {"action": 1}).body)["done"]
        count += 1
    [(video, meta)] = listed(tmp_path)
    cast = json.loads((tmp_path / video).read_text())
    assert cast["version"] == 1
    assert len(cast["stdout"]) == count
    assert json.loads((tmp_path / meta).read_text())["content_type"] == "video/vnd.openai.ansivid"
    served.close()


def test_rendering_that_fails_in_the_middle_costs_the_video_and_no_step(tmp_path: Path) -> None:
    """An environment that cannot render after all plays on, and the state says what happened."""
    served = open_served(CreateRequest("tests/Scripted-v0", render_mode="rgb_array"))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": True})
    served.call("reset", {})
    served.call("step", {"action": [8, 1]})
    assert "no screen" in state(served)["error"]
    assert state(served)["episodes"] == 1
    assert listed(tmp_path) == []
    served.close()


@pytest.mark.skipif(
    old_gym.source() is None, reason=f"needs the source of gym 0.9.7 in ${old_gym.VARIABLE}, as CI has it"
)
def test_gym_0_9_7_finds_the_videos(tmp_path: Path) -> None:
    """Its own `load_results` returns the paths of the videos and of their metadata."""
    served = open_served(CreateRequest("CartPole-v1", seed=1))
    served.call("monitor_start", {"directory": str(tmp_path), "video_callable": 1})
    play(served, 2)
    served.close()
    found = old_gym.load(tmp_path)
    assert [[Path(path).exists() for path in pair] for pair in found["videos"]] == [[True, True]] * 2
    assert len(found["episode_rewards"]) == 2
