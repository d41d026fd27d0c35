"""`RemoteVectorEnv` against a real server, beside Gymnasium's own vector environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gym_http_server.client import Client, RemoteVectorEnv, ServerProblem

from .sample_spaces import same
from .serving import Server

REMOTE = "gym_http_server.client:gym_http_server/Remote-v0"
MODES = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4", "Blackjack-v1"])
@pytest.mark.parametrize("mode", MODES)
def test_it_is_bit_by_bit_gymnasiums_vector_environment(server, env_id, mode):
    """In each autoreset mode, the same seed and actions give what SyncVectorEnv gives, infos included."""
    local = gymnasium.make_vec(
        env_id, 3, vectorization_mode="sync", max_episode_steps=12, vector_kwargs={"autoreset_mode": MODES[mode]}
    )
    remote = RemoteVectorEnv(server.url, env_id, 3, autoreset_mode=mode, max_episode_steps=12)
    with_both = [local, remote]
    try:
        assert remote.metadata["autoreset_mode"] is MODES[mode]
        for name in ("single_action_space", "single_observation_space", "action_space", "observation_space"):
            assert getattr(remote, name) == getattr(local, name)
        assert remote.num_envs == 3
        one, other = (each.reset(seed=5) for each in with_both)
        assert same(other[0], one[0])
        assert _same_infos(other[1], one[1])
        local.action_space.seed(1)
        for _ in range(40):
            actions = local.action_space.sample()
            one, other = (each.step(actions) for each in with_both)
            assert all(map(same, other[:4], one[:4]))
            assert _same_infos(other[4], one[4])
            ended = one[2] | one[3]
            if mode == "disabled" and ended.any():
                one, other = (each.reset(options={"reset_mask": ended}) for each in with_both)
                assert same(other[0], one[0])
    finally:
        for each in with_both:
            each.close()


def _same_infos(one, other):
    if isinstance(other, dict):
        return list(one) == list(other) and all(_same_infos(one[key], other[key]) for key in other)
    if isinstance(other, np.ndarray) and other.dtype == object:
        return one.dtype == object and all(map(_same_infos, one, other))
    if isinstance(other, np.ndarray) and other.dtype.kind not in "biuf":
        return list(one) == list(other)
    if isinstance(other, tuple):
        # The lanes' own observations, in which Blackjack has plain ints where its space has numpy's.
        return len(one) == len(other) and all(map(_same_infos, one, other))
    if isinstance(one, np.generic | float | int) and isinstance(other, np.generic | float | int):
        return one == other
    return same(one, other)


def test_its_arrays_are_the_callers(server):
    """Observations, rewards and ends may be written to."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2)
    env.reset(seed=0)
    for array in env.step(np.array([0, 1]))[:4]:
        array[:] = 0
    env.close()


def test_each_lane_may_have_its_own_seed(server):
    """A list of seeds seeds each lane; lanes with the same seed begin alike."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 3, vectorization_mode="sync")
    observations, _ = env.reset(seed=[4, 4, None])
    assert (observations[0] == observations[1]).all()
    assert (observations[0] != observations[2]).any()
    env.close()


def test_actions_may_be_lists(server):
    """Plain lists are taken for the arrays that they stand for."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2, packed=False)
    env.reset(seed=0)
    observations, rewards, terminated, truncated, infos = env.step([0, 1])
    assert observations.dtype == np.float32
    assert (rewards.tolist(), terminated.tolist(), truncated.tolist(), infos) == ([1, 1], [False] * 2, [False] * 2, {})
    env.close()


def test_gymnasium_makes_a_batch_by_its_id(server):
    """`gymnasium.make_vec` makes a batch on the server, and wrappers of Gymnasium take it."""
    env = gymnasium.make_vec(REMOTE, num_envs=2, url=server.url, env_id="CartPole-v1")
    assert isinstance(env, RemoteVectorEnv)
    assert env.spec.id == "gym_http_server/Remote-v0"
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    wrapped.reset(seed=0)
    episodes = 0
    for _ in range(60):
        episodes += wrapped.step(wrapped.action_space.sample())[4].get("_episode", np.zeros(2)).sum()
    assert episodes > 0
    wrapped.close()


def test_closing_forgets_the_batch_and_may_be_done_again(server):
    """`close` closes the instance on the server, and a second one does nothing."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2)
    with Client(server.url) as client:
        assert env.instance_id in client.list_envs()
        env.close()
        env.close()
        assert env.instance_id not in client.list_envs()


def test_a_batch_that_is_refused_is_a_server_problem(server):
    """What the server refuses raises when the batch is made."""
    with pytest.raises(ServerProblem, match="malformed environment ID"):
        RemoteVectorEnv(server.url, "Nonsense-v0", 2)
    with pytest.raises(ServerProblem):
        RemoteVectorEnv(server.url, "CartPole-v1", 0)


def test_a_wrong_action_names_its_lane(server):
    """An action outside of its space raises ServerProblem with the lane, and the batch goes on."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 3)
    env.reset(seed=0)
    with pytest.raises(ServerProblem, match="lane 1") as caught:
        env.step([0, 2, 0])
    assert caught.value.status == 400
    env.step([0, 1, 0])
    env.close()


def test_without_its_server_a_call_says_how_to_start_one_and_closing_succeeds():
    """When the server has ended, a call raises ConnectionError and `close` does nothing."""
    with Server() as server:
        env = RemoteVectorEnv(server.url, "CartPole-v1", 2)
        env.reset()
    with pytest.raises(ConnectionError, match="gym-http-server --port"):
        env.step([0, 0])
    env.close()


def test_the_api_key_is_in_no_text(server):
    """The spec of a batch does not show the API key, and still has it."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2, api_key="s3cret")
    assert "s3cret" not in f"{env} {env!r} {env.spec}"
    assert env.spec.kwargs["api_key"] == "s3cret"
    env.close()
