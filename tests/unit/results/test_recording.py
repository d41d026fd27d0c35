"""Reading recordings: what this server's monitor and old Gym wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gym_http_server
from gym_http_server.errors import NoRecordingError
from gym_http_server.results.recording import load_results, read_recording
from tests.support.recordings import BEGIN, record


def test_a_recording_of_gym_is_read_as_gym_did(tmp_path: Path) -> None:
    """The keys and values are those of gym 0.9.7's load_results."""
    record(tmp_path, [1.0, 2.5], version="0.9.7", lengths=[10, 11], videos=[0, 1])
    base = f"{tmp_path}/openaigym.video.0.4711.video00000"
    assert gym_http_server.load_results(str(tmp_path)) == {
        "manifests": [f"{tmp_path}/openaigym.manifest.0.4711.manifest.json"],
        "env_info": {"gym_version": "0.9.7", "env_id": "CartPole-v0"},
        "data_sources": [0, 0],
        "timestamps": [BEGIN + 1, BEGIN + 2],
        "episode_lengths": [10, 11],
        "episode_rewards": [1.0, 2.5],
        "episode_types": ["t", "t"],
        "initial_reset_timestamps": [BEGIN],
        "initial_reset_timestamp": BEGIN,
        "videos": [(f"{base}0.mp4", f"{base}0.meta.json"), (f"{base}1.mp4", f"{base}1.meta.json")],
    }


def test_several_recordings_of_a_directory_are_merged_by_the_ends_of_their_episodes(tmp_path: Path) -> None:
    """A long recording is split into several, and one that is resumed begins another."""
    record(tmp_path, [1, 2, 3], infix="0.1")
    record(tmp_path, [1.5, 2.5], infix="1.1", begin=BEGIN + 0.5)
    results = load_results(tmp_path)
    assert results["episode_rewards"] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert results["timestamps"] == sorted(results["timestamps"])
    assert results["initial_reset_timestamp"] == BEGIN
    assert sorted(results["initial_reset_timestamps"]) == [BEGIN, BEGIN + 0.5]
    of_first = results["manifests"].index(f"{tmp_path}/openaigym.manifest.0.1.manifest.json")
    assert [source == of_first for source in results["data_sources"]] == [True, False, True, False, True]


@pytest.mark.parametrize("version", ["0.7.4", "0.9.7", "0.21.0", "gym 0.26.2", "gymnasium 1.4.0"])
def test_statistics_without_types_are_read(tmp_path: Path, version: str) -> None:
    """Old Gym noted no types of episodes, and then there are none."""
    record(tmp_path, version=version, types=None)
    assert load_results(tmp_path)["episode_types"] is None
    assert load_results(tmp_path)["env_info"]["gym_version"] == version


def test_types_of_a_part_only_are_none(tmp_path: Path) -> None:
    """Where one of several recordings has no types they cannot be told apart, and Gym failed."""
    record(tmp_path, infix="0.1", types=None)
    record(tmp_path, infix="1.1", types=["t"] * 3)
    assert load_results(tmp_path)["episode_types"] is None


def test_recordings_without_an_episode_add_nothing(tmp_path: Path) -> None:
    """Their first reset is null, and is not the earliest."""
    record(tmp_path, [], infix="0.1")
    empty = load_results(tmp_path)
    assert (empty["timestamps"], empty["data_sources"], empty["episode_types"]) == ([], [], None)
    assert (empty["initial_reset_timestamp"], empty["initial_reset_timestamps"]) == (0, [])
    record(tmp_path, [7.0], infix="1.1")
    assert load_results(tmp_path)["episode_rewards"] == [7.0]
    assert load_results(tmp_path)["initial_reset_timestamp"] == BEGIN


def test_videos_that_were_deleted_are_listed_as_gym_did(tmp_path: Path) -> None:
    """What a manifest names is returned, whether or not the file is there."""
    record(tmp_path, videos=[0])
    (tmp_path / "openaigym.video.0.4711.video000000.mp4").unlink()
    assert len(load_results(tmp_path)["videos"]) == 1


def test_what_a_killed_writer_left_is_no_manifest(tmp_path: Path) -> None:
    """Gym wrote to a name with `~` first."""
    record(tmp_path)
    (tmp_path / "openaigym.manifest.1.4711.manifest.json~").write_text('{"stats": ')
    assert len(load_results(tmp_path)["manifests"]) == 1


def test_recordings_of_several_environments_are_an_error(tmp_path: Path) -> None:
    """Both are named."""
    record(tmp_path, infix="0.1")
    record(tmp_path, infix="1.1", env_id="Acrobot-v1")
    with pytest.raises(NoRecordingError, match=r"unequal env_infos.*CartPole-v0|Acrobot-v1"):
        load_results(tmp_path)


def spoil(path: Path, **members: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


@pytest.mark.parametrize(
    ("which", "members"),
    [
        ("manifest", {"stats": "absent.json"}),
        ("manifest", {"stats": None}),
        ("manifest", {"videos": [1]}),
        ("manifest", {"videos": None}),
        ("manifest", {"env_info": {"env_id": "CartPole-v0"}}),
        ("manifest", {"env_info": {"env_id": 5, "gym_version": "0.9.7"}}),
        ("manifest", {"env_info": []}),
        ("stats", {"timestamps": 5}),
        ("stats", {"timestamps": [1.0, None, "x"]}),
        ("stats", {"episode_rewards": [1.0]}),
        ("stats", {"episode_lengths": {}}),
        ("stats", {"initial_reset_timestamp": "soon"}),
    ],
)
def test_a_damaged_recording_is_an_error(tmp_path: Path, which: str, members: dict[str, Any]) -> None:
    """Members that are absent or of another type are no defect of the reader."""
    record(tmp_path, infix="0.1")
    record(tmp_path, infix="1.1")
    [path] = tmp_path.glob(f"*.0.1.{which}.json")
    spoil(path, **members)
    with pytest.raises(NoRecordingError):
        load_results(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"stats": "\\ud800"}', "[" * 100_000, "\xff"])
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    """Whatever bytes it has."""
    (tmp_path / "openaigym.manifest.0.1.manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(NoRecordingError):
        load_results(tmp_path)


def test_without_a_directory_or_a_manifest_there_is_no_recording(tmp_path: Path) -> None:
    """Gym logged these two and returned None; the words are the same."""
    with pytest.raises(NoRecordingError, match="not found"):
        load_results(tmp_path / "absent")
    with pytest.raises(NoRecordingError, match="no manifests"):
        load_results(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NoRecordingError, match="cannot be read"):
        load_results(tmp_path / "file")


def test_each_file_is_read_once_and_manifests_come_first(tmp_path: Path) -> None:
    """So what a manifest names is in the statistics, even while a monitor writes."""
    record(tmp_path, infix="0.1")
    record(tmp_path, infix="1.1")
    seen: list[str] = []

    def read(name: str) -> bytes:
        seen.append(name)
        return (tmp_path / name).read_bytes()

    read_recording("x", sorted(path.name for path in tmp_path.iterdir()), read)
    assert [name.split(".")[1] for name in seen] == ["manifest", "manifest", "episode_batch", "episode_batch"]
    assert len(set(seen)) == 4
