"""A program that uses the client in every way; run by test_client_alone.py, with the server's URL."""

from __future__ import annotations

import math
import sys

import numpy as np

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem

URL = sys.argv[1]


def use_client(packed: bool) -> None:
    """Use the operations, with JSON or MessagePack."""
    with Client(URL, packed=packed) as client:
        env = client.create_env("Pendulum-v1", seed=1, kwargs={"g": np.float64(9.0)})["instance_id"]
        assert len(client.reset_env(env)["observation"]) == 3
        for action in ([0.5], (0.5,), np.array([0.5]), np.array([[0.5, 1.0]])[:, ::2][0]):
            assert client.step_env(env, action)["terminated"] is False
        assert client.action_space_contains(env, np.array([0.5], np.float32))
        for wrong in (math.inf, math.nan):
            assert not client.action_space_contains(env, [wrong])
        assert len(client.rollout(env, policy="random", steps=5)["rewards"]) == 5
        assert client.render_env(env).startswith(b"\x89PNG")
        try:
            client.step_env(env, "no action")
        except ServerProblem as problem:
            if problem.status != 400:
                raise
        try:
            client.step_env(env, object())
        except TypeError:
            pass
        else:
            raise AssertionError("it was sent")
        client.close_env(env)
        assert client.get_metrics()


def use_env(packed: bool) -> None:
    """Use a single environment, its frames and snapshots."""
    with RemoteEnv(URL, "CartPole-v1", packed=packed) as env:
        env.reset(seed=1)
        env.step(env.action_space.sample())
        assert env.render().shape == (400, 600, 3)
        env.restore(env.snapshot())
    with RemoteEnv(URL, "FrozenLake-v1", render_mode="ansi", packed=packed) as env:
        env.reset(seed=1)
        assert "FHFH" in env.render()


def use_batch(packed: bool) -> None:
    """Use a batch."""
    batch = RemoteVectorEnv(URL, "CartPole-v1", 2, packed=packed)
    batch.reset(seed=1)
    assert batch.step(batch.action_space.sample())[0].shape == (2, 4)
    batch.close()


for form in (False, True):
    use_client(form)
    use_env(form)
    use_batch(form)
unexpected = [name for name in ("connexion", "flask", "gym", "PIL", "uvicorn") if name in sys.modules]
sys.stdout.write("".join(unexpected) + "done\n")
