"""An agent whose environment a viewer watches, and what the frames take without a server."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import gymnasium

from gym_http_server.runtime.values.rendered_frame import PNG, encode_frame

from ..connection import Answer, Connection, request, steps
from ..figure import Measure, Sample, timed
from ..servers import Kind, Stage
from .steps import CARTPOLE

FRAMES_A_SECOND = 10


class Viewer:
    """Fetches frames at its rate: asks for one, and takes it in when the next is due. Never waits for a frame otherwise.

    Args:
        connection: its own.
        path: of the instance that it watches.
    """

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._request = request("GET", f"{path}/render/", accept=PNG)
        self._due = 0.0
        self._is_waiting = False

    def look(self) -> None:
        """Ask for a frame if one is due."""
        if time.perf_counter() >= self._due:
            self.rest()
            self._connection.send(self._request)
            self._is_waiting = True
            self._due = time.perf_counter() + 1 / FRAMES_A_SECOND

    def rest(self) -> None:
        """Take in the frame that was asked for."""
        if self._is_waiting and (answer := self._connection.receive()).status != 200:
            raise RuntimeError(f"render: {answer.status} {answer.body[:300]!r}")
        self._is_waiting = False


@dataclasses.dataclass(frozen=True)
class WatchedStep:
    """A step of CartPole over a raw socket, while a viewer fetches frames of the same instance on its own connection."""

    kind: Kind

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        address = stage.server(self.kind).address
        with Connection(address) as connection, Connection(address) as eyes:
            path = connection.create()
            connection.reset(path)
            requests = steps(path)
            viewer = Viewer(eyes, path)

            def after(answer: Answer) -> None:
                if answer.ends_episode:
                    connection.reset(path)
                viewer.look()

            def measure() -> Sample:
                viewer.look()
                sample = timed(lambda: connection.succeed(next(requests)), stage.seconds, after=after)
                viewer.rest()
                return sample

            yield measure
            connection.remove(path)


@dataclasses.dataclass(frozen=True)
class LocalFrame:
    """A frame of CartPole in this process, rendered and encoded as the server does, after a step that is not timed."""

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        env = gymnasium.make(CARTPOLE, disable_env_checker=True, render_mode="rgb_array")
        with contextlib.closing(env):
            env.reset()

            def after(_: object) -> None:
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                if terminated or truncated:
                    env.reset()

            yield lambda: timed(lambda: encode_frame(env.render(), "rgb_array", [PNG]), stage.seconds, after=after)
