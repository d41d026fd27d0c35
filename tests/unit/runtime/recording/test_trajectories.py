"""Trajectories: what is recorded and read is what was stepped, whatever the values are and whatever happens to the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.results.trajectories import RecordedEpisode, open_trajectories
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.opening import open_served
from gym_http_server.runtime.recording.trajectory_values import frozen, pack_columns, unpack_columns
from gym_http_server.runtime.served import Served
from gym_http_server.runtime.values.codec import encode
from tests.support.sample_spaces import SAMPLE_SPACES, same
from tests.support.typed_envs import told


class Scribe(gymnasium.Env[Any, Any]):
    """Samples its space, keeps a copy of all that it returned, and overwrites what it returned with the next step."""

    def __init__(self, space: Any = None, length: int = 3) -> None:
        self.observation_space = self.action_space = Discrete(3) if space is None else space
        self.length = length
        self.log: list[list[Any]] = []
        self.returned: Any = None

    def _observe(self) -> Any:
        if isinstance(self.returned, np.ndarray) and self.returned.dtype.kind in "iuf":
            self.returned *= 0  # as an environment that reuses its buffers
        self.returned = self.observation_space.sample()
        return self.returned

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps, info = 0, {"seed": seed}
        observation = self._observe()
        self.log.append([seed, options, [frozen(observation)], [], [], [frozen(info)]])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.steps == self.length:
            raise RuntimeError("over")
        self.steps += 1
        _, _, observations, actions, rewards, infos = self.log[-1]
        actions.append(frozen(action))
        rewards.append(np.float32(self.np_random.random()))
        infos.append({"at": np.int16(self.steps), "text": "é"} if self.steps % 2 else {})
        observation = self._observe()
        observations.append(frozen(observation))
        return observation, rewards[-1], self.steps == self.length, False, infos[-1]


gymnasium.register("tests/Scribe-v0", Scribe)


def make(**kwargs: Any) -> Served:
    return open_served(CreateRequest("tests/Scribe-v0", **kwargs), may_fork=False)


def log(served: Served) -> list[list[Any]]:
    found: list[list[Any]] = served._environment.unwrapped.log
    return found


def read(directory: Path) -> list[RecordedEpisode]:
    """Return all episodes, with their columns as lists."""
    with open_trajectories(directory) as recorded:
        assert recorded.notes == []
        return list(map(whole, recorded))


def whole(episode: RecordedEpisode) -> RecordedEpisode:
    changes = {
        name: list(getattr(episode, name))
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "infos")
        if getattr(episode, name) is not None
    }
    return RecordedEpisode(**{name: getattr(episode, name) for name in episode.__slots__} | changes)


def agree(episode: RecordedEpisode, stepped: list[Any]) -> bool:
    columns = [episode.seed, episode.options, episode.observations, episode.actions, episode.rewards, episode.infos]
    return same(columns, stepped)


@pytest.mark.parametrize("space", [each for each in SAMPLE_SPACES if each.id != "box-longdouble"])  # is not sampled
def test_what_is_read_is_what_was_stepped(space: Any, tmp_path: Path) -> None:
    """Observations and actions of every kind of space, rewards, infos, seeds and options are the same to the bit."""
    space.seed(3)
    served = make()
    environment = served._environment.unwrapped
    environment.observation_space = environment.action_space = space
    served.monitor_start(str(tmp_path), trajectories=True)
    for options in ({"a": [1, None]}, None):
        served.reset(options=options)
        for _ in range(3):
            served.step(encode(space, space.sample()))
    served.close()
    episodes = read(tmp_path)
    assert [agree(*pair) for pair in zip(episodes, log(served), strict=True)] == [True, True]
    assert [(each.number, each.lane, each.is_complete, each.gap) for each in episodes] == [
        (0, 0, True, ""),
        (1, 0, True, ""),
    ]
    assert episodes[0].terminated == [False, False, True]
    assert episodes[0].truncated == [False] * 3


NUMBERS = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
SCALARS = st.builds(np.float32, st.floats(width=32)) | st.builds(np.int8, st.integers(-128, 127)) | st.builds(np.str_)
ARRAYS = st.builds(
    lambda dtype, shape: np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape),
    st.sampled_from(["<f2", ">f4", "f8", "u1", "b1", ">i8", "c8", "S3", "U2", "M8[ns]", "m8[s]", "longdouble"]),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
)
VALUES = st.recursive(
    NUMBERS | SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.tuples(st.booleans()), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=4) | st.tuples(VALUES, st.integers(1, 4)).map(lambda pair: [pair[0]] * pair[1]))
@settings(deadline=None, max_examples=150)
def test_columns_of_any_values_are_read_as_they_were(values: list[Any]) -> None:
    """Values of one form and of several come back with their types, dtypes and shapes."""
    kept = [frozen(value) for value in values]
    assert same(kept, values)
    assert same(unpack_columns(b"".join(pack_columns({"x": kept, "y": []}))), {"x": kept, "y": []})


def test_an_info_with_a_value_of_every_type_is_kept() -> None:
    """All types that have a form in replies, arrays of objects too; what has none is the text of the reply."""
    info = told(3)
    assert same(unpack_columns(b"".join(pack_columns({"x": [frozen(info)]})))["x"][0], info)
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1, 2}, np.ma.masked_array([1, 2], [True, False]), {object(): 1}):
        [back] = unpack_columns(b"".join(pack_columns({"x": [frozen(odd)]})))["x"]
        json.dumps(back, default=np.ndarray.tolist)
