"""`autoreset: true` of a single environment: what Gymnasium's own wrapper does, and what counts as a step meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import Autoreset, TimeLimit

from gym_http_server import load_results
from gym_http_server.client import RemoteEnv
from gym_http_server.errors import EnvironmentRaisedError
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.support.sample_spaces import in_order, same
from tests.support.serving import Server
from tests.unit.runtime.recording.test_monitor_videos import frames, listed

SHORT = [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 3}}]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Blackjack-v1", "tests/Scribe-v0"])
def test_it_does_step_by_step_what_gymnasiums_wrapper_does(server: Server, env_id: str, packed: bool) -> None:
    """Through many episodes, each reply is the wrapper's, and steps and episodes are counted without the resets."""
    local = Autoreset(gymnasium.make(env_id, disable_env_checker=True))
    with local, RemoteEnv(server.url, env_id, autoreset=True, packed=packed) as remote:
        local.action_space.seed(3)
        assert same(remote.reset(seed=7)[0], in_order(local.observation_space, local.reset(seed=7)[0]))
        resets = episodes = 0
        for at in range(80):
            resets += local.autoreset
            action = local.action_space.sample()
            one, other = local.step(action), remote.step(action)
            assert same(other[0], in_order(local.observation_space, one[0]))
            assert other[1:4] == (float(one[1]), bool(one[2]), bool(one[3]))
            assert plain(other[4]) == plain(one[4])
            episodes += one[2] or one[3]
            if at == 40:  # a reset that is asked for is not followed by another
                assert same(remote.reset(seed=8)[0], in_order(local.observation_space, local.reset(seed=8)[0]))
        found = server.get(f"/v1/envs/{remote.instance_id}/").json
        assert (found["steps"], found["episodes"]) == (80 - resets, episodes)
        assert resets > 1


def plain(info: Any) -> Any:
    return json.loads(json.dumps(info, default=lambda value: np.asarray(value).tolist()))


def test_an_instance_and_the_client_tell_that_it_resets_by_itself(server: Server) -> None:
    """`getEnv` and the metadata of `RemoteEnv` name the mode `next_step`, and nothing without `autoreset`."""
    with RemoteEnv(server.url, "CartPole-v1", autoreset=True) as env:
        assert server.get(f"/v1/envs/{env.instance_id}/").json["autoreset_mode"] == "next_step"
        assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    for given in (False, None):
        with RemoteEnv(server.url, "CartPole-v1", autoreset=given) as env:
            assert server.get(f"/v1/envs/{env.instance_id}/").json["autoreset_mode"] is None
            assert "autoreset_mode" not in env.metadata


def test_the_first_step_of_an_episode_ignores_its_action_and_still_checks_it(server: Server) -> None:
    """An action outside of the space is refused there, too, and the next one starts the episode; the reply is like any."""
    env = server.create("CartPole-v1", autoreset=True, wrappers=SHORT, seed=1)
    assert server.post(f"{env}/step/", {"action": 1}).status == 409
    server.post(f"{env}/reset/")
    for _ in range(3):
        last = server.post(f"{env}/step/", {"action": 1}).json
    assert (last["done"], last["truncated"]) == (True, True)
    assert server.post(f"{env}/step/", {"action": 2}).status == 400
    began = server.post(f"{env}/step/", {"action": 1})
    assert b'"reward":0.0,"done":false,"terminated":false,"truncated":false,"info":{}' in began.body
    assert np.abs(began.json["observation"]).max() < 0.05
    assert [server.post(f"{env}/step/", {"action": 1}).json["done"] for _ in range(3)] == [False, False, True]


def test_it_is_not_for_a_batch(server: Server) -> None:
    """With `num_envs` it is a 400 that names `autoreset_mode`, which in turn is not for a single environment."""
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "autoreset": True, "num_envs": 2})
    assert (answer.status, "ask for an autoreset_mode" in answer.message) == (400, True)
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "autoreset_mode": "next_step"})
    assert (answer.status, "autoreset: true" in answer.message) == (400, True)
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "autoreset": "yes"})
    assert (answer.status, "autoreset" in answer.message) == (400, True)
    env = server.create("CartPole-v1", autoreset=False, num_envs=2)
    assert server.get(f"{env}/").json["autoreset_mode"] == "next_step"


def test_environments_of_gym_reset_by_themselves_too(server: Server) -> None:
    """It does not matter which library makes the environment, wrapped or not."""
    for wrappers in ([], SHORT):
        env = server.create("CartPole-v0", library="gym", autoreset=True, wrappers=wrappers, max_episode_steps=3)
        server.post(f"{env}/reset/")
        replies = [server.post(f"{env}/step/", {"action": 0}).json for _ in range(8)]
        assert [each["done"] for each in replies] == [False, False, True, False] * 2
        assert [each["reward"] for each in replies] == [1.0, 1.0, 1.0, 0.0] * 2


def test_a_monitor_records_the_episodes_and_not_the_resets(server: Server, tmp_path: Path) -> None:
    """Returns and lengths are those between resets, and a video has the first observation and one of each step."""
    env = server.create("CartPole-v1", autoreset=True, wrappers=SHORT)
    assert server.post(f"{env}/monitor/start/", {"directory": str(tmp_path), "video_callable": 1}).status == 200
    server.post(f"{env}/reset/")
    for _ in range(3 * 4):  # three episodes of three steps, each followed by a reset, the last under way
        server.post(f"{env}/step/", {"action": 0})
    told = server.get(f"{env}/monitor/").json
    assert (told["episodes"], told["last_length"], told["mean_return"]) == (3, 3, 3.0)
    server.post(f"{env}/monitor/close/")
    found = load_results(tmp_path)
    assert (found["episode_lengths"], found["episode_rewards"]) == ([3, 3, 3], [3.0, 3.0, 3.0])
    assert [frames(tmp_path / video) for video, _ in listed(tmp_path)] == [4, 4, 4, 1]
    assert server.get(f"{env}/").json["steps"] == 9


def test_a_monitor_that_starts_after_an_episodes_end_records_the_next_one(server: Server, tmp_path: Path) -> None:
    """The step that starts the next episode tells the monitor that it has begun."""
    env = server.create("CartPole-v1", autoreset=True, wrappers=SHORT)
    server.post(f"{env}/reset/")
    for _ in range(3):
        server.post(f"{env}/step/", {"action": 0})
    server.post(f"{env}/monitor/start/", {"directory": str(tmp_path)})
    for _ in range(4):
        server.post(f"{env}/step/", {"action": 0})
    assert load_results(tmp_path)["episode_lengths"] == [3]


def test_a_rollout_is_the_same_with_and_without_it(server: Server) -> None:
    """A rollout resets after an episode's end anyway, takes no step for that, and leaves an ended one to the next step."""
    bodies = []
    for autoreset in (True, False):
        env = server.create("CartPole-v1", autoreset=autoreset, wrappers=SHORT)
        body = {"actions": [0, 1] * 3, "seed": 5}
        bodies.append(server.post(f"{env}/rollout/", body).body)
        assert server.get(f"{env}/").json["steps"] == 6
        reply = server.post(f"{env}/step/", {"action": 0}).json
        assert reply["reward"] == (0.0 if autoreset else 1.0)
    assert bodies[0] == bodies[1]


class Reluctant(gymnasium.Env[Any, Any]):
    """Has episodes of one step, and refuses every second reset."""

    observation_space = gymnasium.spaces.Discrete(100)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.resets += 1
        if self.resets % 2 == 0:
            raise RuntimeError("not now")
        return self.resets, {"resets": self.resets}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ARG002 -- Gymnasium's signature
        return self.resets, 1.0, True, False, {}


def test_a_reset_that_fails_is_tried_again_with_the_next_step() -> None:
    """The environment's error is told as one of a reset, and the episode that has not begun is begun later."""
    gymnasium.register("tests/Reluctant-v0", Reluctant)
    try:
        served = open_served(CreateRequest("tests/Reluctant-v0", autoreset=True))
        local = Autoreset(TimeLimit(Reluctant(), 9))
        local.reset()
        served.call("reset", {})
        for _ in range(6):
            try:
                observation, reward, terminated, *_ = local.step(0)
            except RuntimeError:
                with pytest.raises(EnvironmentRaisedError, match="RuntimeError during reset: not now"):
                    served.call("step", {"action": 0})
                continue
            reply = json.loads(served.call("step", {"action": 0}).body)
            assert (reply["observation"], reply["reward"], reply["terminated"]) == (observation, reward, terminated)
        assert (served.usage.steps, served.usage.episodes) == (2, 2)
    finally:
        del gymnasium.registry["tests/Reluctant-v0"]
