"""Minari: `minari.load_dataset` gives back what was recorded, to the bit."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest

from gym_http_server.datasets import minari_format
from gym_http_server.datasets.comparison import difference
from gym_http_server.datasets.survey import Survey
from gym_http_server.errors import ExportError
from gym_http_server.results.trajectories import RecordedEpisode, open_trajectories
from tests.support.reward_envs import Rewards  # noqa: F401 -- registers tests/Rewards-v0
from tests.support.stepping import record_steps


class Nested(gymnasium.Env[Any, Any]):
    """Observations and actions that are nested, infos that come and go, an image and an option."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {
                "eye": gymnasium.spaces.Box(0, 255, (40, 40, 3), np.uint8),
                "arm": gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3, start=1), gymnasium.spaces.MultiBinary(4)]),
                "word": gymnasium.spaces.Text(4),
            }
        )
        self.action_space = gymnasium.spaces.Dict(
            {"turn": gymnasium.spaces.Box(-1, 1, (2,)), "kind": gymnasium.spaces.MultiDiscrete([2, 3])}
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {"start": "here", "odd": [1, "x"]}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = {"speed": np.float32(self.steps), "deep": {"at": np.arange(2) * self.steps}}
        return self.observation_space.sample(), np.float32(0.1), False, self.steps == 3, info


gymnasium.register("tests/Nested-v0", Nested)


def export(recording: Path, root: Path, monkeypatch: pytest.MonkeyPatch, name: str = "some/thing-v0") -> list[str]:
    monkeypatch.setenv(minari_format.ROOT_VARIABLE, str(root))
    with open_trajectories(recording) as trajectories:
        survey = Survey()
        for episode in trajectories:
            survey.add(episode)
        (root / name).mkdir(parents=True)
        return minari_format.write(root / name, name, trajectories, survey, trajectories)


def loaded_column(space: Any, column: Any, at: int) -> Any:
    """Return one value of a loaded column."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: loaded_column(part, column[key], at) for key, part in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(loaded_column(part, column[index], at) for index, part in enumerate(space.spaces))
    return column[at]


def agree(episode: RecordedEpisode, loaded: Any, data_set: Any) -> None:
    for name, space, column in (
        ("observations", data_set.observation_space, loaded.observations),
        ("actions", data_set.action_space, loaded.actions),
    ):
        for at, value in enumerate(getattr(episode, name)):
            assert difference(value, loaded_column(space, column, at)) is None
    rewards = list(episode.rewards)
    assert difference(np.array(rewards), loaded.rewards) is None
    assert loaded.terminations.tolist() == list(episode.terminated)
    assert loaded.truncations.tolist() == list(episode.truncated)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "tests/Nested-v0"])
def test_a_data_set_is_loaded_as_it_was_recorded(env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observations, actions, rewards, ends, seeds, options, spaces and the spec of the environment, images as well."""
    record_steps(tmp_path / "recording", env_id, options={"low": -0.01, "high": 0.01}, extra_steps=1)
    notes = export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    assert any("1 episodes that did not end" in note for note in notes)
    data_set = minari.load_dataset("some/thing-v0")
    with open_trajectories(tmp_path / "recording") as trajectories:
        assert (data_set.observation_space, data_set.action_space) == trajectories.spaces()
        complete = [episode for episode in trajectories if episode.is_complete]
        assert data_set.total_episodes == len(complete) == 2
        for episode, loaded in zip(complete, data_set.iterate_episodes(), strict=True):
            agree(episode, loaded, data_set)
    [first, second] = data_set.storage.get_episode_metadata([0, 1])
    assert (first["seed"], second.get("seed")) == (7, None)
    assert first["options"] == {"low": -0.01, "high": 0.01}
    environment = data_set.recover_environment()
    assert environment.spec.id == env_id
    environment.close()


def test_infos_that_come_and_go_say_when_they_were_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing value is zero and masked as in Gymnasium's vector environments, and one without a form is named."""
    record_steps(tmp_path / "recording", "tests/Nested-v0", episodes=1)
    notes = export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    assert any("info 'odd'" in note for note in notes)
    infos = minari.load_dataset("some/thing-v0")[0].infos
    assert infos["speed"].tolist() == [0, 1, 2, 3]
    assert infos["speed"].dtype == np.float32
    assert infos["_speed"].tolist() == [False, True, True, True]
    assert infos["deep"]["at"].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert infos["start"].tolist() == [b"here", b"", b"", b""]
    assert infos["_start"].tolist() == [True, False, False, False]
    assert "odd" not in infos


def test_a_seed_of_any_size_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 has no such integers, so it is kept as text, which Minari reads as an integer."""
    record_steps(tmp_path / "recording", seed=2**100, episodes=1)
    export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    [metadata] = minari.load_dataset("some/thing-v0").storage.get_episode_metadata([0])
    assert metadata["seed"] == 2**100


def test_wrappers_kwargs_and_limits_are_in_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`recover_environment` makes the environment as it was recorded."""
    record_steps(
        tmp_path / "recording",
        "FrozenLake-v1",
        kwargs={"is_slippery": False},
        max_episode_steps=5,
        wrappers=[{"name": "TimeAwareObservation", "kwargs": {"flatten": False}}],
    )
    export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    environment = minari.load_dataset("some/thing-v0").recover_environment()
    assert environment.spec.kwargs["is_slippery"] is False
    assert environment.spec.max_episode_steps == 5
    assert isinstance(environment.observation_space, gymnasium.spaces.Dict)


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (gymnasium.spaces.Graph(gymnasium.spaces.Discrete(2), None), "observation, of the space Graph"),
        (gymnasium.spaces.OneOf([gymnasium.spaces.Discrete(2)]), "observation, of the space OneOf"),
        (gymnasium.spaces.Dict({"a": gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2))}), r"observation\['a'\]"),
        (gymnasium.spaces.Dict({"a/b": gymnasium.spaces.Discrete(2)}), "the key 'a/b'"),
    ],
)
def test_a_space_without_a_form_is_refused_by_name(
    space: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which part of the space it is, and what to export to instead."""

    class Odd(Nested):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = space

    monkeypatch.setitem(gymnasium.registry, "tests/Odd-v0", gymnasium.envs.registration.EnvSpec("tests/Odd-v0", Odd))
    record_steps(tmp_path / "recording", "tests/Odd-v0", episodes=1)
    with pytest.raises(ExportError, match=text) as error:
        export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    assert "parquet" in str(error.value)


@pytest.mark.parametrize(("name", "is_id"), [("a-v0", True), ("some/b-v12", True), ("a", False), ("ä ö-v0", False)])
def test_a_data_set_has_an_id_of_minari(
    name: str, is_id: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path below Minari's directory, or else the last part of its path; what Minari would not load is refused."""
    monkeypatch.setenv(minari_format.ROOT_VARIABLE, str(tmp_path))
    if is_id:
        assert minari_format.dataset_id(tmp_path / name) == name
        assert minari_format.dataset_id(Path("/elsewhere") / name) == Path(name).name
    else:
        with pytest.raises(ExportError, match="such as cartpole-v0"):
            minari_format.dataset_id(tmp_path / name)


def test_an_environment_of_a_function_has_a_spec_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function cannot be kept, which is said; the data set is loaded all the same."""
    spec = gymnasium.envs.registration.EnvSpec("tests/Made-v0", lambda: gymnasium.make("CartPole-v1"))
    monkeypatch.setitem(gymnasium.registry, "tests/Made-v0", spec)
    record_steps(tmp_path / "recording", "tests/Made-v0", episodes=1)
    notes = export(tmp_path / "recording", tmp_path / "sets", monkeypatch)
    assert any("how tests/Made-v0 is made" in note for note in notes)
    assert minari.load_dataset("some/thing-v0").env_spec.id == "tests/Made-v0"
