"""A session of the client generated for Python: `session.py URL FRAME.png`, which prints what it was told as JSON."""

import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import openapi_client as gym


def problem_of(call: Callable[[], object]) -> gym.Problem:
    """Return the problem details that a call is answered with, which the client has read into their model."""
    try:
        call()
    except gym.ApiException as error:
        problem, status = error.data, error.status
    else:
        raise AssertionError("it was no error")
    assert isinstance(problem, gym.Problem)
    assert problem.status == status
    assert problem.detail == problem.message
    return problem


def run(url: str, frame: Path) -> dict:
    """Use every step of a session, and return what the server said."""
    with gym.ApiClient(gym.Configuration(host=url)) as client:
        instances, episodes = gym.InstancesApi(client), gym.EpisodesApi(client)
        spaces, batches = gym.SpacesApi(client), gym.BatchesApi(client)

        created = instances.create_env(gym.CreateEnvRequest(env_id="CartPole-v1", library="gymnasium"))
        env = created.instance_id
        assert re.fullmatch("[0-9a-f]{8}", env)
        assert instances.list_envs().envs[env] == "CartPole-v1"

        actions, observations = spaces.get_action_space(env).info, spaces.get_observation_space(env).info
        assert (actions.name, actions.n, actions.low) == ("Discrete", 2, None)
        assert (observations.name, observations.shape) == ("Box", [4])

        first = episodes.reset_env(env, reset_request=gym.ResetRequest(seed=42)).observation
        assert episodes.reset_env(env, reset_request=gym.ResetRequest(seed=42)).observation == first
        assert [type(number) for number in first] == [float] * 4

        observation, total, ended = first, 0.0, 0
        for _ in range(200):
            step = episodes.step_env(env, gym.StepRequest(action=1 if observation[2] > 0 else 0))
            assert step.done == (step.terminated or step.truncated)
            assert step.info == {}
            observation, total = step.observation, total + step.reward
            if step.done:
                observation, ended = episodes.reset_env(env).observation, ended + 1

        lanes = gym.CreateEnvRequest(env_id="CartPole-v1", num_envs=8)
        batch = instances.create_env(lanes, idempotency_key=f"batch-of-{env}").instance_id
        assert instances.create_env(lanes, idempotency_key=f"batch-of-{env}").instance_id == batch
        batch_first = batches.reset_batch(batch, batch_reset_request=gym.BatchResetRequest(seed=7)).observations
        stepped = batches.step_batch(batch, gym.BatchStepRequest(actions=[0, 1, 0, 1, 0, 1, 0, 1]))
        assert [len(lane) for lane in stepped.observations] == [4] * 8
        assert stepped.rewards == [1.0] * 8
        assert stepped.terminated == stepped.truncated == [False] * 8

        picture = episodes.render_env(env)
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", picture[16:24]) == (600, 400)
        frame.write_bytes(picture)

        problem = problem_of(lambda: episodes.step_env(env, gym.StepRequest(action=2)))
        assert (problem.status, problem.type) == (400, "urn:gym-http-server:problem:invalid-action")

        for instance in (env, batch):
            assert instances.close_env(instance) == {}
        gone = problem_of(lambda: instances.get_env(env))
        assert env in gone.detail

    return {
        "env_id": created.env_id,
        "library": created.library,
        "action_space": [actions.name, actions.n],
        "observation_space": [observations.name, observations.shape, observations.low, observations.high],
        "first": first,
        "last": observation,
        "total_reward": total,
        "episodes": ended,
        "batch_first": batch_first,
        "batch_last": stepped.observations,
        "problem": [problem.type, problem.title, problem.status, problem.detail],
        "gone": [gone.type, gone.title, gone.status],
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]))))  # noqa: T201 -- what the test reads
