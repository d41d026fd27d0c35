"""LeRobot: the documented layout of version v3.0, read with pyarrow and PyAV."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pyarrow.parquet as pq
import pytest

from gym_http_server.datasets import lerobot_format
from gym_http_server.datasets.survey import Survey
from gym_http_server.errors import ExportError
from gym_http_server.results.trajectories import RecordedEpisode, open_trajectories
from tests.support.stepping import record_steps


class Seen(gymnasium.Env[Any, Any]):
    """Observes a gray image of odd size, an RGB image and a matrix."""

    def __init__(self) -> None:
        spaces = gymnasium.spaces
        self.observation_space = spaces.Dict(
            {
                "front": spaces.Box(0, 255, (33, 47), np.uint8),
                "side": spaces.Box(0, 255, (32, 48, 3), np.uint8),
                "pose": spaces.Box(-1, 1, (2, 3), np.float64),
            }
        )
        self.action_space = spaces.Box(-1, 1, (3,))

    def _observed(self) -> Any:
        shade = 40 * self.steps + 20
        front, side = np.full((33, 47), shade, np.uint8), np.full((32, 48, 3), (shade, 10, 200), np.uint8)
        return {"front": front, "side": side, "pose": self.np_random.random((2, 3))}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._observed(), self.steps / 8, self.steps == 4, False, {}


gymnasium.register("tests/Seen-v0", Seen)


def export(recording: Path, directory: Path, **options: Any) -> tuple[list[RecordedEpisode], dict[str, Any]]:
    """Return the complete episodes, and what info.json says."""
    directory.mkdir()
    with open_trajectories(recording) as trajectories:
        survey = Survey()
        for episode in trajectories:
            survey.add(episode)
        lerobot_format.write(directory, survey, trajectories, **{"fps": 10, "task": "look", **options})
        complete = [episode for episode in trajectories if episode.is_complete]
        for episode in complete:
            list(episode.actions)  # while the file is open
        return complete, json.loads((directory / "meta/info.json").read_text())


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_vectors_are_rows_of_parquet(tmp_path: Path) -> None:
    """A row for each action, to the bit, with the columns that LeRobot's loader asks for."""
    record_steps(tmp_path / "recording", "Pendulum-v1", episodes=2, max_episode_steps=6, extra_steps=2)
    _, info = export(tmp_path / "recording", tmp_path / "set")
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (2, 12, 10)
    assert info["splits"] == {"train": "0:2"}
    assert info["video_path"] is None
    table = pq.read_table(tmp_path / "set" / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(table.column_names) == set(info["features"])
    with open_trajectories(tmp_path / "recording") as trajectories:
        episodes = [each for each in trajectories if each.is_complete]
        observations = np.array([value for each in episodes for value in list(each.observations)[:-1]])
        rewards = np.array([value for each in episodes for value in each.rewards])
    state = np.array(table["observation.state"].to_pylist(), np.float32)
    assert state.tobytes() == observations.tobytes()
    assert table["next.reward"].to_numpy().tobytes() == rewards.tobytes()
    assert table["episode_index"].to_pylist() == [0] * 6 + [1] * 6
    assert table["frame_index"].to_pylist() == [*range(6)] * 2
    assert table["index"].to_pylist() == [*range(12)]
    assert table["timestamp"].to_pylist()[:2] == [0.0, pytest.approx(0.1)]
    assert table["next.done"].to_pylist() == ([False] * 5 + [True]) * 2
    assert table["next.truncated"].to_pylist() == ([False] * 5 + [True]) * 2


def test_meta_files_tell_of_episodes_tasks_and_statistics(tmp_path: Path) -> None:
    """Episodes say where their rows are, tasks are indexed for pandas, and statistics are those of all rows."""
    record_steps(tmp_path / "recording", "Pendulum-v1", episodes=3, max_episode_steps=5)
    export(tmp_path / "recording", tmp_path / "set")
    meta = tmp_path / "set" / "meta"
    rows = pq.read_table(meta / "episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 5), (5, 10), (10, 15)]
    assert [(row["length"], row["tasks"], row["data/file_index"]) for row in rows] == [(5, ["look"], 0)] * 3
    tasks = pq.read_table(meta / "tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "look"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    state = np.array(pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")["observation.state"].to_pylist())
    told = json.loads((meta / "stats.json").read_text())["observation.state"]
    assert told["count"] == [15]
    for name, expected in (
        ("min", state.min(0)),
        ("max", state.max(0)),
        ("mean", state.mean(0)),
        ("std", state.std(0)),
    ):
        assert told[name] == pytest.approx(expected), name
        assert rows[0][f"stats/observation.state/{name}"] == pytest.approx(getattr(state[:5], name)(0))


def test_images_are_frames_of_videos(tmp_path: Path) -> None:
    """Episodes follow each other in one file, where each says its seconds; gray images and odd sizes are videos as well."""
    record_steps(tmp_path / "recording", "tests/Seen-v0", episodes=3)
    _, info = export(tmp_path / "recording", tmp_path / "set")
    assert info["features"]["observation.images.front"]["shape"] == [33, 47, 3]
    assert info["features"]["observation.images.side"]["info"]["video.pix_fmt"] == "yuv420p"
    assert info["features"]["observation.pose"] == {"dtype": "float64", "shape": [2, 3], "names": None}
    rows = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for name, expected in (("front", lambda shade: (shade,) * 3), ("side", lambda shade: (shade, 10, 200))):
        key = f"observation.images.{name}"
        path = tmp_path / "set" / info["video_path"].format(video_key=key, chunk_index=0, file_index=0)
        shown = frames(path)
        assert [time for time, _ in shown] == pytest.approx([at / 10 for at in range(12)])
        for at, (_, image) in enumerate(shown):
            assert np.abs(image.astype(int) - expected(40 * (at % 4) + 20)).max() <= 6
        seconds = [(row[f"videos/{key}/from_timestamp"], row[f"videos/{key}/to_timestamp"]) for row in rows]
        assert seconds == [(0.0, pytest.approx(0.4)), (0.4, 0.8), (0.8, pytest.approx(1.2))]
    told = json.loads((tmp_path / "set/meta/stats.json").read_text())["observation.images.side"]
    assert np.array(told["mean"]).shape == (3, 1, 1)
    assert np.ravel(told["mean"]) == pytest.approx([80 / 255, 10 / 255, 200 / 255])
    assert told["count"] == [12]
    pose = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")["observation.pose"].to_pylist()
    assert np.array(pose).shape == (12, 2, 3)


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode begins another file where the last one is full, and its row says which."""
    monkeypatch.setattr(lerobot_format, "_MB", 0)
    record_steps(tmp_path / "recording", "tests/Seen-v0", episodes=2)
    _, info = export(tmp_path / "recording", tmp_path / "set")
    rows = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    key = "observation.images.side"
    assert [row["data/file_index"] for row in rows] == [0, 1]
    assert [(row[f"videos/{key}/file_index"], row[f"videos/{key}/from_timestamp"]) for row in rows] == [
        (0, 0.0),
        (1, 0.0),
    ]
    for at in range(2):
        assert pq.read_table(tmp_path / "set" / info["data_path"].format(chunk_index=0, file_index=at)).num_rows == 4
        assert (
            len(frames(tmp_path / "set" / info["video_path"].format(video_key=key, chunk_index=0, file_index=at))) == 4
        )


def test_what_has_no_form_is_refused_by_name(tmp_path: Path) -> None:
    """Observations whose shapes vary have no column in a LeRobot dataset."""

    class Grows(Seen):
        def _observed(self) -> Any:
            return {**super()._observed(), "pose": np.zeros((self.steps + 1, 3))}

    gymnasium.register("tests/Widens-v0", Grows)
    record_steps(tmp_path / "recording", "tests/Widens-v0", episodes=1)
    with pytest.raises(ExportError, match=r"no form for observation\.pose.*parquet"):
        export(tmp_path / "recording", tmp_path / "set")
