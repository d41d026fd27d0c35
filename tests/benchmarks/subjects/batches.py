"""Subjects that step a batch of CartPole: through the Python client, and with no server."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium

from gym_http_server.client import RemoteVectorEnv

from ..figure import Measure, timed
from ..servers import Kind, Stage
from .steps import CARTPOLE

KINDS_OF_ACTIONS = 8


@dataclasses.dataclass(frozen=True)
class RemoteBatch:
    """A batch through `RemoteVectorEnv`, arrays in and arrays out.

    Args:
        kind: the server.
        lanes: how many environments.
        packed: speak MessagePack, and not JSON.
    """

    kind: Kind
    lanes: int
    packed: bool

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        env = RemoteVectorEnv(stage.server(self.kind).url, CARTPOLE, self.lanes, packed=self.packed)
        with contextlib.closing(env):
            yield stepping(env, self.lanes, stage)


@dataclasses.dataclass(frozen=True)
class LocalBatch:
    """The same vector environment in this process; the server makes it in the same mode."""

    lanes: int

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        env = gymnasium.make_vec(CARTPOLE, self.lanes, vectorization_mode="vector_entry_point")
        with contextlib.closing(env):
            yield stepping(env, self.lanes, stage)


def stepping(env: Any, lanes: int, stage: Stage) -> Measure:
    """Return the function that steps a batch for a chunk of work, with random actions made beforehand."""
    env.reset()
    actions = itertools.cycle([env.action_space.sample() for _ in range(KINDS_OF_ACTIONS)])
    return lambda: timed(lambda: env.step(next(actions)), stage.seconds, steps=lanes)
