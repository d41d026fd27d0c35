"""Many clients at once, each on an instance of its own: one epoll loop serves all of them.

The loop is one thread's work, and on few cores it takes its time from the servers. It is the same for figure and floor,
and does as little as it can: requests are made beforehand, and of a reply it only looks at both ends. Where it is busy
all the time, it is the clients that are measured: a row says how busy it was.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import select
import time
from collections.abc import Iterator

from ..connection import Connection, parse, request, steps
from ..figure import Measure, Sample, UnavailableError
from ..servers import Kind, Stage
from .processor import ProcessorTime

SECONDS_FOR_LAST_REPLIES = 60.0
MAX_REPLY_BYTES = 4096
SUCCESS = b"HTTP/1.1 200 "


class LoadClient:
    """A client that sends its next step when it has the reply to the last."""

    def __init__(self, connection: Connection) -> None:
        path = connection.create()
        connection.reset(path)
        self._reset = request("POST", f"{path}/reset/")
        self._steps = steps(path)
        self._next = next(self._steps)
        self._received = b""
        self.socket = connection.detach()
        self.socket.setblocking(False)
        self._receive, self._send = self.socket.recv, self.socket.send
        self.errors = 0

    def send(self) -> None:
        """Send the next request."""
        # It fits into the socket's buffer, which is empty: the server has read the last request before it replied.
        self._send(self._next)

    def receive(self) -> bool:
        """Take in what has come, and return whether that was the rest of the reply."""
        reply = self._receive(MAX_REPLY_BYTES)
        # A head ends with a line break, and a body is so small that it comes whole.
        if reply[-1:] != b"}" or self._received:
            if not reply:
                raise ConnectionError(f"the server closed a client's connection; it had sent {self._received[:200]!r}")
            reply = self._received + reply
            self._received = b"" if parse(reply) else reply
            if self._received:
                return False
        self.errors += not reply.startswith(SUCCESS)
        self._next = self._reset if b'"done":true' in reply else next(self._steps)
        return True


class Crowd:
    """Clients that work at the same time.

    Args:
        clients: the clients.
        think_seconds: how long each waits between a reply and its next request.
    """

    def __init__(self, clients: list[LoadClient], think_seconds: float) -> None:
        self._clients = {each.socket.fileno(): each for each in clients}
        self._think_seconds = think_seconds
        self._thinking: collections.deque[tuple[float, LoadClient]] = collections.deque()
        self._epoll = select.epoll()
        for each in self._clients:
            self._epoll.register(each, select.EPOLLIN)

    def close(self) -> None:
        self._epoll.close()

    def work(self, seconds: float) -> Sample:
        """Have the clients work for a time, and wait for the last replies."""
        for each in self._clients.values():
            each.errors = 0
            each.send()
        begun, busy_before = time.perf_counter(), time.thread_time()
        count = (self._think if self._think_seconds else self._hurry)(begun + seconds)
        elapsed, busy = time.perf_counter() - begun, time.thread_time() - busy_before
        last = waiting = len(self._clients) - len(self._thinking)
        self._thinking.clear()
        while waiting:
            ready = self._epoll.poll(SECONDS_FOR_LAST_REPLIES)
            if not ready:
                raise TimeoutError(f"{waiting} clients have no reply")
            waiting -= sum(self._clients[each].receive() for each, _ in ready)
        errors = sum(each.errors for each in self._clients.values())
        return {
            "rate": count / elapsed,
            "busy": 100 * busy / elapsed,
            "replies": count + last,
            "errors": errors,
        }

    def _hurry(self, end: float) -> int:
        count = 0
        clients, poll, now = self._clients, self._epoll.poll, time.perf_counter
        while (left := end - now()) > 0:
            for at, _ in poll(left):
                client = clients[at]
                if client.receive():
                    count += 1
                    client.send()
        return count

    def _think(self, end: float) -> int:
        count = 0
        thinking = self._thinking
        while (now := time.perf_counter()) < end:
            while thinking and thinking[0][0] <= now:
                thinking.popleft()[1].send()
            # An epoll waits for whole milliseconds, a select for microseconds.
            select.select([self._epoll], (), (), max(0.0, (thinking[0][0] if thinking else end) - now))
            for at, _ in self._epoll.poll(0):
                client = self._clients[at]
                if client.receive():
                    count += 1
                    thinking.append((time.perf_counter() + self._think_seconds, client))
        return count


@dataclasses.dataclass(frozen=True)
class Load:
    """Requests a second of so many clients together, the server's processor time, and how busy the clients' loop was.

    All but those that start an episode are steps.

    Args:
        kind: the server.
        clients: how many.
        is_spread: each has a server to itself, and they do not share one.
        think_seconds: how long each client waits between a reply and its next request.
    """

    kind: Kind
    clients: int
    is_spread: bool = False
    think_seconds: float = 0.0

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        if not hasattr(select, "epoll"):
            raise UnavailableError("needs epoll, which Linux has")
        with contextlib.ExitStack() as stack:
            clients = []
            servers = {}
            for at in range(min(self.clients, stage.most_instances)):
                server = servers[server.url] = stage.server(self.kind, copy=at if self.is_spread else 0)
                clients.append(LoadClient(stack.enter_context(Connection(server.address))))
                stack.enter_context(clients[-1].socket)
            crowd = stack.enter_context(contextlib.closing(Crowd(clients, self.think_seconds)))

            def measure() -> Sample:
                processor = ProcessorTime(servers.values())
                sample = crowd.work(stage.seconds)
                return {**sample, "processor": processor.per(int(sample["replies"]))}

            yield measure
