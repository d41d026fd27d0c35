"""The monitor: which episodes it records, in single environments and in every lane of a batch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.errors import InvalidValueError, RecordingExistsError, RecordingFailedError, RenderModeError
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.recording.monitor import NO_MONITOR, schedule
from gym_http_server.runtime.recording.replaced_file import ReplacedFile
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served

from .test_recording import names


class Scripted(gymnasium.Env):
    """Does what the action says: its reward, and whether the episode goes on, terminates or is truncated."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}  # noqa: RUF012 -- as Gymnasium has it
    action_space = gymnasium.spaces.MultiDiscrete([9, 3])
    observation_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:  # noqa: ARG002 -- Gymnasium's signature
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return 1, (int(action[0]) - 4) / 2, int(action[1]) == 1, int(action[1]) == 2, {}

    def render(self) -> np.ndarray[Any, Any]:
        raise RuntimeError("no screen")


gymnasium.register("tests/Scripted-v0", Scripted)

ACTIONS = st.tuples(st.integers(0, 8), st.sampled_from([0, 0, 0, 1, 2])).map(list)
CALLS = st.lists(st.just("reset") | ACTIONS | ACTIONS | st.sampled_from(["start", "close"]), max_size=40)


def recorded(directory: Path) -> list[tuple[float, int]]:
    """Return the episodes of all recordings below a directory, in the order in which they were written."""
    found = []
    for path in sorted(
        directory.glob("**/openaigym.episode_batch.*.stats.json"), key=lambda each: int(each.parent.name)
    ):
        stats = json.loads(path.read_text())
        found += list(zip(stats["episode_rewards"], stats["episode_lengths"], strict=True))
    return found


def state(served: Served) -> dict[str, Any]:
    return json.loads(served.call("monitor", {}).body)


@given(CALLS)
@settings(deadline=None)
def test_all_episodes_from_the_first_reset_on_are_recorded_and_no_others(calls: list[Any]) -> None:
    """An episode under way at the start, one that a reset cuts short and steps beyond an end do not count."""
    with tempfile.TemporaryDirectory() as name:
        served = open_served(CreateRequest("tests/Scripted-v0"))
        served.call("reset", {})
        expected: list[tuple[float, int]] = []
        episode: list[float] | None = None
        is_on, started = False, 0
        for call in calls:
            if call == "reset":
                served.call("reset", {})
                episode = [] if is_on else None
            elif call == "start":
                served.call("monitor_start", {"directory": f"{name}/{started}"})
                is_on, episode, started = True, None, started + 1
            elif call == "close":
                served.call("monitor_close", {})
                is_on, episode = False, None
            else:
                served.call("step", {"action": call})
                if episode is not None:
                    episode.append((call[0] - 4) / 2)
                    if call[1]:
                        expected.append((sum(episode), len(episode)))
                        episode = None
            assert recorded(Path(name)) == expected
            assert state(served)["enabled"] is is_on
        served.close()
        assert recorded(Path(name)) == expected


@given(
    st.sampled_from(["next_step", "same_step", "disabled"]),
    st.lists(st.lists(ACTIONS, min_size=3, max_size=3), max_size=25),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
@settings(deadline=None)
def test_the_episodes_of_every_lane_are_recorded(mode: str, steps: list[Any], mask: list[bool]) -> None:
    """Each lane's episodes are those that a client would count, whatever happens at their ends."""
    with tempfile.TemporaryDirectory() as name:
        served = open_served(
            CreateRequest("tests/Scripted-v0", num_envs=3, vectorization_mode="sync", autoreset_mode=mode)
        )
        served.call("monitor_start", {"directory": f"{name}/0"})
        served.call("batch_reset", {})
        rewards: list[list[float]] = [[], [], []]
        ended = [False] * 3
        expected = []
        for index, actions in enumerate(steps):
            if mode == "disabled" and any(ended):
                served.call("batch_reset", {"reset_mask": ended})
                rewards = [[] if end else lane for lane, end in zip(rewards, ended, strict=True)]
                ended = [False] * 3
            elif mode == "disabled" and index == 5 and any(mask):
                served.call("batch_reset", {"reset_mask": mask})
                rewards = [[] if each else lane for lane, each in zip(rewards, mask, strict=True)]
            served.call("batch_step", {"actions": actions})
            for lane, (reward, end) in enumerate(actions):
                if ended[lane] and mode == "next_step":
                    ended[lane] = False
                    continue
                rewards[lane].append((reward - 4) / 2)
                ended[lane] = bool(end)
                if end:
                    expected.append((sum(rewards[lane]), len(rewards[lane])))
                    rewards[lane] = []
        assert recorded(Path(name)) == expected
        assert served.usage.episodes == len(expected)
        served.close()


def test_an_environments_own_vector_implementation_is_recorded(tmp_path: Path) -> None:
    """The episodes of a batch made by an entry point are as long as their returns say, in CartPole."""
    served = open_served(CreateRequest("CartPole-v1", num_envs=8, seed=1))
    assert served.description.vectorization_mode == "vector_entry_point"
    served.call("monitor_start", {"directory": str(tmp_path / "0")})
    served.call("batch_reset", {})
    for index in range(200):
        served.call("batch_step", {"actions": [index % 2] * 8})
    found = recorded(tmp_path)
    assert len(found) == served.usage.episodes > 8
    assert all(total == length for total, length in found)
    served.close()


def test_the_state_tells_what_has_been_recorded(tmp_path: Path) -> None:
    """Before the first monitor there is nothing; afterwards means and the last episode, also when it is closed."""
    served = open_served(CreateRequest("tests/Scripted-v0"))
    assert state(served) == NO_MONITOR
    served.call("monitor_close", {})
    served.call("monitor_start", {"directory": str(tmp_path)})
    assert state(served) == {**NO_MONITOR, "enabled": True, "directory": str(tmp_path)}
    for rewards in ([8, 6], [5]):
        served.call("reset", {})
        for reward in rewards:
            served.call("step", {"action": [reward, int(reward == rewards[-1])]})
    told = {
        **NO_MONITOR,
        "directory": str(tmp_path),
        "episodes": 2,
        "last_return": 0.5,
        "mean_return": 1.75,
        "last_length": 1,
        "mean_length": 1.5,
    }
    assert state(served) == {**told, "enabled": True}
    served.call("monitor_close", {})
    served.call("monitor_close", {})
    assert state(served) == {**told, "enabled": False}
    served.close()


def test_a_rollout_is_recorded_too(tmp_path: Path) -> None:
    """Its steps and the resets between its episodes count as those that are asked for one by one."""
    served = open_served(CreateRequest("CartPole-v1", seed=3))
    served.call("monitor_start", {"directory": str(tmp_path / "0")})
    served.call("rollout", {"limit": 1 << 20, "episodes": 5})
    assert len(recorded(tmp_path)) == 5
    assert sum(length for _, length in recorded(tmp_path)) == served.usage.steps
    served.close()


def test_a_start_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    """Neither the files that are there nor a monitor that is on suffer from a mistake."""
    served = open_served(CreateRequest("tests/Scripted-v0", render_mode="rgb_array"))
    served.call("monitor_start", {"directory": str(tmp_path / "0")})
    before = names(tmp_path / "0")
    wrong = [
        ({"directory": str(tmp_path / "0"), "force": True, "video_callable": "all"}, InvalidValueError),
        ({"directory": str(tmp_path / "0"), "force": True, "video_callable": -1}, InvalidValueError),
        ({"directory": str(tmp_path / "0"), "force": True, "video_callable": 1.5}, InvalidValueError),
        ({"directory": "/proc/1/x"}, RecordingFailedError),
    ]
    for arguments, error in wrong:
        with pytest.raises(error):
            served.call("monitor_start", arguments)
        assert names(tmp_path / "0") == before
    served.call("reset", {})
    served.call("step", {"action": [8, 1]})
    assert recorded(tmp_path) == [(2.0, 1)]
    with pytest.raises(RecordingExistsError):
        served.call("monitor_start", {"directory": str(tmp_path / "0")})
    served.close()


def test_an_environment_that_cannot_be_filmed_says_so_at_the_start(tmp_path: Path) -> None:
    """Without a render mode, or where rendering fails, a start with videos is refused; one without them is not."""
    blind = open_served(CreateRequest("tests/Scripted-v0", render_mode="rgb_array"))
    blind.call("reset", {})
    with pytest.raises(RenderModeError, match="no screen"):
        blind.call("monitor_start", {"directory": str(tmp_path / "a"), "video_callable": True})
    assert not (tmp_path / "a").exists()
    blind.call("monitor_start", {"directory": str(tmp_path / "a"), "video_callable": False})
    blind.close()


def test_a_start_with_force_in_the_same_directory_begins_anew(tmp_path: Path) -> None:
    """What the monitor that was on had recorded there is deleted with the rest."""
    served = open_served(CreateRequest("tests/Scripted-v0"))
    for reward in (8, 6):
        served.call("monitor_start", {"directory": str(tmp_path / "0"), "force": True})
        served.call("reset", {})
        served.call("step", {"action": [reward, 1]})
    assert recorded(tmp_path) == [(1.0, 1)]
    served.close()
    assert recorded(tmp_path) == [(1.0, 1)]


def test_what_cannot_be_written_fails_no_step_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk steps are answered, the state names the error, and a close says what it could not write."""
    served = open_served(CreateRequest("tests/Scripted-v0"))
    served.call("monitor_start", {"directory": str(tmp_path / "0")})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ReplacedFile, "replace", full)
        served.call("reset", {})
        served.call("step", {"action": [8, 1]})
        assert "No space left" in state(served)["error"]
        with pytest.raises(RecordingFailedError, match="No space left"):
            served.call("monitor_close", {})
        assert state(served)["enabled"] is True
    served.call("monitor_close", {})
    assert recorded(tmp_path) == [(2.0, 1)]
    assert state(served)["error"] is None
    served.close()


@pytest.mark.parametrize(
    ("video_callable", "first"),
    [
        (None, []),
        (False, []),
        (0, []),
        (True, [0, 1, 8, 27, 64, 125, 216, 343, 512, 729, 1000, 2000, 3000]),
        ("capped_cubic", [0, 1, 8, 27, 64, 125, 216, 343, 512, 729, 1000, 2000, 3000]),
        (700, [0, 700, 1400, 2100, 2800]),
        (1, list(range(3001))),
    ],
)
def test_video_callable_names_episodes_as_gym_did(video_callable: Any, first: list[int]) -> None:
    """False is none, an integer every Nth, true the cubes up to 1000 and then each 1000th."""
    is_filmed = schedule(video_callable)
    assert (is_filmed is None) == (not first)
    if is_filmed is not None:
        assert [episode for episode in range(3001) if is_filmed(episode)] == first
