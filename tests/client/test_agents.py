"""Environments of several agents, in the shape of PettingZoo's parallel ones."""

from __future__ import annotations

from contextlib import closing

import pytest

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem

from ..conftest import start
from ..support.agent_envs import Leaving
from ..support.sample_spaces import same

AGENTS = "tests/Agents-v0"


@pytest.fixture(scope="module")
def server():
    with start("handover", "--env", f"{AGENTS}=tests.support.agent_envs:Leaving") as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url) as client:
        yield client


def in_turn(agents, step):
    return {agent: (step + at) % 3 for at, agent in enumerate(agents)}


@pytest.mark.parametrize("packed", [True, False])
def test_a_parallel_environment_is_the_same_with_and_without_a_server(server, packed):
    """Observations, rewards, ends and infos by agent, to the bit; agents that have left are missing."""
    local = Leaving()
    with RemoteEnv(server.url, AGENTS, packed=packed) as remote:
        assert list(remote.action_space.spaces) == local.possible_agents
        for seed in (7, 8):
            observations, infos = local.reset(seed=seed)
            remote_observations, remote_infos = remote.reset(seed=seed)
            assert [list(remote_observations), remote_infos["late"]["action_mask"].dtype] == [
                list(observations),
                infos["late"]["action_mask"].dtype,
            ]
            for step in range(3):
                actions = in_turn(local.agents, step)
                given, expected = remote.step(actions), local.step(actions)
                assert same([plain(part) for part in given], [plain(part) for part in expected])


def plain(part):
    """Return what is by agent without the types of values, which the observation space has."""
    return {
        agent: {key: str(item) for key, item in value.items()} if isinstance(value, dict) else value
        for agent, value in part.items()
    }


def test_actions_are_those_of_the_agents_that_are_there(client):
    """Of the others they are passed over; a missing or unknown one is the client's error, and the step is not taken."""
    instance_id = client.create_env(AGENTS)["instance_id"]
    client.reset_env(instance_id)
    with pytest.raises(ServerProblem, match="none for 'early', 'middle'") as refused:
        client.step_env(instance_id, {"late": 1})
    assert refused.value.status == 400
    with pytest.raises(ServerProblem, match="unexpected"):
        client.step_env(instance_id, {"late": 1, "early": 1, "middle": 1, "nobody": 1})
    actions = {"late": 1, "early": 1, "middle": 1}
    replies = [client.step_env(instance_id, actions) for _ in range(3)]
    assert [list(reply["rewards"]) for reply in replies] == [["late", "early", "middle"], ["late", "middle"], ["late"]]
    assert [reply["done"] for reply in replies] == [False, False, True]


def test_a_rollout_of_agents_draws_random_actions(client):
    """A list of what each step gave, by agent."""
    instance_id = client.create_env(AGENTS)["instance_id"]
    reply = client.rollout(instance_id, policy="random", episodes=2, seed=3)
    assert [list(rewards) for rewards in reply["component_rewards"][:3]] == [
        ["late", "early", "middle"],
        ["late", "middle"],
        ["late"],
    ]
    assert reply["terminated"] == [False, False, True] * 2


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_batch_of_agents_has_an_element_for_each_lane(server, mode):
    """Observations and actions are tuples of those of the lanes."""
    create = {} if mode == "sync" else {"autoreset_mode": "same_step"}
    with closing(RemoteVectorEnv(server.url, AGENTS, 2, vectorization_mode=mode, **create)) as batch:
        observations, _ = batch.reset(seed=1)
        actions = {"late": 1, "early": 2, "middle": 0}
        assert [list(each) for each in observations] == [list(actions)] * 2
        observations, rewards, terminated, _, infos = batch.step((actions, actions))
        assert [list(each) for each in observations] == [list(actions)] * 2
        assert dict(rewards[1]) == {"late": 1.0, "early": 2.0, "middle": 0.0}
        assert terminated.tolist() == [False, False]
        assert infos["terminations"][0] == {"late": False, "early": True, "middle": False}


def test_agents_can_be_saved_and_restored(client):
    """The same actions give the same outcome."""
    instance_id = client.create_env(AGENTS)["instance_id"]
    client.reset_env(instance_id, seed=1)
    actions = {"late": 1, "early": 1, "middle": 1}
    snapshot_id = client.create_snapshot(instance_id)
    first = client.step_env(instance_id, actions)
    client.restore_snapshot(instance_id, snapshot_id)
    assert client.step_env(instance_id, actions) == first
