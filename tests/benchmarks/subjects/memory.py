"""Memory of the environments' processes: what each has to itself while so many of them live."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator

import psutil

from ..connection import Connection, steps
from ..figure import Measure, Sample, UnavailableError
from ..servers import Kind, Stage

MEGABYTE = 10**6
ROOM = 8
ROOM_IF_USED = 12
"""Megabytes that have to be free for each instance before any is made."""
STEPS = 10
"""How far a client gets in its episode: not to the end, but its connection is handed over by then."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Private bytes of a CartPole process, the mean of so many that live at once and have each taken a step.

    Args:
        kind: the server.
        instances: how many.
        is_used: each has a client, too, that has begun an episode on a connection of its own and keeps that. A process
            makes what serves a connection when it is first handed one.
    """

    kind: Kind
    instances: int
    is_used: bool = False

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        instances = min(self.instances, stage.most_instances)
        room = instances * (ROOM_IF_USED if self.is_used else ROOM) * MEGABYTE
        if psutil.virtual_memory().available < room:
            raise UnavailableError(f"needs {room / 1000 / MEGABYTE:.1f} GB of free memory")
        server = stage.server(self.kind)
        before = set(server.seen.children(recursive=True))
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(Connection(server.address))
            paths = [connection.create() for _ in range(instances)]
            for path in paths:
                connection.reset(path)
            # Not each after its reset: a connection is handed over that is used for one instance twice in a row.
            for path in paths:
                connection.succeed(next(steps(path)))
            if self.is_used:
                for path in paths:
                    use(stack.enter_context(Connection(server.address)), path)
            made = set(server.seen.children(recursive=True)) - before
            yield lambda: weigh(made, instances)
            for path in paths:
                connection.remove(path)


def use(connection: Connection, path: str) -> None:
    """Begin an episode."""
    connection.reset(path)
    for data in itertools.islice(steps(path), STEPS):
        connection.succeed(data)


def weigh(processes: set[psutil.Process], instances: int) -> Sample:
    """Return the mean of the processes' private bytes, and as errors how many fewer there are than instances."""
    private = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            private.append(each.memory_full_info().uss)
    return {"megabytes": sum(private) / len(private) / MEGABYTE, "errors": instances - len(private)}
