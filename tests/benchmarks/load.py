"""Many clients at once, each on an instance of its own: one selector loop serves all of them.

The loop is one thread's work, and on few cores it takes its time from the servers; with many of them it may be what is
waited for. Figure and floor are loaded by the same loop, so it favours neither. But what it takes is in both, and draws
their ratio towards 1: the servers themselves differ by at least as much as the figures do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import time
from collections.abc import Iterator

from .connection import Connection, parse, request, steps
from .figure import Measure, Sample
from .servers import Kind, Stage

SECONDS_FOR_LAST_REPLIES = 60.0


class LoadClient:
    """A client that sends its next step when it has the reply to the last."""

    def __init__(self, address: tuple[str, int]) -> None:
        with Connection(address) as connection:
            path = connection.create()
            connection.reset(path)
        self._reset = request("POST", f"{path}/reset/")
        self._steps = steps(path)
        self._next = next(self._steps)
        self._received = bytearray()
        self.waits = False
        self.errors = 0
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self) -> None:
        """Send the next request."""
        # It fits into the socket's buffer, which is empty: the server has read the last request before it replied.
        self.socket.send(self._next)
        self.waits = True

    def receive(self) -> bool:
        """Take in what has come, and return whether that was the rest of the reply."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError(f"the server closed the connection of a client; it had sent {self._received[:200]!r}")
        self._received += part
        answer = parse(self._received)
        if answer is None:
            return False
        del self._received[: answer.size]
        self.waits = False
        self.errors += answer.status != 200
        self._next = self._reset if answer.ends_episode else next(self._steps)
        return True


@dataclasses.dataclass(frozen=True)
class Load:
    """Requests a second of so many clients together, and how many replies were errors.

    All but those that start an episode are steps.

    Args:
        kind: the server.
        clients: how many.
        is_spread: each has a server to itself, and they do not share one.
    """

    kind: Kind
    clients: int
    is_spread: bool = False

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            clients = []
            for at in range(self.clients):
                client = LoadClient(stage.server(self.kind, copy=at if self.is_spread else 0).address)
                stack.enter_context(client.socket)
                selector.register(client.socket, selectors.EVENT_READ, client)
                clients.append(client)
            yield lambda: work(selector, clients, stage.seconds)


def work(selector: selectors.BaseSelector, clients: list[LoadClient], seconds: float) -> Sample:
    """Have the clients work for a time, and wait for the last replies."""
    for each in clients:
        each.errors = 0
        each.send()
    count = 0
    begun = time.perf_counter()
    end = begun + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(end - now):
            if key.data.receive():
                count += 1
                key.data.send()
    elapsed = time.perf_counter() - begun
    while any(each.waits for each in clients):
        ready = selector.select(SECONDS_FOR_LAST_REPLIES)
        if not ready:
            raise TimeoutError(f"{sum(each.waits for each in clients)} clients have no reply")
        for key, _ in ready:
            key.data.receive()
    return {"rate": count / elapsed, "errors": sum(each.errors for each in clients)}
