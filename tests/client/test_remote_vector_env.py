"""`RemoteVectorEnv` against a real server, beside Gymnasium's own vector environments."""

from __future__ import annotations

import io

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from PIL import Image

from gym_http_server.client import Client, RemoteVectorEnv, ServerProblem

from ..support.sample_spaces import same
from ..support.serving import Server

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
        assert same(other, one)
        local.action_space.seed(1)
        for _ in range(40):
            actions = local.action_space.sample()
            one, other = (each.step(actions) for each in with_both)
            assert same(other, one)
            ended = one[2] | one[3]
            if mode == "disabled" and ended.any():
                one, other = (each.reset(options={"reset_mask": ended}) for each in with_both)
                assert same(other, one)
    finally:
        for each in with_both:
            each.close()


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


def test_the_api_key_is_in_no_spec_and_no_text(server):
    """Neither the spec of a batch nor a text of it has the API key."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2, api_key="s3cret")
    assert "s3cret" not in f"{env} {env!r} {env.spec} {env.spec.to_json()}"
    env.close()


@pytest.mark.parametrize("create", [{"vectorization_mode": "sync"}, {"wrappers": [{"name": "FlattenObservation"}]}, {}])
def test_a_spec_makes_the_same_batch_again(server, create):
    """`make_vec` of a batch's spec, and of that one's, is a batch of the same lanes, mode, wrappers and limits."""
    envs = [RemoteVectorEnv(server.url, "CartPole-v1", 2, autoreset_mode="same_step", max_episode_steps=9, **create)]
    envs += [gymnasium.make_vec(EnvSpec.from_json(envs[0].spec.to_json()))]
    envs += [gymnasium.make_vec(envs[1].spec)]
    with Client(server.url) as client:
        told = [client.get_env(each.instance_id) for each in envs]
    for name in ("num_envs", "vectorization_mode", "autoreset_mode", "wrappers", "specification", "render_mode"):
        assert told[0][name] == told[1][name] == told[2][name]
    assert {(each.spec.max_episode_steps, each.spec.reward_threshold) for each in envs} == {(9, 475.0)}
    for each in envs:
        each.close()


@pytest.mark.parametrize("packed", [True, False])
def test_it_renders_a_frame_for_each_lane(server, packed):
    """`render` gives the frames that the lanes drew, as `make_vec` does; each is to be had by itself as a file."""
    local = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync", render_mode="rgb_array")
    remote = RemoteVectorEnv(server.url, "CartPole-v1", 2, vectorization_mode="sync", packed=packed)
    for each in (local, remote):
        each.reset(seed=3)
    frames = remote.render()
    assert same(frames, local.render())
    with Client(server.url) as client:
        for lane, frame in enumerate(frames):
            with Image.open(io.BytesIO(client.render_env(remote.instance_id, lane=lane))) as picture:
                assert same(np.array(picture), frame)
        with pytest.raises(ServerProblem, match="no lane 2: this instance has the lanes 0 to 1") as refused:
            client.render_env(remote.instance_id, lane=2)
        assert refused.value.status == 400
    for each in (local, remote):
        each.close()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point", "async"])
def test_its_seeds_are_the_lanes_own(process_server, mode):
    """`np_random_seed` is what Gymnasium's vector environments tell, and seeds another batch alike."""
    env = RemoteVectorEnv(process_server.url, "CartPole-v1", 2, vectorization_mode=mode)
    local = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode=mode)
    for each in (env, local):
        each.reset(seed=7)
    assert env.np_random_seed == local.np_random_seed
    if mode != "vector_entry_point":
        again = RemoteVectorEnv(process_server.url, "CartPole-v1", 2, vectorization_mode=mode)
        assert min(again.np_random_seed) > 2**64
        assert same(again.reset()[0], env.reset(seed=list(again.np_random_seed))[0])
        env.reset(seed=[1, 5], options={"reset_mask": np.array([True, False])})
        assert env.np_random_seed == (1, again.np_random_seed[1])
        assert [each.random() for each in env.np_random] == [
            np.random.default_rng(seed).random() for seed in env.np_random_seed
        ]
        again.close()
    for each in (env, local):
        each.close()


BAD_MASKS = [[True, False], np.array([True]), np.array([1, 0]), np.array([False, False])]


@pytest.mark.parametrize("mask", BAD_MASKS)
def test_a_bad_mask_raises_what_gymnasium_raises(server, mask):
    """The type and the words of the exception are those of Gymnasium's own."""
    raised = []
    for env in (
        gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"),
        RemoteVectorEnv(server.url, "CartPole-v1", 2, vectorization_mode="sync"),
    ):
        env.reset(seed=0)
        with pytest.raises((TypeError, ValueError)) as caught:
            env.reset(options={"reset_mask": mask})
        raised.append((caught.type, str(caught.value)))
        with pytest.raises(ValueError, match="length must match") as caught:
            env.reset(seed=[1])
        raised.append(caught.type)
        env.close()
    assert raised[:2] == raised[2:]


def test_the_autoreset_mode_is_gymnasiums(server):
    """`autoreset_mode` takes a member of Gymnasium's enumeration, and is one."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 2, autoreset_mode=AutoresetMode.DISABLED)
    assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.spec.kwargs["autoreset_mode"] == "disabled"
    env.close()
