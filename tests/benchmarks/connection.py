"""The raw client: one kept connection, bytes made beforehand, and no more of the response read than has to be.

It is the same for every server that is measured, so that what the client costs is in every figure alike.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

SECONDS = 30.0
"""How long an answer may take: less than any server here keeps a connection that idles meanwhile."""
JSON = "application/json"
MSGPACK = "application/msgpack"

_END = b"\r\n\r\n"


class Answer(NamedTuple):
    status: int
    body: bytes
    size: int
    closes: bool

    @property
    def ends_episode(self) -> bool:
        return b'"done":true' in self.body or b"\xa4done\xc3" in self.body  # in JSON, in MessagePack

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, body: bytes = b"", accept: str = JSON) -> bytes:
    """Return the bytes of a request; the body is JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Accept: {accept}", f"Content-Length: {len(body)}"]
    if body:
        lines.append(f"Content-Type: {JSON}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def steps(path: str, accept: str = JSON) -> Iterator[bytes]:
    """Return requests of steps without end; that the actions 0 and 1 take turns makes long episodes in CartPole."""
    return itertools.cycle([request("POST", f"{path}/step/", b'{"action": %d}' % action, accept) for action in (0, 1)])


def parse(received: bytes | bytearray) -> Answer | None:
    """Return the response that the bytes begin with, or None while there is no whole one."""
    end = received.find(_END)
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    at = head.index(b"\r\ncontent-length:") + len(b"\r\ncontent-length:")
    size = end + len(_END) + int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else end])
    if len(received) < size:
        return None
    return Answer(int(head[9:12]), bytes(received[end + len(_END) : size]), size, b"\r\nconnection: close" in head)


class Connection:
    """A connection to a server, opened again where the server closes it after each reply."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def detach(self) -> socket.socket:
        """Return the socket, which is the caller's from now on; nothing of a reply is left unread."""
        if self._socket is None:
            raise ConnectionError("the server closes the connection after each reply")
        detached, self._socket = self._socket, None
        return detached

    def exchange(self, data: bytes) -> Answer:
        """Send the bytes of a request and return the response."""
        self.send(data)
        return self.receive()

    def send(self, data: bytes) -> None:
        """Send the bytes of a request."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(data)

    @property
    def is_answered(self) -> bool:
        """Whether some of the response to the request that was sent last has come."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def receive(self) -> Answer:
        """Return the response to the request that was sent last."""
        received = self._socket.recv(65536)
        while (answer := parse(received)) is None:
            part = self._socket.recv(1 << 20)
            if not part:
                raise ConnectionError(f"the server closed the connection after {received[:200]!r}")
            received += part
        if answer.closes:
            self.close()
        return answer

    def succeed(self, data: bytes) -> Answer:
        """Send the bytes of a request that has to succeed, and return the response."""
        answer = self.exchange(data)
        if answer.status != 200:
            raise RuntimeError(f"{data[:100]!r}: {answer.status} {answer.body[:300]!r}")
        return answer

    def create(self, env_id: str = "CartPole-v1", interpreter: str | None = None) -> str:
        """Make an environment and return its path, without a final slash."""
        body = {"env_id": env_id} if interpreter is None else {"env_id": env_id, "interpreter": interpreter}
        answer = self.succeed(request("POST", "/v1/envs/", json.dumps(body).encode()))
        return f"/v1/envs/{answer.json['instance_id']}"

    def reset(self, path: str) -> None:
        """Start an episode."""
        self.succeed(request("POST", f"{path}/reset/"))

    def remove(self, path: str) -> None:
        """Close an environment."""
        self.succeed(request("POST", f"{path}/close/"))
