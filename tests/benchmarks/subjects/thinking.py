"""A client that thinks between two steps, as an agent does: what a step takes then, and the server's processor time."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Iterator

from ..connection import Connection, steps
from ..figure import LEAST_CALLS, Measure, Sample
from ..servers import Kind, Stage
from .processor import ProcessorTime

SECONDS_OF_SLEEP = 1e-3
"""From here on the client sleeps while it thinks; less than that it computes."""


@dataclasses.dataclass(frozen=True)
class ThinkingStep:
    """A step of CartPole over a raw socket, by a client that waits between a reply and its next request.

    Args:
        kind: the server.
        think_seconds: how long it waits: it keeps its processor busy, or sleeps from `SECONDS_OF_SLEEP` on.
    """

    kind: Kind
    think_seconds: float

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        server = stage.server(self.kind)
        with Connection(server.address) as connection:
            path = connection.create()
            connection.reset(path)
            requests = steps(path)

            def measure() -> Sample:
                durations: list[int] = []
                count = 0
                processor = ProcessorTime([server])
                end = time.perf_counter() + stage.seconds
                while time.perf_counter() < end or len(durations) < LEAST_CALLS:
                    begun = time.perf_counter_ns()
                    answer = connection.succeed(next(requests))
                    durations.append(time.perf_counter_ns() - begun)
                    think(self.think_seconds)
                    if answer.ends_episode:
                        connection.reset(path)
                        think(self.think_seconds)
                        count += 1
                count += len(durations)
                return {"p50": statistics.median(durations) / 1e3, "processor": processor.per(count)}

            yield measure
            connection.remove(path)


def think(seconds: float) -> None:
    """Let so much time pass."""
    if seconds >= SECONDS_OF_SLEEP:
        time.sleep(seconds)
        return
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
