"""OpenEnv's server with a CartPole environment of its kind.

python -m tests.benchmarks.rivals.openenv_server
"""

from __future__ import annotations

import socket
from typing import Any

import click
import gymnasium
import uvicorn
from openenv.core.env_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class CartPoleAction(Action):
    action: int


class CartPoleObservation(Observation):
    observation: list[float]


class CartPoleEnvironment(Environment):
    """CartPole, made as this project's server makes it."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._env = gymnasium.make("CartPole-v1", disable_env_checker=True, render_mode="rgb_array")
        self._steps = 0

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> CartPoleObservation:  # noqa: ARG002 -- OpenEnv's names
        observation, _ = self._env.reset(seed=seed)
        self._steps = 0
        return CartPoleObservation(observation=observation.tolist())

    def step(self, action: CartPoleAction, timeout_s: float | None = None, **_: Any) -> CartPoleObservation:  # noqa: ARG002 -- OpenEnv's names
        observation, reward, terminated, truncated, _ = self._env.step(action.action)
        self._steps += 1
        return CartPoleObservation(observation=observation.tolist(), reward=float(reward), done=terminated or truncated)

    @property
    def state(self) -> State:
        return State(step_count=self._steps)


def main() -> None:
    app = create_fastapi_app(CartPoleEnvironment, CartPoleAction, CartPoleObservation, max_concurrent_envs=100)
    listener = socket.create_server(("127.0.0.1", 0))
    click.echo("listening on http://{}:{}".format(*listener.getsockname()))
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


if __name__ == "__main__":
    main()
