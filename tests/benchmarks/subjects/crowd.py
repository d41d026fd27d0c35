"""What a crowd of idle instances costs those that are used beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Iterator

import psutil

from ..connection import Connection, request, steps
from ..figure import LEAST_CALLS, Measure, Sample, Subject, UnavailableError
from ..servers import Kind, Server, Stage
from .memory import MEGABYTE, ROOM

COPY = 1
"""Of a kind of server, the one with the crowd."""


class CrowdedStage(Stage):
    """A stage whose servers have so many idle instances; those of the given stage stay empty."""

    def __init__(self, stage: Stage, instances: int) -> None:
        super().__init__(seconds=stage.seconds, most_instances=stage.most_instances)
        self._stage = stage
        self._instances = min(instances, stage.most_instances)

    def server(self, kind: Kind, *, copy: int = 0) -> Server:
        """Return the server, and make what it lacks of its crowd."""
        server = self._stage.server(kind, copy=copy + COPY)
        with Connection(server.address) as connection:
            missing = self._instances - connection.succeed(request("GET", "/v1/health/")).json["instances"]
            if psutil.virtual_memory().available < missing * ROOM * MEGABYTE:
                raise UnavailableError(f"needs {missing * ROOM / 1000:.1f} GB of free memory")
            for _ in range(missing):
                connection.create()
        return server


@dataclasses.dataclass(frozen=True)
class Beside:
    """Another subject, on a server with so many idle instances."""

    instances: int
    subject: Subject

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with self.subject.open(CrowdedStage(stage, self.instances)) as measure:
            yield measure


@dataclasses.dataclass(frozen=True)
class HeldStep:
    """The longest step through the server while it answers a request of another client: how long its loop is held up.

    Half of the requests hold it up for longer than `p50`.
    """

    kind: Kind
    path: str
    accept: str

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        address = stage.server(self.kind).address
        with Connection(address) as connection, Connection(address) as other:
            env = connection.create()
            connection.reset(env)
            requests = steps(env)
            fetch = request("GET", self.path, accept=self.accept)
            other.succeed(fetch)

            def step() -> float:
                begun = time.perf_counter()
                answer = connection.succeed(next(requests))
                took = time.perf_counter() - begun
                if answer.ends_episode:
                    connection.reset(env)
                return took

            def longest() -> float:
                other.send(fetch)
                took = step()
                while not other.is_answered:
                    took = max(took, step())
                if (answer := other.receive()).status != 200:
                    raise RuntimeError(f"{self.path}: {answer.status} {answer.body[:300]!r}")
                return max(took, step())

            def measure() -> Sample:
                end = time.perf_counter() + stage.seconds
                holds = [longest()]
                while len(holds) < LEAST_CALLS or time.perf_counter() < end:
                    holds.append(longest())
                return {"p50": statistics.median(holds) * 1e6}

            yield measure
            connection.remove(env)
