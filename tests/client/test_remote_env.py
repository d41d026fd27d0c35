"""`RemoteEnv` against a real server: an environment of Gymnasium in all that Gymnasium's own tests ask."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import orjson
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import batch_space

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem
from gym_http_server.client.values import action_writer, observation_reader
from gym_http_server.runtime.values.encoding import json_bytes, msgpack_bytes
from gym_http_server.runtime.values.packing import unpack
from gym_http_server.runtime.values.spaces import describe, rebuild

from ..support.sample_spaces import SAMPLE_SPACES, same
from ..support.serving import Server

REMOTE = "gym_http_server.client:gym_http_server/Remote-v0"
IDS = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4", "Blackjack-v1", "MountainCarContinuous-v0"]


def complaints(env):
    """Return what Gymnasium's checker warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    # It is to be: the window of a remote environment is the client's, not the server's.
    return {str(each.message) for each in caught if "HumanRendering wrapper is being applied" not in str(each.message)}


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_finds_nothing_in_it_that_it_does_not_find_in_the_environment(server, env_id):
    """`check_env` passes, and warns of nothing that it does not warn of for the same environment without a server."""
    with gymnasium.make(env_id) as local, RemoteEnv(server.url, env_id) as remote:
        assert complaints(remote) <= complaints(local.unwrapped)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("env_id", IDS)
def test_it_is_bit_by_bit_the_environment_itself(server, env_id, packed):
    """The same seed and actions give the same spaces, observations, rewards and ends, with their types and dtypes."""
    with gymnasium.make(env_id) as local, RemoteEnv(server.url, env_id, packed=packed) as remote:
        assert remote.action_space == local.action_space
        assert remote.observation_space == local.observation_space
        local.action_space.seed(3)
        assert same(remote.reset(seed=7), local.reset(seed=7))
        for _ in range(30):
            action = local.action_space.sample()
            one, other = local.step(action), remote.step(action)
            assert same(other, one)
            if one[2] or one[3]:
                assert same(remote.reset(), local.reset())


@pytest.mark.parametrize("read", [orjson.loads, unpack])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_observations_of_every_kind_of_space_come_as_gymnasium_has_them(space, batched, read):
    """What an environment with any space returns is the same after the way over the wire, and may be written to."""
    rebuilt = rebuild(orjson.loads(orjson.dumps(describe(space))))
    if batched:
        space, rebuilt = batch_space(space, 3), batch_space(rebuilt, 3)
    space.seed(5)
    write, come = action_writer(space), observation_reader(rebuilt)
    for _ in range(5):
        value = _sample(space)
        encode = json_bytes if read is orjson.loads else msgpack_bytes
        received = come(read(encode(write(value))))
        assert same(received, value)
        assert not isinstance(received, np.ndarray) or received.flags.writeable


def _sample(space):
    if space.dtype == np.longdouble:  # Gymnasium cannot sample it, and the wire has no number wider than a double
        return np.random.default_rng(5).normal(size=space.shape).astype(space.dtype)
    value = space.sample()
    # Gymnasium samples a numpy scalar, not an array, for a 0-d Box of integers.
    return np.asarray(value) if isinstance(space, gymnasium.spaces.Box) else value


def test_an_observation_outside_of_its_space_comes_as_it_is():
    """An observation that its space cannot hold is passed on, as Gymnasium does."""
    assert observation_reader(gymnasium.spaces.Discrete(2))("odd") == "odd"


def test_arrays_that_come_are_the_callers(server):
    """Observations and the arrays in `info` may be written to, and no call changes what an earlier one returned."""
    with RemoteEnv(server.url, "Taxi-v4") as env:
        _, info = env.reset(seed=0)
        kept = info["action_mask"].copy()
        assert kept.dtype == np.int8
        env.step(0)
        assert (info["action_mask"] == kept).all()
        info["action_mask"][:] = 0


def test_the_first_seed_and_the_arguments_of_the_constructor_go_to_the_server(server):
    """Further arguments are those of `create_env`."""
    options = {"seed": 4, "kwargs": {"map_name": "8x8"}, "max_episode_steps": 2, "library": "gymnasium"}
    with RemoteEnv(server.url, "FrozenLake-v1", **options) as env:
        assert env.observation_space.n == 64
        env.reset()
        assert env.step(0)[3] is False
        assert env.step(0)[3] is True


@pytest.mark.parametrize(("env_id", "shape"), [("CartPole-v1", (400, 600, 3)), ("FrozenLake-v1", (256, 256, 3))])
def test_a_frame_is_exactly_that_of_the_environment(server, env_id, shape):
    """`render` returns the pixels that the environment drew, as they are."""
    with gymnasium.make(env_id, render_mode="rgb_array") as local, RemoteEnv(server.url, env_id) as remote:
        local.reset(seed=1)
        remote.reset(seed=1)
        frame = remote.render()
        assert (frame.shape, frame.dtype, remote.render_mode) == (shape, np.uint8, "rgb_array")
        assert frame.flags.writeable
        if env_id == "CartPole-v1":  # FrozenLake draws where its elf looks, which its first picture depends on
            assert (frame == local.render()).all()


def test_a_text_is_rendered_as_a_text(server):
    """The render mode `ansi` gives a str, and `metadata` names the mode."""
    with RemoteEnv(server.url, "FrozenLake-v1", render_mode="ansi") as env:
        env.reset(seed=0)
        assert "FHFH" in env.render()
        assert env.render_mode == "ansi"


def test_closing_forgets_the_instance_and_may_be_done_again(server):
    """`close` closes the instance, a second one does nothing, and a closed environment says so."""
    env = RemoteEnv(server.url, "CartPole-v1")
    with Client(server.url) as client:
        assert env.instance_id in client.list_envs()
        instance_id = env.instance_id
        env.close()
        env.close()
        assert instance_id not in client.list_envs()
    with pytest.raises(RuntimeError, match="closed: make another"):
        env.reset()
    assert "closed" in str(env)


def test_an_instance_that_is_gone_is_closed_in_peace(server):
    """`close` is content with an instance that another client has closed."""
    with RemoteEnv(server.url, "CartPole-v1") as env, Client(server.url) as client:
        client.close_env(env.instance_id)
        with pytest.raises(ServerProblem, match="create an instance first"):
            env.reset()


def test_a_lost_environment_says_what_to_do(process_server):
    """An environment whose process died raises ServerProblem, with each call, and closes."""
    with RemoteEnv(process_server.url, "tests/Troublemaker-v0") as env:
        env.reset()
        with pytest.raises(ServerProblem) as died:
            env.step("exit 3")
        assert died.value.status == 502
        with pytest.raises(ServerProblem) as lost:
            env.step("")
        assert lost.value.status == 410


def test_without_its_server_a_call_says_how_to_start_one_and_closing_succeeds():
    """When the server has ended, a call raises ConnectionError and `close` does nothing."""
    with Server() as server:
        env = RemoteEnv(server.url, "CartPole-v1")
        env.reset()
    with pytest.raises(ConnectionError, match="gym-http-server --port"):
        env.step(0)
    env.close()


def test_a_refused_environment_is_a_server_problem(server):
    """An id that the server does not know raises when the environment is made."""
    with pytest.raises(ServerProblem, match="malformed environment ID"):
        RemoteEnv(server.url, "Nonsense-v0")


def test_gymnasium_makes_it_by_its_id(server):
    """`gymnasium.make` makes it with Gymnasium's wrappers, and its spec makes it again."""
    with gymnasium.make(REMOTE, url=server.url, env_id="CartPole-v1", max_episode_steps=3) as env:
        env.reset(seed=0)
        for _ in range(2):
            assert env.step(env.action_space.sample())[3] is False
        assert env.step(env.action_space.sample())[3] is True
        spec = env.unwrapped.spec
    assert spec.id == "gym_http_server/Remote-v0"
    with gymnasium.make(spec) as again:
        assert isinstance(again.unwrapped, RemoteEnv)
    with RemoteEnv(server.url, "CartPole-v1") as direct, gymnasium.make(direct.spec) as again:
        assert isinstance(again.unwrapped, RemoteEnv)


@pytest.mark.parametrize("first", ["gymnasium", "gym_http_server.client"])
def test_the_id_is_registered_whichever_is_imported_first(first):
    """Importing the client and Gymnasium, in any order, registers the id once."""
    code = (
        f"import sys, {first}, gymnasium, gym_http_server.client; "
        "print('gym_http_server/Remote-v0' in gymnasium.registry); "
        "print([each for each in sys.meta_path if 'gym_http_server' in type(each).__module__])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.check_output(command, text=True) == "True\n[]\n"


def test_a_server_does_not_serve_the_clients_own_environment(server):
    """The id of the remote environment is refused by a server, which would serve itself."""
    with pytest.raises(ServerProblem, match="no server serves it"):
        RemoteEnv(server.url, "gym_http_server/Remote-v0")


@pytest.mark.parametrize("make", [RemoteEnv, functools.partial(gymnasium.make, REMOTE)])
def test_the_api_key_is_in_no_spec_and_no_text(server, make):
    """Neither the spec in any form nor a text of the environment has the API key."""
    with make(url=server.url, env_id="CartPole-v1", api_key="s3cret") as env:
        for spec in (env.spec, env.unwrapped.spec):
            assert b"s3cret" not in pickle.dumps(spec)
            assert "s3cret" not in f"{env} {env!r} {spec} {spec.to_json()} {spec.pprint(disable_print=True)}"


def test_what_a_spec_makes_has_the_key_of_the_variable(monkeypatch):
    """An environment and a batch made of a spec's JSON are let in with the API key of GYM_HTTP_SERVER_API_KEY."""
    with Server("--api-key", "s3cret") as server:
        with RemoteEnv(server.url, "CartPole-v1", api_key="s3cret") as env:
            text = env.spec.to_json()
        with pytest.raises(ServerProblem, match="key"):
            gymnasium.make(EnvSpec.from_json(text))
        monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "s3cret")
        gymnasium.make(EnvSpec.from_json(text)).close()
        batch = RemoteVectorEnv(server.url, "CartPole-v1", 2)
        gymnasium.make_vec(batch.spec).close()
        batch.close()


def test_it_is_seeded_as_gymnasium_expects(server):
    """`reset(seed=…)` seeds the environment's own generator, too."""
    with RemoteEnv(server.url, "CartPole-v1") as env:
        env.reset(seed=9)
        assert env.np_random_seed == 9
        first = env.np_random.random()
        env.reset(seed=9)
        assert env.np_random.random() == first


def test_the_seed_of_the_creation_is_that_of_the_first_reset_alone(server):
    """Its generator goes on from there, as that of an environment does which is reset without a seed."""
    with RemoteEnv(server.url, "CartPole-v1", seed=9) as env:
        drawn = []
        for _ in range(2):
            env.reset()
            drawn.append(env.np_random.random())
        assert drawn[0] == np.random.default_rng(9).random() != drawn[1]


def test_the_frame_that_came_with_a_step_is_not_that_of_what_is_restored(server):
    """With `frames`, a frame that came along is shown until the state is another."""
    with RemoteEnv(server.url, "CartPole-v1", render_mode="rgb_array", frames=True) as env:
        env.reset(seed=1)
        env.step(1)
        shown, snapshot = env.render(), env.snapshot()
        for _ in range(5):
            env.step(1)
        assert not np.array_equal(env.render(), shown)
        env.restore(snapshot)
        assert np.array_equal(env.render(), shown)


def test_it_tells_what_the_environment_tells_of_itself(server):
    """`metadata` and what the registration says are those of the environment; so they are after `make`, and of its spec."""
    with gymnasium.make("CartPole-v1") as local, RemoteEnv(server.url, "CartPole-v1") as env:
        assert env.metadata == local.metadata
        assert env.metadata["render_fps"] == 50
        assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (500, 475.0)
    with gymnasium.make(REMOTE, url=server.url, env_id="CartPole-v1", max_episode_steps=3) as env:
        assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (3, 475.0)


def test_its_seed_is_the_environments_own_of_128_bits(server):
    """Another environment seeded with `np_random_seed` begins alike: of the creation, of fresh entropy, of a reset."""
    with (
        RemoteEnv(server.url, "CartPole-v1") as env,
        gymnasium.make("CartPole-v1") as local,
        RemoteEnv(server.url, "CartPole-v1", seed=2**100) as third,
    ):
        assert env.np_random_seed > 2**64
        first, _ = env.reset()
        assert same(local.reset(seed=env.np_random_seed)[0], first)
        assert same(env.reset(seed=local.unwrapped.np_random_seed)[0], first)
        assert env.np_random.random() == np.random.default_rng(env.np_random_seed).random()
        assert same(third.reset()[0], env.reset(seed=2**100)[0])
        assert third.np_random_seed == env.np_random_seed == 2**100


def test_a_seed_that_is_none_raises_what_gymnasium_raises(server):
    """A negative seed and one that is no integer raise Gymnasium's Error before anything is sent."""
    with RemoteEnv(server.url, "CartPole-v1") as env:
        for seed in (-1, 0.5, "1"):
            with pytest.raises(gymnasium.error.Error):
                env.reset(seed=seed)
