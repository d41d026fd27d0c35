"""What `RemoteEnv` and `RemoteVectorEnv` give back, beside the same environment of Gymnasium without a server."""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import Any

import gymnasium
import numpy as np
import orjson
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from gym_http_server.client import RemoteEnv, RemoteVectorEnv
from gym_http_server.client.values import observation_reader
from gym_http_server.runtime.values.spaces import describe, rebuild
from gym_http_server.runtime.values.value_types import Retyper

from ..conftest import start
from ..support import typed_envs
from ..support.sample_spaces import SAMPLE_SPACES, same

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning"),
    # Box2D's module ends the process where this is an error.
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pkg_resources:UserWarning"),
]

SAID_TO_BE_ELSEWHERE = {"_raise_mujoco_py_error", "_raise_shimmy_error"}
WITHOUT_JAX = ("gymnasium.envs.phys2d", "gymnasium.envs.tabular")
"""Modules of Gymnasium that need JAX, which the tests do not install."""

IDS = [
    *sorted(
        env_id
        for env_id, spec in gymnasium.registry.items()
        if spec.namespace is None
        and spec.entry_point is not None
        and getattr(spec.entry_point, "__name__", "") not in SAID_TO_BE_ELSEWHERE
        and not str(spec.entry_point).startswith(WITHOUT_JAX)
        and "mujoco" not in str(spec.entry_point)
        # Hundreds of names of one class, where another test has imported ale_py; two of them are below.
        and not str(spec.entry_point).startswith("ale_py")
    ),
    "Ant-v5",
    "Humanoid-v5",
    "Pusher-v5",
    "InvertedPendulum-v5",
    "ALE/Pong-v5",
    "PongNoFrameskip-v4",
]


@pytest.fixture(scope="module")
def url():
    """A server with our environments of types and spaces."""
    with start("handover", "--import", "tests.support.typed_envs") as server:
        yield server.url


def _pair(env_id: str, url: str, *, packed: bool, **kwargs: Any) -> tuple[Any, Any]:
    if "ALE" in env_id or "Frameskip" in env_id:
        import ale_py

        gymnasium.register_envs(ale_py)
    remote = RemoteEnv(url, env_id, packed=packed, kwargs=kwargs or None)
    mode = {} if remote.render_mode is None else {"render_mode": remote.render_mode}
    return gymnasium.make(env_id, disable_env_checker=True, **mode, **kwargs), remote


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("env_id", [*IDS, "tests/Typed-v0"])
def test_an_environment_is_the_same_with_and_without_a_server(url, env_id, packed):
    """Spaces, observations, rewards, ends, infos, metadata and seeds are the same, in value and type."""
    local, remote = _pair(env_id, url, packed=packed)
    with local, remote:
        assert remote.observation_space == local.observation_space
        assert remote.action_space == local.action_space
        assert remote.metadata == local.metadata
        for name in ("max_episode_steps", "reward_threshold", "nondeterministic"):
            assert getattr(remote.spec, name) == getattr(local.spec, name)
        assert same(remote.reset(seed=3), local.reset(seed=3))
        assert remote.np_random_seed == local.unwrapped.np_random_seed == 3
        for env in (local, remote):
            env.action_space.seed(4)
        for _ in range(8):
            action, other = local.action_space.sample(), remote.action_space.sample()
            assert same(other, action)
            one, other = local.step(action), remote.step(other)
            assert same(other, one)
            if one[2] or one[3]:
                assert same(remote.reset(), local.reset())


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("env_id", ["tests/Typed-v0", "Taxi-v4", "Blackjack-v1", "Ant-v5"])
def test_a_batch_is_the_same_with_and_without_a_server(url, env_id, mode, packed):
    """Observations, rewards, ends and infos of a batch are the same, in value and type, also where lanes tell different things."""
    extra = {"told_always": False} if "Typed" in env_id else {}
    create: dict[str, Any] = {} if extra else {"max_episode_steps": 5}
    remote = RemoteVectorEnv(url, env_id, 2, packed=packed, autoreset_mode=mode, kwargs=extra, **create)
    local = gymnasium.make_vec(
        env_id,
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        disable_env_checker=True,
        **extra,
        **create,
    )
    try:
        assert remote.metadata == local.metadata
        assert same(remote.reset(seed=3), local.reset(seed=3))
        assert remote.np_random_seed == local.np_random_seed
        for env in (local, remote):
            env.action_space.seed(4)
        for _ in range(8):
            actions, others = local.action_space.sample(), remote.action_space.sample()
            assert same(others, actions)
            one, other = local.step(actions), remote.step(others)
            assert same(other, one)
            ended = one[2] | one[3]
            if mode is AutoresetMode.DISABLED and ended.any():
                assert same(*(env.reset(options={"reset_mask": ended.copy()}) for env in (remote, local)))
    finally:
        local.close()
        remote.close()


SAMPLED = [
    (index, each.id)
    for index, each in enumerate(SAMPLE_SPACES)
    if each.values[0].dtype != np.longdouble and each.values[0].shape != ()
]
"""The sample spaces of which Gymnasium samples values of the space itself."""


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("index", [pytest.param(index, id=name) for index, name in SAMPLED])
def test_values_of_every_kind_of_space_come_and_go_as_they_are(url, index, packed):
    """Actions and observations of every kind of space are the same with and without a server."""
    local, remote = _pair("tests/Spaced-v0", url, packed=packed, index=index)
    with local, remote:
        assert same(remote.reset(seed=1), local.reset(seed=1))
        remote.action_space.seed(2)
        for _ in range(3):
            action = remote.action_space.sample()
            assert same(remote.step(action)[0], local.step(action)[0])


def _far(*bounds: float, dtype: Any) -> Box[Any]:
    return Box(np.array(bounds[::2]), np.array(bounds[1::2]), dtype=dtype)


MEANT = [
    Box(-np.inf, np.inf, (3,), np.int32),
    _far(-5.0, np.inf, 0.0, 9.0, dtype=np.int16),
    Box(0, np.inf, (2,), np.int8),
    Box(0, 1, (2,), bool),
    _far(-1e120, 1e120, -np.inf, 2, dtype=np.float64),
    Text(5, charset="cab"),
    Text(7, min_length=0, charset="zaZ09"),
    MultiBinary([3]),
    MultiBinary(3),
    MultiBinary([2, 3]),
    MultiDiscrete([[2, 3], [4, 5]], start=[[1, 2], [-3, 4]]),
    MultiDiscrete([3, 4], dtype=np.int8, start=[1, 2]),
    Discrete(3, start=-5, dtype=np.int16),
    Dict({"b": Discrete(2), "a": Box(0, 1, (1,))}),
    Dict([("z", Discrete(2)), ("a", Discrete(3))]),
    Dict({1: Discrete(2), 2: Discrete(3)}),
    Tuple([]),
    Dict({"x": Dict({})}),
]


@pytest.mark.parametrize("space", [*MEANT, *SAMPLE_SPACES])
def test_a_rebuilt_space_means_what_the_space_means(space):
    """It is equal, has the same text, dtype, bounds and shape, the same seeded samples, also with a mask, and flattens alike."""
    rebuilt = rebuild(orjson.loads(orjson.dumps(describe(space))))
    for one, other in ((space, rebuilt), (batch_space(space, 2), batch_space(rebuilt, 2))):
        assert (other, repr(other), type(other.dtype)) == (one, repr(one), type(one.dtype))
        if isinstance(one, Box):
            for side in ("bounded_below", "bounded_above"):
                assert np.array_equal(getattr(one, side), getattr(other, side))
        if one.dtype == np.longdouble:  # Gymnasium cannot sample it
            continue
        for each in (one, other):
            each.seed(3)
        for _ in range(3):
            sample = one.sample()
            assert same(other.sample(), sample)
            if one.is_np_flattenable and one.shape != () and gymnasium.spaces.flatdim(one):
                assert same(*(gymnasium.spaces.flatten(each, sample) for each in (one, other)))


def test_masked_samples_of_a_rebuilt_space_are_the_same():
    """A mask chooses the same elements, with a `start` and in the order of a Text's characters."""
    masks = [
        (Discrete(4, start=3), np.array([0, 1, 1, 0], np.int8)),
        (MultiDiscrete([2, 3], start=[5, 6]), (np.array([0, 1], np.int8), np.array([1, 0, 1], np.int8))),
        (Text(4, charset="dcba"), (None, np.array([1, 0, 0, 1], np.int8))),
    ]
    for space, mask in masks:
        rebuilt = rebuild(orjson.loads(orjson.dumps(describe(space))))
        for each in (space, rebuilt):
            each.seed(1)
        for _ in range(5):
            assert same(rebuilt.sample(mask=mask), space.sample(mask=mask))


def test_types_are_told_only_where_they_are_asked_for(url):
    """Without `types` a reply has none; with it, none where there is nothing to tell."""
    with RemoteEnv(url, "CartPole-v1") as plain, RemoteEnv(url, "tests/Typed-v0") as typed:
        for env, asked in itertools.product((plain, typed), (False, True)):
            client, instance_id = env._client, env.instance_id
            replies = [client.reset_env(instance_id, types=asked), client.step_env(instance_id, 1, types=asked)]
            assert ["types" in reply for reply in replies] == [asked and env is typed] * 2
    assert typed_envs.told(0)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("num_envs", [None, 2])
def test_an_observation_that_is_gone_back_to_has_its_types(url, packed, num_envs):
    """Of a single environment and of a batch, it is what the reset returned."""
    make = RemoteEnv if num_envs is None else functools.partial(RemoteVectorEnv, num_envs=num_envs)
    with contextlib.closing(make(url, "tests/Typed-v0", packed=packed)) as env:
        observation = env.reset(seed=1)[0]
        snapshot = env.snapshot()
        env.step(1 if num_envs is None else np.ones(num_envs, np.int64))
        assert same(env.restore(snapshot), observation)


@pytest.mark.parametrize("packed", [True, False])
def test_a_rollout_tells_types(url, packed):
    """Of each value, or of the array that they are stacked into, where the spaces do not tell; and none without the request."""
    actions = [0, 1, -1]
    local = gymnasium.make("tests/Typed-v0", disable_env_checker=True)
    observations = [local.reset(seed=1)[0]]
    rewards = []
    for action in actions:
        observation, reward, *_ = local.step(action)
        observations.append(observation)
        rewards.append(reward)
    with RemoteEnv(url, "tests/Typed-v0", packed=packed) as env:
        reply = env._client.rollout(env.instance_id, actions=actions, seed=1, types=True)
        short = env._client.rollout(env.instance_id, actions=actions[:2], seed=1, types=True)
        assert "types" not in env._client.rollout(env.instance_id, actions=actions, seed=1)
    retype = Retyper(reply["types"])
    assert same(retype("rewards", reply["rewards"], np.array(reply["rewards"])), np.array(rewards))
    assert same(Retyper(short["types"])("rewards", short["rewards"], None), np.array(rewards[:2]))
    assert "/observations/scalar" not in reply["types"]
    read = observation_reader(typed_envs.Typed.observation_space["several"])
    for name, expected in (("observations", observations), ("final_observations", observations[-1:])):
        raw = reply[name]
        told = retype(name, raw, {**raw, "several": [read(each) for each in raw["several"]]})
        assert same(told["several"], [each["several"] for each in expected])
        assert same(told["wide"], np.stack([each["wide"] for each in expected]))
