"""The Python client: a method for each operation of the contract, and Gymnasium environments that run on a server.

    from gym_http_server.client import Client

    with Client() as client:
        env = client.create_env("CartPole-v1", seed=42)["instance_id"]
        observation = client.reset_env(env)["observation"]
        reply = client.step_env(env, client.sample_action(env))
        client.close_env(env)

    from gym_http_server.client import RemoteEnv, RemoteVectorEnv

    env = RemoteEnv("http://127.0.0.1:5000", "CartPole-v1")
    observation, info = env.reset(seed=42)

Importing it loads no part of the server, no environment library and not numpy; its exports are loaded on first use. It
registers `gym_http_server/Remote-v0` with Gymnasium as soon as both are loaded:

    gymnasium.make("gym_http_server.client:gym_http_server/Remote-v0", url="http://127.0.0.1:5000", env_id="CartPole-v1")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .registration import register_when_gymnasium_is_there

if TYPE_CHECKING:
    from .client import Client as Client
    from .http.problem import HoldEnded as HoldEnded
    from .http.problem import InstanceHeld as InstanceHeld
    from .http.problem import ServerConnectionError as ServerConnectionError
    from .http.problem import ServerProblem as ServerProblem
    from .remote_env import RemoteEnv as RemoteEnv
    from .remote_vector_env import RemoteVectorEnv as RemoteVectorEnv

_MODULES = {
    "Client": ".client",
    "HoldEnded": ".http.problem",
    "InstanceHeld": ".http.problem",
    "RemoteEnv": ".remote_env",
    "RemoteVectorEnv": ".remote_vector_env",
    "ServerConnectionError": ".http.problem",
    "ServerProblem": ".http.problem",
}

__all__ = [
    "Client",
    "HoldEnded",
    "InstanceHeld",
    "RemoteEnv",
    "RemoteVectorEnv",
    "ServerConnectionError",
    "ServerProblem",
]

register_when_gymnasium_is_there()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = globals()[name] = getattr(importlib.import_module(_MODULES[name], __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
