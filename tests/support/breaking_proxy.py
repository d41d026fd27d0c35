"""A relay in front of a server that breaks connections at random."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from typing import Final, Self

SECONDS: Final = 60

WAYS: Final = ("before the request", "after the request", "before the reply", "in mid reply", "after the reply")


class BreakingProxy:
    """Passes requests and replies on, each as it comes in one piece, and breaks some connections.

    Args:
        address: the server's.
        share: of the exchanges to break.
        seed: of the choice.

    Attributes:
        address: where it listens.
        broken: how many connections were broken in which of the `WAYS`.
    """

    def __init__(self, address: tuple[str, int], share: float, seed: int = 0) -> None:
        self._server = address
        self._share = share
        self._chance = random.Random(seed)
        self.broken: Counter[str] = Counter()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._threads:
            each.join(SECONDS)
            assert not each.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket) -> None:
        client.settimeout(SECONDS)
        with client, socket.create_connection(self._server, SECONDS) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while request := client.recv(1 << 20):
                    way = self._chance.choice(WAYS) if self._chance.random() < self._share else ""
                    if not self._exchange(client, server, request, way):
                        self.broken[way] += 1
                        return
            except OSError:
                return  # one of the two went away

    def _exchange(self, client: socket.socket, server: socket.socket, request: bytes, way: str) -> bool:
        """Pass a request and its reply on; return whether the connection goes on."""
        if way == "before the request":
            return False
        server.sendall(request)
        if way == "after the request":
            return False  # the server may find its client gone before or after it has executed it
        reply = server.recv(1 << 20)
        if way == "before the reply":
            return False
        client.sendall(reply[: len(reply) // 2] if way == "in mid reply" else reply)
        return way not in ("in mid reply", "after the reply")
