"""Real environments: a seeded trajectory over HTTP is the same as one computed locally."""

from __future__ import annotations

import importlib.util
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gym_http_server.runtime.making.library import declare_imports, make
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.values.codec import decode
from gym_http_server.runtime.values.spaces import rebuild
from tests.support.serving import Server

pytestmark = pytest.mark.full

GYMNASIUM = [
    "CartPole-v0",
    "CartPole-v1",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
    "FrozenLake-v0",
    "FrozenLake-v1",
    "Taxi-v4",
    "CliffWalking-v1",
    "Blackjack-v1",
    "LunarLander-v3",
    "CarRacing-v3",
    "ALE/Pong-v5",
    "InvertedPendulum-v5",
]
GYM = ["CartPole-v0", "Acrobot-v1", "Pendulum-v1", "Taxi-v3", "CliffWalking-v0", "LunarLander-v2", "CarRacing-v2"]
CASES = [("gymnasium", env_id) for env_id in GYMNASIUM] + [("gym", env_id) for env_id in GYM]
RENDERED = [("gym", "Acrobot-v1"), ("gym", "Pendulum-v1"), ("gymnasium", "CartPole-v1"), ("gymnasium", "ALE/Pong-v5")]

STEPS, SEED = 60, 11
MANY_NUMBERS, FEW_STEPS = 10_000, 12
"""Screens: no episode of theirs ends within so few steps anyway."""


def plain(value: Any) -> Any:
    """Return an info as it arrives: arrays as lists, keys as text."""
    from gym_http_server.runtime.values.encoding import json_bytes

    return json.loads(json_bytes(value))


def same(left: Any, right: Any) -> bool:
    """Return whether two elements of a space are equal to the last bit."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    return np.array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("library", "env_id"), CASES, ids=["-".join(case) for case in CASES])
def test_a_seeded_trajectory_over_http_equals_the_local_one(server: Server, library: str, env_id: str) -> None:
    """Observations, rewards, ends, infos and samples are equal, step by step, and across episodes."""
    declare_imports(["ale_py"])
    made = make(CreateRequest(env_id, library=library, imports=("ale_py",)))
    local = made.environment
    env = server.create(env_id, library=library, seed=SEED)
    described = [server.get(f"{env}/{name}/").json["info"] for name in ("action_space", "observation_space")]
    actions, observations = (rebuild(each) for each in described)
    assert (actions, observations) == (made.action_space, made.observation_space)
    made.action_space.seed(SEED)

    remote = server.post(f"{env}/reset/").json
    observation, info = local.reset(seed=SEED)
    assert same(decode(observations, remote["observation"]), observation)
    assert remote["info"] == plain(info)
    for _ in range(STEPS if np.size(observation) < MANY_NUMBERS else FEW_STEPS):
        action = made.action_space.sample()
        sampled = server.get(f"{env}/action_space/sample").json["action"]
        assert same(decode(actions, sampled), action)
        remote = server.post(f"{env}/step/", {"action": sampled}).json
        prepared = made.prepare_action(action) if made.prepare_action else action
        observation, reward, terminated, truncated, info = local.step(prepared)
        assert same(decode(observations, remote["observation"]), observation)
        assert remote["reward"] == float(reward)
        assert (remote["terminated"], remote["truncated"]) == (bool(terminated), bool(truncated))
        assert remote["done"] == (terminated or truncated)
        assert remote["info"] == plain(info)
        if remote["done"]:
            remote = server.post(f"{env}/reset/").json
            assert same(decode(observations, remote["observation"]), local.reset()[0])
    local.close()
    server.post(f"{env}/close/")


@pytest.mark.parametrize(("library", "env_id"), RENDERED, ids=["-".join(case) for case in RENDERED])
def test_a_rendered_frame_is_the_environments(process_server: Server, library: str, env_id: str) -> None:
    """The PNG has the pixels that the environment gives locally."""
    declare_imports(["ale_py"])
    made = make(CreateRequest(env_id, library=library, imports=("ale_py",)))
    env = process_server.create(env_id, library=library, seed=SEED)
    process_server.post(f"{env}/reset/")
    made.environment.reset(seed=SEED)
    frame = np.asarray(made.environment.render())
    answer = process_server.get(f"{env}/render/")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.body))), frame)
    made.environment.close()


def test_atari_names_of_old_clients_are_served_by_their_successors(process_server: Server) -> None:
    """Pong-v0 and the like go to ALE, with the ram where the name says so."""
    for old, shape in (("Pong-v0", [210, 160, 3]), ("Breakout-v0", [210, 160, 3]), ("Pong-ram-v0", [128])):
        created = process_server.post("/v1/envs/", {"env_id": old}).json
        info = process_server.get(f"/v1/envs/{created['instance_id']}/observation_space/").json["info"]
        assert (info["shape"], info["dtype"]) == (shape, "uint8")
        process_server.post(f"/v1/envs/{created['instance_id']}/close/")


def test_an_environment_that_needs_a_missing_package_says_which(process_server: Server) -> None:
    """A JAX environment without JAX names the package to install."""
    if importlib.util.find_spec("jax") is not None:
        pytest.skip("JAX is installed here; the test extra, and so CI, leaves it out")
    answer = process_server.post("/v1/envs/", {"env_id": "phys2d/CartPole-v1"})
    assert answer.status == 400
    assert "pip install" in answer.message
    assert "jax" in answer.message
