"""The Python client: one method per operation of the contract.

    from gym_http_server.client import Client

    with Client() as client:
        env = client.create_env("CartPole-v1", seed=42)["instance_id"]
        observation = client.reset_env(env)["observation"]
        reply = client.step_env(env, client.sample_action(env))
        client.close_env(env)

Importing it loads no part of the server, no environment library and not numpy.
"""

from __future__ import annotations

from .client import Client
from .problem import ServerProblem

__all__ = ["Client", "ServerProblem"]
