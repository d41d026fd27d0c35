"""Memory of the environments' processes: what each has to itself while so many of them live."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import psutil

from .connection import Connection, steps
from .figure import Measure, Sample, UnavailableError
from .servers import Kind, Stage

MEGABYTE = 10**6
ROOM = 8
"""Megabytes that have to be free for each instance before any is made."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Private bytes of a CartPole process, the mean of so many that live at once and have each taken a step."""

    kind: Kind
    instances: int

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        instances = min(self.instances, stage.most_instances)
        room = instances * ROOM * MEGABYTE
        if psutil.virtual_memory().available < room:
            raise UnavailableError(f"needs {room / 1000 / MEGABYTE:.1f} GB of free memory")
        server = stage.server(self.kind)
        before = set(server.seen.children(recursive=True))
        with Connection(server.address) as connection:
            paths = [connection.create() for _ in range(instances)]
            for path in paths:
                connection.reset(path)
                connection.succeed(next(steps(path)))
            made = set(server.seen.children(recursive=True)) - before
            yield lambda: weigh(made, instances)
            for path in paths:
                connection.remove(path)


def weigh(processes: set[psutil.Process], instances: int) -> Sample:
    """Return the mean of the processes' private bytes, and as errors how many fewer there are than instances."""
    private = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            private.append(each.memory_full_info().uss)
    return {"megabytes": sum(private) / len(private) / MEGABYTE, "errors": instances - len(private)}
