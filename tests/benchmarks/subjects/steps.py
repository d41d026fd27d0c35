"""Subjects that time one call after another on one connection: steps, rollouts, creations, and the client's own cost."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import itertools
import tempfile
from collections.abc import Iterator

import gymnasium

from gym_http_server.client import Client, RemoteEnv

from ..connection import JSON, MSGPACK, Answer, Connection, request, steps
from ..figure import Measure, UnavailableError, timed
from ..servers import Kind, Stage

CARTPOLE = "CartPole-v1"
PONG = "ALE/Pong-v5"
ROLLOUT_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Step:
    """A step over a raw socket: request written, reply read and its end found.

    Args:
        recorded: the `trajectories` of a monitor, as JSON; None for no monitor.
    """

    kind: Kind
    env_id: str = CARTPOLE
    accept: str = JSON
    recorded: str | None = None
    interpreter: str | None = None

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        check(self.env_id)
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(Connection(stage.server(self.kind).address))
            path = connection.create(self.env_id, self.interpreter)
            if self.recorded is not None:
                directory = stack.enter_context(tempfile.TemporaryDirectory())
                body = f'{{"directory": "{directory}", "trajectories": {self.recorded}}}'
                connection.succeed(request("POST", f"{path}/monitor/start/", body.encode()))
            requests = steps(path, self.accept)
            connection.reset(path)

            def after(answer: Answer) -> None:
                if answer.ends_episode:
                    connection.reset(path)

            yield lambda: timed(lambda: connection.succeed(next(requests)), stage.seconds, after=after)
            connection.remove(path)


@dataclasses.dataclass(frozen=True)
class AlternatingStep:
    """A step over a raw socket, in one of two environments that take turns on the connection."""

    kind: Kind

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with Connection(stage.server(self.kind).address) as connection:
            paths = [connection.create() for _ in range(2)]
            turns = itertools.cycle([(path, steps(path)) for path in paths])
            for path in paths:
                connection.reset(path)

            def step() -> tuple[str, Answer]:
                path, requests = next(turns)
                return path, connection.succeed(next(requests))

            def after(result: tuple[str, Answer]) -> None:
                path, answer = result
                if answer.ends_episode:
                    connection.reset(path)

            yield lambda: timed(step, stage.seconds, after=after)
            for path in paths:
                connection.remove(path)


@dataclasses.dataclass(frozen=True)
class LocalStep:
    """A step of the same environment in this process, with no server."""

    env_id: str = CARTPOLE

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        check(self.env_id)
        with contextlib.closing(gymnasium.make(self.env_id, disable_env_checker=True, render_mode="rgb_array")) as env:
            yield _stepping(env, stage)


@dataclasses.dataclass(frozen=True)
class ClientStep:
    """A step through `Client.step_env`."""

    kind: Kind

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with Client(stage.server(self.kind).url) as client:
            instance_id = client.create_env(CARTPOLE)["instance_id"]
            client.reset_env(instance_id)
            actions = itertools.cycle((0, 1))

            def after(reply: dict[str, object]) -> None:
                if reply["done"]:
                    client.reset_env(instance_id)

            yield lambda: timed(lambda: client.step_env(instance_id, next(actions)), stage.seconds, after=after)
            client.close_env(instance_id)


@dataclasses.dataclass(frozen=True)
class RemoteStep:
    """A step through `RemoteEnv`."""

    kind: Kind
    env_id: str = CARTPOLE
    packed: bool = True

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        check(self.env_id)
        with contextlib.closing(RemoteEnv(stage.server(self.kind).url, self.env_id, packed=self.packed)) as env:
            yield _stepping(env, stage)


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A rollout by the random policy over a raw socket."""

    kind: Kind
    accept: str = MSGPACK

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with Connection(stage.server(self.kind).address) as connection:
            path = connection.create()
            body = b'{"policy": "random", "steps": %d}' % ROLLOUT_STEPS
            data = request("POST", f"{path}/rollout/", body, self.accept)
            yield lambda: timed(lambda: connection.succeed(data), stage.seconds, steps=ROLLOUT_STEPS)
            connection.remove(path)


@dataclasses.dataclass(frozen=True)
class LocalRollout:
    """The same in this process: a random action, a step, a reset where the episode ended."""

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        env = gymnasium.make(CARTPOLE, disable_env_checker=True, render_mode="rgb_array")
        env.reset()

        def roll_out() -> None:
            for _ in range(ROLLOUT_STEPS):
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                if terminated or truncated:
                    env.reset()

        yield lambda: timed(roll_out, stage.seconds, steps=ROLLOUT_STEPS)
        env.close()


@dataclasses.dataclass(frozen=True)
class Creation:
    """Making an environment, over a raw socket; closing it is not timed. One before them is not, either."""

    kind: Kind
    interpreter: str | None = None

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with Connection(stage.server(self.kind).address) as connection:
            connection.remove(connection.create(CARTPOLE, self.interpreter))
            yield lambda: timed(
                lambda: connection.create(CARTPOLE, self.interpreter), stage.seconds, after=connection.remove
            )


def _stepping(env: gymnasium.Env, stage: Stage) -> Measure:
    """Return the function that steps an environment of Gymnasium for a chunk of work."""
    env.reset()
    actions = itertools.cycle((0, 1))

    def after(result: tuple[object, ...]) -> None:
        if result[2] or result[3]:
            env.reset()

    return lambda: timed(lambda: env.step(next(actions)), stage.seconds, after=after)


def check(env_id: str) -> None:
    """Refuse an environment whose package is not installed."""
    if env_id == PONG:
        if importlib.util.find_spec("ale_py") is None:
            raise UnavailableError("needs ale-py: pip install ale-py")
        import ale_py

        gymnasium.register_envs(ale_py)
