"""Rollouts: many steps in one request, and the trajectory as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_http_server.errors import ReplyTooLargeError
from gym_http_server.runtime.messages import JSON, MSGPACK
from gym_http_server.runtime.served.rollout import RolloutBuffer, kept, planned, stacked
from gym_http_server.runtime.values.encoding import ENCODERS
from gym_http_server.runtime.values.spaces import element_count
from tests.conftest import KINDS, start
from tests.support.handing import Client, post
from tests.support.sample_spaces import SAMPLE_SPACES, same
from tests.support.serving import Server

from .test_batches import FORMS, TROUBLE, read, send, told

LIMIT = 20_000


@pytest.fixture(scope="module", params=KINDS)
def small_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that sends small replies only."""
    with start(request.param, "--max-reply", str(LIMIT)) as running:
        yield running


def by_hand(server: Server, env: str, actions: Any, seed: int | None) -> dict[str, Any]:
    """Return the trajectory that comes of single steps, in MessagePack's arrays."""
    last = read(send(server, f"{env}/reset/", {"seed": seed}, MSGPACK), MSGPACK)["observation"]
    found: dict[str, list[Any]] = {name: [] for name in ("observations", "rewards", "terminated", "truncated", "final")}
    ended = False
    for action in actions:
        if ended:
            last = read(send(server, f"{env}/reset/", {}, MSGPACK), MSGPACK)["observation"]
        found["observations"].append(last)
        answer = read(send(server, f"{env}/step/", {"action": action}, MSGPACK), MSGPACK)
        last, ended = answer["observation"], answer["done"]
        for name in ("reward", "terminated", "truncated"):
            found[name if name != "reward" else "rewards"].append(answer[name])
        found["final"].extend([last] * ended)
    return {**found, "observations": [*found["observations"], last]}


@FORMS
@pytest.mark.parametrize(
    ("env_id", "options"),
    [("CartPole-v1", {}), ("Pendulum-v1", {"max_episode_steps": 7}), ("CartPole-v1", {"library": "gym"}),
     ("Pendulum-v1", {"library": "gym", "max_episode_steps": 7})],
)  # fmt: skip
def test_a_rollout_is_the_same_steps_taken_one_by_one(
    server: Server, env_id: str, options: dict[str, Any], form: str
) -> None:
    """Every row is bit for bit what single calls answer, with a reset between episodes and their final observations."""
    one, other = (server.create(env_id, **options) for _ in range(2))
    draw = np.random.default_rng(4)
    actions = draw.integers(0, 2, 60) if env_id == "CartPole-v1" else draw.uniform(-2, 2, (60, 1)).astype(np.float32)
    expected = by_hand(server, one, actions, 11)
    found = read(send(server, f"{other}/rollout/", {"actions": actions, "seed": 11}, form), form)
    assert len(expected["final"]) > 1
    shape = (len(expected["final"]), *expected["observations"][0].shape)
    assert same(found["observations"], told(np.stack(expected["observations"]), form))
    assert same(found["final_observations"], told(np.stack(expected["final"]).reshape(shape), form))
    assert same(found["rewards"], told(np.array(expected["rewards"], np.float64), form))
    assert same(found["actions"], told(actions, form))
    for name in ("terminated", "truncated"):
        assert same(found[name], told(np.array(expected[name], np.bool_), form))
    counts = [server.get(f"{env}/").json for env in (one, other)]
    assert [(each["steps"], each["episodes"]) for each in counts] == [(60, shape[0])] * 2


def test_a_rollout_goes_on_from_the_middle_of_an_episode_and_the_next_call_from_its_end(server: Server) -> None:
    """Single steps and rollouts of one instance are one trajectory; only an ended episode is followed by a reset."""
    one, other = (server.create(seed=0) for _ in range(2))
    expected = by_hand(server, one, [0, 1, 0, 1, 1, 0], None)
    server.post(f"{other}/reset/")
    server.post(f"{other}/step/", {"action": 0})
    first = server.post(f"{other}/rollout/", {"actions": [1, 0]}).json
    second = server.post(f"{other}/rollout/", {"actions": [1, 1]}).json
    last = server.post(f"{other}/step/", {"action": 0}).json["observation"]
    assert first["observations"] + second["observations"][1:] + [last] == told(expected["observations"][1:], JSON)
    assert second["observations"][0] == first["observations"][-1]
    assert first["final_observations"] == []


def test_a_rollout_resets_where_no_episode_is_under_way(server: Server) -> None:
    """Before the first reset and after an ended episode it starts one, with the seed of the creation the first time."""
    env, twin = (server.create("CartPole-v1", seed=5, max_episode_steps=2) for _ in range(2))
    start = server.post(f"{twin}/reset/").json["observation"]
    again = server.post(f"{twin}/reset/").json["observation"]
    first = server.post(f"{env}/rollout/", {"actions": [1, 1]}).json
    assert (first["observations"][0], first["truncated"]) == (start, [False, True])
    assert first["final_observations"] == first["observations"][-1:]
    assert server.post(f"{env}/rollout/", {"actions": [1]}).json["observations"][0] == again


def test_random_rollouts_of_one_seed_are_equal(server: Server) -> None:
    """A seed, 0 too, is that of the reset and of the actions; without one two rollouts differ."""
    env, other = server.create(), server.create()
    body = {"policy": "random", "steps": 30, "seed": 0}
    server.post(f"{other}/rollout/", {"policy": "random", "steps": 3})
    first = server.post(f"{env}/rollout/", body)
    assert first.body == server.post(f"{other}/rollout/", body).body == server.post(f"{env}/rollout/", body).body
    assert server.post(f"{env}/rollout/", {**body, "seed": 1}).body != first.body
    assert server.post(f"{env}/rollout/", {"policy": "random", "steps": 30}).body != first.body
    again = {"actions": first.json["actions"], "seed": 0}
    assert server.post(f"{other}/rollout/", again).json["observations"][:10] == first.json["observations"][:10]


@FORMS
def test_a_rollout_of_episodes_ends_with_the_last_of_them(server: Server, form: str) -> None:
    """The steps are as many as it takes, and the instance counts both."""
    env = server.create("tests/Scribe-v0")
    found = read(send(server, f"{env}/rollout/", {"policy": "random", "episodes": 3}, form), form)
    assert np.asarray(found["terminated"]).tolist() == [False, False, True] * 3
    described = server.get(f"{env}/").json
    assert (described["steps"], described["episodes"]) == (9, 3)


@FORMS
def test_observations_that_the_environment_writes_into_one_array_keep_their_values(server: Server, form: str) -> None:
    """Dict and Tuple are stacked by part, Text and Graph are lists, and each row is what was observed at its time."""
    env = server.create("tests/Scribe-v0", seed=1)
    server.post(f"{env}/reset/")
    actions = [[0.5, -0.25], [1, 0], [0, 1], [0.125, 0.125]]
    found = read(send(server, f"{env}/rollout/", {"actions": actions, "seed": 2}, form), form)
    observations, final = found["observations"], found["final_observations"]
    assert list(observations) == ["at", "both", "graph", "word"]
    at = np.asarray(observations["at"], np.float32)
    moved = np.asarray(final["at"], np.float32)
    assert np.allclose(at[1:3] - at[:2], actions[:2])
    assert np.allclose(moved - at[2], [[0, 1]])
    assert np.allclose(at[4] - at[3], [0.125, 0.125])
    assert observations["word"] == [f"steps {step}" for step in (0, 1, 2, 0, 1)]
    assert np.asarray(observations["both"][0]).tolist() == [0, 1, 2, 0, 1]
    assert np.asarray(observations["both"][1]).tolist() == [[step % 2] * 2 for step in (0, 1, 2, 0, 1)]
    assert [np.asarray(graph["nodes"]).tolist() for graph in observations["graph"]] == [
        [[step]] for step in (0, 1, 2, 0, 1)
    ]
    assert (final["word"], np.asarray(final["both"][0]).tolist()) == (["steps 3"], [3])
    assert same(found["rewards"], told(np.full(4, np.float32(0.1), np.float64), form))


@FORMS
def test_actions_of_every_kind_come_back_as_they_were_sent(server: Server, form: str) -> None:
    """Actions of a Dict with parts of every kind are stacked as observations are, in the order of the space."""
    env = server.create("tests/Everything-v0", seed=5)
    actions = [read(server.get(f"{env}/action_space/sample"))["action"] for _ in range(3)]
    found = read(send(server, f"{env}/rollout/", {"actions": actions}, form), form)
    assert list(found["actions"]) == list(actions[0])
    for name, part in found["actions"].items():
        if name in ("text", "sequence", "graph", "one_of"):
            assert told(part, JSON) == [action[name] for action in actions]
    assert told(found["actions"]["box"], JSON) == [action["box"] for action in actions]
    assert told(found["actions"]["dict"]["inner"]["deep"], JSON) == [
        action["dict"]["inner"]["deep"] for action in actions
    ]
    assert told(found["actions"]["tuple"][1], JSON) == [action["tuple"][1] for action in actions]
    assert told(found["observations"]["discrete"], JSON)[1:] == [action["discrete"] for action in actions]
    assert np.isnan(np.array(found["rewards"], float)).all()


@FORMS
@pytest.mark.parametrize("position", [0, 3])
@pytest.mark.parametrize("bad", [2, "x", None, 0.5])
def test_an_invalid_action_is_refused_by_its_position_before_anything_is_executed(
    server: Server, position: int, bad: Any, form: str
) -> None:
    """The instance has taken no step and still is where it was."""
    env = server.create()
    before = server.post(f"{env}/reset/").json["observation"]
    answer = send(server, f"{env}/rollout/", {"actions": [*[1] * position, bad, 1], "seed": 3}, form)
    assert answer.status == 400
    assert f"actions[{position}]" in answer.message
    assert server.get(f"{env}/").json["steps"] == 0
    assert server.post(f"{env}/rollout/", {"actions": [1]}).json["observations"][0] == before


@pytest.mark.parametrize(
    "body",
    [
        {}, {"actions": None}, {"seed": 1}, {"policy": "random"}, {"steps": 3}, {"episodes": 1},
        {"actions": [1], "policy": "random", "steps": 1}, {"actions": [1], "steps": 1}, {"actions": [1], "episodes": 1},
        {"policy": "random", "steps": 1, "episodes": 1}, {"steps": 1, "episodes": 1},
        {"actions": []}, {"actions": 1}, {"actions": {"0": 1}}, {"actions": "11"}, {"actions": True},
        {"policy": "greedy", "steps": 1}, {"policy": "random", "steps": 0}, {"policy": "random", "episodes": 0},
        {"policy": "random", "steps": -1}, {"policy": "random", "steps": 2**31}, {"policy": "random", "steps": 1.5},
        {"policy": "random", "steps": "1"}, {"policy": "random", "steps": 1, "seed": -1}, None, [], "x",
    ],
)  # fmt: skip
@FORMS
def test_what_is_no_rollout_is_a_400_and_nothing_is_executed(server: Server, body: Any, form: str) -> None:
    """It takes either actions, at least one, or a policy with either steps or episodes, at least one."""
    env = server.create()
    assert send(server, f"{env}/rollout/", body, form).status == 400
    assert server.get(f"{env}/").json["steps"] == 0
    assert server.post(f"{env}/step/", {"action": 0}).status == 409


def test_an_environment_that_raises_midway_is_a_502_and_goes_on(server: Server) -> None:
    """The steps before it were taken; the episode is under way and the next call goes on with it."""
    env = server.create(TROUBLE)
    answer = server.post(f"{env}/rollout/", {"actions": ["", "", "raise no good", ""]})
    assert answer.status == 502
    assert "no good" in answer.message
    found = server.post(f"{env}/rollout/", {"actions": ["", ""]}).json
    assert found["observations"][1:] == [4, 5]


@pytest.mark.parametrize(("action", "status"), [("exit 7", 502), ("hang", 504)])
def test_an_environment_that_dies_or_hangs_midway_is_lost(process_server: Server, action: str, status: int) -> None:
    """`call_timeout` bounds the rollout as a whole."""
    env = process_server.create(TROUBLE, call_timeout=0.5)
    assert process_server.post(f"{env}/rollout/", {"actions": ["", action]}).status == status
    assert process_server.post(f"{env}/rollout/", {"actions": [""]}).status == 410


@pytest.mark.parametrize("is_handed_over", [True, False])
def test_a_rollout_with_a_step_that_hangs_says_what_was_done_before(is_handed_over: bool) -> None:
    """The 504 and the later 410 tell the steps and episodes of that rollout, and none that were taken before it."""
    with start("handover" if is_handed_over else "process") as server, Client(server) as client:
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE, 'call_timeout': 1})).json['instance_id']}"
        for _ in range(3):
            assert client.ask(post(f"{env}/rollout/", {"actions": ["", ""]})).status == 200
        answer = client.ask(post(f"{env}/rollout/", {"actions": ["", "", "", "hang"]}))
        assert answer.status == 504
        assert answer.json["type"].endswith(":call-timeout")
        assert (answer.json["steps"], answer.json["episodes"]) == (3, 0)
        words = "rollout took longer than 1 s and the environment was killed after 3 steps and 0 episodes of it"
        assert words in answer.message
        assert words in client.ask(post(f"{env}/step/", {"action": ""})).message


@FORMS
def test_a_rollout_over_max_reply_is_a_413_that_names_it(small_server: Server, form: str) -> None:
    """Where it is known beforehand nothing is executed, else it stops on the way; the instance goes on."""
    env = small_server.create("Pendulum-v1")
    for body in ({"policy": "random", "steps": 2**31 - 1}, {"actions": [[0.0]] * 1900}):
        answer = send(small_server, f"{env}/rollout/", body, form)
        assert answer.status == 413
        assert (answer.json["limit"], answer.json["setting"]) == (LIMIT, "max_reply")
        assert "--max-reply" in answer.message
        assert str(LIMIT) in answer.message
        assert small_server.post(f"{env}/step/", {"action": 0}).status == 409
    endless = small_server.create(TROUBLE)
    answer = send(small_server, f"{endless}/rollout/", {"policy": "random", "episodes": 1}, form)
    assert answer.status == 413
    assert answer.json["setting"] == "max_reply"
    everything = small_server.create("tests/Everything-v0")
    assert send(small_server, f"{everything}/rollout/", {"policy": "random", "steps": 150}, form).status == 413
    assert read(send(small_server, f"{env}/rollout/", {"policy": "random", "steps": 100}, form), form)
    assert small_server.get(f"{env}/").json["steps"] == 100


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_values_of_every_space_are_stacked_and_none_is_smaller_than_estimated(space: spaces.Space) -> None:
    """Array-like spaces give one array of their dtype, also where there are no values; an estimate refuses nothing that fits."""
    space.seed(1)
    wide = isinstance(space, spaces.Box) and space.dtype == np.longdouble  # which Gymnasium cannot sample
    values = [np.zeros(space.shape, space.dtype) if wide else space.sample() for _ in range(3)]
    found = stacked(space, values)
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        assert same(found, np.stack([np.asarray(value) for value in values]))
        assert same(stacked(space, []), np.empty((0, *space.shape), space.dtype))
    for form in (JSON, MSGPACK):
        assert len(ENCODERS[form](found)) >= 3 * element_count(space)


def test_values_that_do_not_fit_their_space_are_a_list_of_what_a_step_would_answer() -> None:
    """Nothing is dropped, narrowed or reshaped to make an array."""
    both = spaces.Dict({"a": spaces.Discrete(3)})
    assert stacked(both, [{"a": 1, "b": 2}, {"a": 2, "b": 3}]) == [{"a": 1, "b": 2}, {"a": 2, "b": 3}]
    assert stacked(both, [{"a": 1}, {}]) == [{"a": 1}, {}]
    assert stacked(spaces.Tuple([both]), [(1, 2), (3, 4)]) == [(1, 2), (3, 4)]
    assert same(stacked(both["a"], [np.array([1]), 2.0, np.int32(2)]), np.array([1, 2, 2]))
    assert same(stacked(both["a"], [0.5, 1]), np.array([0.5, 1]))
    assert same(stacked(spaces.Discrete(3, dtype=np.uint8), [300, 1]), np.array([300, 1]))
    box = spaces.Box(0, 1, (2,))
    assert [each.tolist() for each in stacked(box, [np.zeros(2), np.zeros(3)])] == [[0, 0], [0, 0, 0]]
    assert stacked(box, ["x", None]) == ["x", None]
    assert same(stacked(box, [np.zeros(2), np.ones(2)]), np.array([[0.0, 0.0], [1.0, 1.0]]))


def test_what_is_kept_does_not_change_with_what_it_was_made_of() -> None:
    """Arrays inside of dicts, tuples, lists and graphs are copied."""
    array = np.zeros((2, 1))
    held = kept({"a": (array, [array]), "graph": spaces.GraphInstance(array, None, array)})
    array += 1
    assert not held["a"][0].any()
    assert not held["a"][1][0].any()
    assert not held["graph"].nodes.any()
    assert not held["graph"].edge_links.any()
    assert held["graph"].edges is None


def test_a_trajectory_ends_at_the_limit_and_arrays_of_actions_have_time_first() -> None:
    """A rollout of which nobody knows the length stops before it outgrows the reply."""
    trajectory = RolloutBuffer(spaces.Box(0, 1, (100,)), spaces.Discrete(2), 1000)
    trajectory.refuse_beyond(None)
    trajectory.refuse_beyond(9)
    with pytest.raises(ReplyTooLargeError, match="--max-reply"):
        trajectory.refuse_beyond(10)
    trajectory.start(np.zeros(100))
    while trajectory.steps < 10 and trajectory.goes_on(None, 1):
        trajectory.add(1, np.zeros(100), 0.0, terminated=False, truncated=False)
    with pytest.raises(ReplyTooLargeError):
        trajectory.goes_on(None, 1)
    assert [row.tolist() for _, row in planned(np.eye(2))] == [[1, 0], [0, 1]]


@pytest.mark.parametrize("asked", [{"episodes": 10**9}, {"steps": 4_000_000}])
def test_a_rollout_that_takes_too_long_ends_itself(process_server: Server, asked: dict[str, int]) -> None:
    """Its 504 says how many steps and episodes were taken, and the instance goes on from there."""
    env = process_server.create("CartPole-v1", call_timeout=8.0)
    answer = process_server.post(f"{env}/rollout/", {"policy": "random", **asked})
    assert answer.status == 504
    assert answer.json["type"].endswith(":rollout-timeout")
    told = process_server.get(env).json
    assert (answer.json["steps"], answer.json["episodes"]) == (told["steps"], told["episodes"])
    assert f"{told['steps']} steps" in answer.message
    assert told["steps"] > 0
    assert told["state"] == "ready"
    assert process_server.post(f"{env}/step/", {"action": 0}).status == 200
    assert process_server.post(f"{env}/close/").status == 200
