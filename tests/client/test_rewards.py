"""Rewards that are no single numbers, and ends by agent: steps, rollouts, batches, recordings and evaluations."""

from __future__ import annotations

import json
from contextlib import closing
from urllib.request import urlopen

import gymnasium
import numpy as np
import pytest

from gym_http_server import load_results
from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem

from ..conftest import start
from ..support.reward_envs import FORMS
from ..support.sample_spaces import same

REWARDS = "tests/Rewards-v0"


@pytest.fixture(scope="module")
def server():
    guest = ("--interpreter", "guest=self", "--interpreter-import", "guest=tests.support.reward_envs")
    with start("handover", "--import", "tests.support.reward_envs", *guest) as server:
        yield server


@pytest.fixture(scope="module", params=[True, False], ids=["MessagePack", "JSON"])
def client(request, server):
    with Client(server.url, packed=request.param) as client:
        yield client


def made(client, form, **create):
    """Return a new instance after its first reset."""
    kwargs = {"form": form, "by_agent": create.pop("by_agent", False)}
    instance_id = client.create_env(REWARDS, kwargs=kwargs, **create)["instance_id"]
    (client.reset_env if "num_envs" not in create else client.reset_batch)(instance_id)
    return instance_id


def plain(value):
    return json.loads(json.dumps(value, default=lambda each: each.tolist()))


@pytest.mark.parametrize("by_agent", [False, True])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_remote_environment_returns_the_reward_and_ends_that_the_environment_returns(server, form, packed, by_agent):
    """In value, type, dtype and shape: arrays, tuples, lists, dicts and None."""
    remote = RemoteEnv(server.url, REWARDS, packed=packed, kwargs={"form": form, "by_agent": by_agent})
    with remote, gymnasium.make(REWARDS, disable_env_checker=True, form=form, by_agent=by_agent) as local:
        local.reset(), remote.reset()
        for _ in range(3):
            assert same(remote.step(1), local.unwrapped.step(1))


@pytest.mark.parametrize(
    ("form", "reward", "rewards"),
    [
        ("vector", None, [1.0, -1.0]),
        ("tuple", None, [1.0, -0.5]),
        ("agents", None, {"first": 1.0, "second": -1.0}),
        ("none", None, None),
        ("array_of_one", 1.0, None),
        ("integer", 1.0, None),
    ],
)
def test_reward_is_one_number_or_null_and_rewards_has_what_is_more(client, form, reward, rewards):
    """They are not added, and a step whose reward is no single number is served."""
    reply = client.step_env(made(client, form), 1)
    assert reply["reward"] == reward
    assert plain(reply.get("rewards")) == rewards
    assert {"terminations", "truncations"}.isdisjoint(reply)


def test_an_episode_by_agents_ends_with_its_last_agent(client):
    """It is truncated if one of them is; what is said by agent comes beside it."""
    instance_id = made(client, "agents", by_agent=True)
    replies = [client.step_env(instance_id, 1) for _ in range(3)]
    assert [(each["terminated"], each["truncated"], each["done"]) for each in replies] == [
        (False, False, False),
        (False, False, False),
        (False, True, True),
    ]
    assert replies[2]["terminations"] == {"first": True, "second": False}
    assert replies[2]["truncations"] == {"first": False, "second": True}


def test_a_rollout_has_every_reward_of_its_steps(client):
    """Arrays of one shape are one array; other forms a list; `rewards` stays one of numbers."""
    reply = client.rollout(made(client, "vector"), actions=[1, 1, 1, 1])
    assert plain(reply["component_rewards"]) == [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [1.0, -1.0]]
    assert np.isnan(np.array(reply["rewards"], float)).all()
    reply = client.rollout(made(client, "agents", by_agent=True), actions=[1, 1])
    assert reply["component_rewards"] == [{"first": 1.0, "second": -1.0}, {"first": 2.0, "second": -1.0}]
    assert reply["terminations"] == [{"first": False, "second": False}, {"first": True, "second": False}]
    reply = client.rollout(made(client, "sometimes"), actions=[1, 1])
    assert "component_rewards" not in reply
    np.testing.assert_array_equal(np.array(reply["rewards"], float), [np.nan, 2.0])


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_batch_of_vectors_is_one_array_with_an_axis_of_components(server, packed, mode):
    """A lane that was only reset has zeros."""
    with_vectors = RemoteVectorEnv(
        server.url, REWARDS, 2, packed=packed, vectorization_mode=mode, kwargs={"form": "vector"}
    )
    with closing(with_vectors) as batch:
        batch.reset()
        rewards = [batch.step(np.array([1, 1]))[1] for _ in range(5)]
    assert all(each.dtype == np.float32 and each.shape == (2, 2) for each in rewards)
    assert [each[0].tolist() for each in rewards] == [[1, -1], [2, -2], [3, -3], [0, 0], [1, -1]]


@pytest.mark.parametrize("where", [{}, {"vectorization_mode": "async"}, {"interpreter": "guest"}], ids=str)
def test_a_lane_that_gives_several_rewards_later_than_in_its_first_step_is_carried(server, where):
    """Its plain numbers stay what they are."""
    with closing(RemoteVectorEnv(server.url, REWARDS, 2, kwargs={"form": "at_last"}, **where)) as batch:
        batch.reset()
        rewards = [batch.step(np.array([1, 1]))[1] for _ in range(7)]
    assert plain(rewards) == [
        *([0.0, 0.0], [0.0, 0.0], [[3.0, -3.0], [3.0, -3.0]]),
        *([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [0.0, 0.0], [[3.0, -3.0], [3.0, -3.0]]),
    ]


@pytest.mark.parametrize("autoreset_mode", ["next_step", "same_step", "disabled"])
def test_a_batch_by_agents_has_an_element_for_each_lane(server, autoreset_mode):
    """Its lanes end, and are reset, when all of their agents have ended."""
    kwargs = {"form": "agents", "by_agent": True}
    with closing(RemoteVectorEnv(server.url, REWARDS, 2, autoreset_mode=autoreset_mode, kwargs=kwargs)) as batch:
        batch.reset()
        steps = [batch.step(np.array([1, 1])) for _ in range(3)]
        assert steps[1][1][1] == {"first": 2.0, "second": -1.0}
        assert [step[2].tolist() for step in steps] == [[False, False]] * 3
        assert [step[3].tolist() for step in steps] == [[False, False], [False, False], [True, True]]
        assert steps[2][4]["truncations"][0] == {"first": False, "second": True}
        assert "gym_http_server_parts" not in str(steps[2][4])


def test_a_batch_by_agents_can_be_saved_and_restored(server):
    """The same actions then give the same rewards."""
    with closing(RemoteVectorEnv(server.url, REWARDS, 2, kwargs={"form": "vector"})) as batch:
        batch.reset()
        batch.step(np.array([1, 1]))
        snapshot_id = batch.snapshot()
        first = batch.step(np.array([1, 1]))[1]
        batch.restore(snapshot_id)
        np.testing.assert_array_equal(batch.step(np.array([1, 1]))[1], first)


@pytest.mark.parametrize("form", ["vector", "agents"])
def test_rewards_cross_from_another_interpreter(client, form):
    """Of a single environment and of a batch."""
    for create, step, action in (({}, client.step_env, 1), ({"num_envs": 2}, client.step_batch, [1, 1])):
        own, guest = (made(client, form, by_agent=True, **create, **where) for where in ({}, {"interpreter": "guest"}))
        for _ in range(4 if create else 3):
            assert plain(step(guest, action)) == plain(step(own, action))


def test_a_reward_space_is_described_where_there_is_one(server, client):
    """As the spaces of observations and actions are, for one lane of a batch."""
    with RemoteEnv(server.url, REWARDS, kwargs={"form": "vector"}) as remote:
        assert remote.reward_space == gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    for mode in ("sync", "async"):
        with closing(
            RemoteVectorEnv(server.url, REWARDS, 2, kwargs={"form": "vector"}, vectorization_mode=mode)
        ) as batch:
            assert batch.reward_space.shape == (2,)
        assert "reward_space" not in client.get_env(made(client, "tuple", num_envs=2, vectorization_mode=mode))
    assert "reward_space" not in client.get_env(made(client, "tuple"))


def record(client, directory, form, *, lanes=None):
    """Record two episodes of three steps."""
    create = {} if lanes is None else {"num_envs": lanes}
    instance_id = made(client, form, **create)
    client.start_monitor(instance_id, str(directory))
    if lanes is None:
        client.rollout(instance_id, policy="random", episodes=3)
    else:
        client.reset_batch(instance_id)
        for _ in range(4):
            client.step_batch(instance_id, [1] * lanes)
    state = client.get_monitor(instance_id)
    client.close_monitor(instance_id)
    return state


def test_a_recording_keeps_the_return_of_each_component(client, tmp_path):
    """By position or name; there is no sum of them."""
    state = record(client, tmp_path / "vector", "vector")
    assert state["last_component_returns"] == {"0": 6.0, "1": -6.0}
    assert state["mean_component_returns"] == {"0": 6.0, "1": -6.0}
    assert state["last_return"] is state["mean_return"] is None
    results = load_results(tmp_path / "vector")
    assert results["episode_component_rewards"] == [{"0": 6.0, "1": -6.0}] * 2
    assert results["episode_rewards"] == [None, None]
    state = record(client, tmp_path / "agents", "vectors_of_agents", lanes=2)
    assert state["last_component_returns"]["first/0"] == 6.0
    assert load_results(tmp_path / "agents")["episode_component_rewards"][1]["second/1"] == -6.0


def test_a_recording_sums_the_rewards_that_are_given(client, tmp_path):
    """An episode without any has no return; one of numbers has no components."""
    assert record(client, tmp_path / "sometimes", "sometimes")["last_return"] == 2.0
    assert record(client, tmp_path / "none", "none", lanes=2)["last_return"] is None
    assert "last_component_returns" not in record(client, tmp_path / "number", "number")
    assert "episode_component_rewards" not in load_results(tmp_path / "number")


def test_an_evaluation_ranks_by_the_component_that_the_upload_names(server, tmp_path):
    """It is shown beside the score, and each component has a table of its own."""
    with Client(server.url) as client:
        record(client, tmp_path / "agents", "agents")
        evaluation = client.upload_recording(str(tmp_path / "agents"), "any", "ppo", component="first")
        assert (evaluation["component"], evaluation["mean_return"]) == ("first", 6.0)
        client.upload_recording(str(tmp_path / "agents"), "any", "ppo", component="second")
        curve = client.get_evaluation(evaluation["evaluation_id"])["curve"]
        assert curve["episode_returns"] == [6.0, 6.0]
        page = urlopen(f"{server.url}/scoreboard").read().decode()
        assert "component first" in page
        assert "component second" in page


@pytest.mark.parametrize(
    ("form", "component", "words"),
    [
        ("agents", None, "name one of its components: 'first', 'second'"),
        ("agents", "third", "no component 'third'; its components: 'first', 'second'"),
        ("number", "0", "its rewards are single numbers, so leave component out"),
        ("none", None, "the environment gave no rewards"),
        ("agents", "x" * 257, "component has more than 256 characters"),
    ],
)
def test_an_upload_that_names_no_component_of_the_recording_says_which_there_are(
    server, tmp_path, form, component, words
):
    """It is a 400, and nothing is uploaded."""
    with Client(server.url) as client:
        record(client, tmp_path / "it", form)
        with pytest.raises(ServerProblem, match=words) as refused:
            client.upload_recording(str(tmp_path / "it"), "any", component=component)
        assert refused.value.status == 400
