"""A client of HTTP/1.1 on a bare socket: sends bytes in segments, and reads replies as they are on the wire."""

from __future__ import annotations

import json
import select
import socket
from typing import Any, Final, NamedTuple, Self

from .serving import SECONDS

PAUSE: Final = 0.002
"""How long a segment has the connection for itself. What is not read by then is read with the next."""


class Reply(NamedTuple):
    """A reply as it is on the wire, or what there was of it when the connection ended."""

    head: tuple[bytes, ...]
    body: bytes
    is_whole: bool = True

    @property
    def status(self) -> int:
        return int(self.head[0].split()[1])

    @property
    def is_interim(self) -> bool:
        return self.is_whole and self.status < 200

    def header(self, name: bytes) -> bytes | None:
        for line in self.head[1:]:
            key, _, value = line.partition(b": ")
            if key.lower() == name:
                return value
        return None


def request_bytes(method: str, path: str, value: Any = None) -> bytes:
    """Return a request, with a value as JSON where there is one."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    if value is None:
        return head + b"\r\n"
    body = json.dumps(value).encode()
    return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Connection:
    """A connection to a server, for as long as the server keeps it.

    Args:
        address: the server's.
        room: how many bytes may come before they are read; None for as many as the system takes.
    """

    def __init__(self, address: tuple[str, int], room: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def wait(self, seconds: float) -> None:
        """Wait until there is something to read, or for some time."""
        select.select([self.socket], [], [], seconds)

    def send(self, data: bytes) -> bool:
        """Send bytes; return whether the server still takes them."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def read(self, method: str) -> Reply | None:
        """Return the next reply, interim ones as well, or None where the connection has ended."""
        head: list[bytes] = []
        while (line := self._line()) not in (b"\r\n", b""):
            head.append(line.rstrip(b"\r\n"))
        if line == b"":
            return Reply(tuple(head), b"", is_whole=False) if head else None
        reply = Reply(tuple(head), b"")
        if method == "HEAD" or reply.is_interim:
            return reply
        length = reply.header(b"content-length")
        assert length is not None, f"a reply whose end is not told: {head}"
        body = self._bytes(int(length))
        return reply._replace(body=body, is_whole=len(body) == int(length))

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request and return what its reply holds, which is to be a good one."""
        self.send(request_bytes(method, path, value))
        reply = self.read(method)
        assert reply is not None
        assert reply.status == 200, reply
        return json.loads(reply.body)

    def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        return self._bytes(-1)

    def _line(self) -> bytes:
        try:
            return self._stream.readline()
        except ConnectionResetError:
            return b""

    def _bytes(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except ConnectionResetError:
            return b""
