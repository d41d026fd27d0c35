"""Trajectories: what is recorded and read is what was stepped, whatever the values are, in every lane."""

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

from gym_http_server.errors import GymHttpServerError, InvalidValueError, NoRecordingError
from gym_http_server.results.trajectories import RecordedEpisode, open_trajectories
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.recording.trajectories import file as trajectory_file
from gym_http_server.runtime.recording.trajectories import recorder
from gym_http_server.runtime.recording.trajectories.values import frozen, pack_columns, unpack_columns
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.values.codec import encode
from gym_http_server.runtime.values.encoding import json_bytes
from gym_http_server.runtime.values.lanes import lane_info
from tests.support.sample_spaces import SAMPLE_SPACES, same
from tests.support.typed_envs import told


class Scribe(gymnasium.Env[Any, Any]):
    """Samples its space, keeps a copy of all that it returned, and overwrites what it returned with the next step."""

    def __init__(self, space: Any = None, length: int = 3) -> None:
        self.observation_space = self.action_space = Discrete(3) if space is None else space
        self.length = length
        self.overwrites = True
        self.log: list[list[Any]] = []
        self.returned: Any = None

    def _observe(self) -> Any:
        if self.overwrites and isinstance(self.returned, np.ndarray) and self.returned.dtype.kind in "iuf":
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


gymnasium.register("tests/Told-v0", Scribe)


def make(**kwargs: Any) -> Served:
    return open_served(CreateRequest("tests/Told-v0", **kwargs), may_fork=False)


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


SAMPLED = [each for each in SAMPLE_SPACES if each.id != "box-longdouble"]  # which Gymnasium cannot sample


@pytest.mark.parametrize("space", SAMPLED)
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


@pytest.mark.parametrize("space", [each for each in SAMPLED if "-empty" not in each.id[-6:]])  # which no batch takes
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_what_is_read_of_each_lane_is_what_it_was_stepped_with(space: Any, mode: str, tmp_path: Path) -> None:
    """Values of every kind of space are taken apart into lanes as they were put together, with infos and last observations."""
    space.seed(5)
    kwargs = {"space": space, "length": 2}
    served = make(num_envs=2, vectorization_mode="sync", autoreset_mode=mode, seed=1, kwargs=kwargs)
    served.monitor_start(str(tmp_path), trajectories=True)
    served.batch_reset()
    batch = served._environment
    for environment in batch.unwrapped.envs:
        environment.unwrapped.overwrites = mode != "same_step"  # which keeps the last observation over a reset
    for _ in range(3 if mode == "next_step" else 2):
        served.batch_step(encode(batch.action_space, batch.action_space.sample()))
    served.close()
    episodes = read(tmp_path)
    for lane, environment in enumerate(batch.unwrapped.envs):
        kept = [each for each in episodes if each.lane == lane]
        assert [each.is_complete for each in kept] == [True, False]
        for episode, stepped in zip(kept, environment.unwrapped.log, strict=True):
            seed, options, observations, actions, rewards, infos = stepped
            assert (episode.seed, episode.options, episode.rewards) == (seed, options, rewards)
            assert plain(space, episode.observations) == plain(space, observations)
            assert plain(space, episode.actions) == plain(space, actions)
            assert episode.infos[1:] == infos[1:]


def test_infos_of_a_vector_implementation_of_its_own_are_taken_apart_as_far_as_they_can_be() -> None:
    """What has no value for each lane is that of every lane, whatever its shape."""
    infos = {
        "a": np.array([1, 2]),
        "_a": np.array([True, False]),
        "deep": {"b": [3, 4], "scalar": np.array(5), "short": np.zeros(0)},
        "odd": 6,
        "_odd": np.ones((2, 2)),
        7: "text",
    }
    assert lane_info(infos, 0) == {
        "a": 1,
        "deep": {"b": 3, "scalar": 5, "short": infos["deep"]["short"]},
        "odd": 6,
        7: "text",
    }
    assert "a" not in lane_info(infos, 1)
    assert lane_info(["other"], 0) == lane_info(None, 0) == {}


def test_a_block_that_has_no_form_fails_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is answered, the state says that a part is lost, and the next episode is recorded."""
    served = make(seed=0)
    served.monitor_start(str(tmp_path), trajectories=True)
    for is_broken in (True, False):
        with monkeypatch.context() as patch:
            if is_broken:
                patch.setattr(trajectory_file, "pack_columns", lambda _: [object()])
            served.reset()
            for _ in range(3):
                served.step(1)
        assert served._monitor.state()["error"] is None or is_broken
    served.close()
    assert [(each.is_complete, each.gap) for each in read(tmp_path)] == [(True, recorder.LOST)]


def plain(space: Any, values: Any) -> list[bytes]:
    return [json_bytes(encode(space, value)) for value in values]


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
    surrogates = [{"\ud800": "\ud800"}, {"\ud800": "x"}]
    assert unpack_columns(b"".join(pack_columns({"x": surrogates})))["x"] == surrogates
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1, 2}, np.ma.masked_array([1, 2], [True, False]), {object(): 1}):
        [back] = unpack_columns(b"".join(pack_columns({"x": [frozen(odd)]})))["x"]
        json.dumps(back, default=np.ndarray.tolist)


def repeats(episodes: list[RecordedEpisode]) -> list[bool]:
    """Return for each episode of a lane of CartPole whether its seeds and actions make the same values again."""
    environment = gymnasium.make("CartPole-v1").unwrapped
    found = []
    for episode in episodes:
        first, info = environment.reset(seed=episode.seed, options=episode.options)
        observations, infos, rewards = [first], [info], []
        for action in episode.actions:
            observation, reward, *_, info = environment.step(action)
            observations.append(observation)
            infos.append(info)
            rewards.append(reward)
        is_equal = episode.observations is None or same([observations, infos], [episode.observations, episode.infos])
        found.append(is_equal and rewards == episode.rewards)
    return found


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("seed", [None, 7])
def test_seeds_and_actions_of_each_lane_make_the_same_again(mode: str, seed: int | None, tmp_path: Path) -> None:
    """Lane i has the seed + i, one that the monitor draws if there is none, and automatic resets are episodes."""
    served = open_served(
        CreateRequest("CartPole-v1", num_envs=3, vectorization_mode="sync", autoreset_mode=mode, seed=seed),
        may_fork=False,
    )
    served.monitor_start(str(tmp_path), trajectories=True)
    served.batch_reset()
    for step in range(70):
        served.batch_step([step // 2 % 2, 0, 1])
        if mode == "disabled" and served._ended.any():
            served.batch_reset(reset_mask=served._ended.tolist(), options={"low": -0.01, "high": 0.02})
    state = served._monitor.state()
    served.close()
    episodes = read(tmp_path)
    assert state["episodes"] == state["trajectory_episodes"] == sum(each.is_complete for each in episodes) > 6
    lanes = [[each for each in episodes if each.lane == lane] for lane in range(3)]
    seeds = [lane[0].seed for lane in lanes]
    assert seeds == [7, 8, 9] if seed is not None else seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]
    assert [each.seed for lane in lanes for each in lane[1:]] == [None] * (len(episodes) - 3)
    assert all(all(repeats(lane)) for lane in lanes)
    assert sum(len(each.actions) for each in lanes[0]) == 70 - (len(lanes[0]) - 1) * (mode == "next_step")
    if mode == "disabled":
        assert lanes[1][1].options == {"low": -0.01, "high": 0.02}


def test_lanes_that_a_mask_resets_first_get_their_own_seeds(tmp_path: Path) -> None:
    """A monitor that starts later draws a seed for each lane with its first recorded reset, and for no lane that had one."""
    served = open_served(CreateRequest("CartPole-v1", num_envs=3, vectorization_mode="sync"), may_fork=False)
    served.batch_reset(seeds=[None, None, 5])
    served.monitor_start(str(tmp_path), trajectories=True)
    for mask in ([True, False, True], [False, True, False], [True, True, True]):
        served.batch_reset(reset_mask=mask)
        served.batch_step([0, 1, 0])
    served.close()
    episodes = read(tmp_path)
    lanes = [[each for each in episodes if each.lane == lane] for lane in range(3)]
    assert [[each.seed is None for each in lane] for lane in lanes] == [[False, True], [False, True], [True, True]]
    assert [[bool(each.gap) for each in lane] for lane in lanes] == [[False, False], [False, False], [True, True]]
    assert all(repeats(lanes[0]) + repeats(lanes[1]))


def test_a_seed_is_drawn_only_where_there_never_was_one(tmp_path: Path) -> None:
    """A seed of the client's, of the creation or of an earlier reset stays the only one; the gap says what is not known."""
    for name, seed, earlier, expected in (
        ("fresh", None, False, "drawn"),
        ("created", 3, False, 3),
        ("reset before", None, True, None),
    ):
        served = make(seed=seed)
        if earlier:
            served.reset(seed=1)
        served.monitor_start(str(tmp_path / name), trajectories="actions")
        served.reset()
        served.reset()
        served.close()
        first, second = read(tmp_path / name)
        assert log(served)[-2][0] == first.seed
        assert (
            (isinstance(first.seed, int) and 0 <= first.seed < 2**31) if expected == "drawn" else first.seed == expected
        )
        assert second.seed is None
        assert bool(first.gap) is bool(second.gap) is earlier


def test_without_trajectories_no_seed_is_drawn(tmp_path: Path) -> None:
    """A monitor of returns changes nothing of what the environment is called with."""
    served = make()
    served.monitor_start(str(tmp_path))
    served.reset()
    assert log(served)[0][0] is None
    served.close()
    with pytest.raises(NoRecordingError, match="trajectories: true"):
        open_trajectories(tmp_path)


def test_episodes_that_are_cut_short_are_kept_and_say_so(tmp_path: Path) -> None:
    """A reset, a restore, an exception and a close: the steps are there, and what a replay cannot repeat is told."""
    served = open_served(CreateRequest("CartPole-v1", seed=4), may_fork=False)
    served.monitor_start(str(tmp_path), trajectories=True)
    served.reset()
    served.step(0)
    served.reset()  # cuts
    snapshot = json.loads(served.snapshot_create(3).body)["snapshot_id"]
    served.step(1)
    served.snapshot_restore(snapshot)
    served.step(1)  # of an episode whose beginning is not recorded
    served.reset()
    served.step(0)
    served.reset(seed=9)
    served.step(1)
    served._environment.unwrapped.force_mag = "broken"
    with pytest.raises(GymHttpServerError):
        served.step(1)
    served._environment.unwrapped.force_mag = 10.0
    served.step(1)
    served.close()
    episodes = read(tmp_path)
    assert [len(each.actions) for each in episodes] == [1, 1, 1, 2]
    assert [each.was_restored for each in episodes] == [False, True, False, False]
    assert not any(each.is_complete for each in episodes)
    assert [each.gap for each in episodes] == ["", "", recorder.RESTORED, recorder.FAILED]
    assert repeats(episodes[:2]) == [True, True]


def test_a_rollout_and_rewards_of_several_agents_are_kept(tmp_path: Path) -> None:
    """Rollouts pass the same way, and rewards and ends by agent are those of the environment."""
    served = make()
    environment = served._environment.unwrapped
    environment.length = 2
    step = environment.step
    environment.step = lambda action: (
        step(action)[0],
        {"a": np.float32(1), "b": 2.0},
        {"a": environment.steps == 2, "__all__": environment.steps == 2},
        {"a": False},
        {},
    )
    served.monitor_start(str(tmp_path), trajectories=True)
    served.rollout(1 << 20, steps=4)
    served.close()
    episodes = read(tmp_path)
    assert same(episodes[1].rewards, [{"a": np.float32(1), "b": 2.0}] * 2)
    assert [each.terminated for each in episodes] == [
        [{"a": False, "__all__": False}, {"a": True, "__all__": True}]
    ] * 2
    assert [each.is_complete for each in episodes] == [True, True]


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """The error names the value and those that there are."""
    with pytest.raises(InvalidValueError, match=r"'most'.*'actions'"):
        make().monitor_start(str(tmp_path), trajectories="most")


@pytest.mark.parametrize("block_steps", [1024, 40])
def test_lanes_that_are_recorded_together_are_those_of_a_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_steps: int
) -> None:
    """Many steps without infos, in which episodes end at different times, also where blocks are full before an episode is over."""
    monkeypatch.setattr(recorder, "BLOCK_STEPS", block_steps)
    kind = {"num_envs": 5, "vectorization_mode": "vector_entry_point"}
    served, twin = open_served(CreateRequest("CartPole-v1", **kind)), gymnasium.make_vec("CartPole-v1", **kind)
    served.call("monitor_start", {"directory": str(tmp_path), "trajectories": True})
    served.call("batch_reset", {"seed": 7})
    observations, _ = twin.reset(seed=7)
    expected: list[list[list[Any]]] = [[[each]] for each in observations]
    was_over = np.zeros(5, np.bool_)
    for step in range(150):
        # Lane 4 is balanced, so that its episode is long.
        actions = [step % 2, step // 2 % 2, 1, step // 3 % 2, int(observations[4][2] + observations[4][3] > 0)]
        served.call("batch_step", {"actions": actions})
        observations, rewards, terminated, truncated, _ = twin.step(np.array(actions))
        for lane, observation in enumerate(observations):
            if was_over[lane]:
                expected[lane].append([observation])
            else:
                expected[lane][-1].append(
                    (np.int64(actions[lane]), float(rewards[lane]), bool(terminated[lane]), observation)
                )
        was_over = terminated | truncated
    served.close()
    found: list[list[list[Any]]] = [[] for _ in observations]
    with open_trajectories(tmp_path) as recorded:
        for episode in recorded:
            states = list(episode.observations or ())
            steps = zip(episode.actions, map(float, episode.rewards), episode.terminated, states[1:], strict=True)
            found[episode.lane].append([states[0], *steps])
    assert max(len(each) for each in found[4]) > 100
    assert repr(found) == repr(expected)
