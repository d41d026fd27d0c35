"""A server whose WebSockets at `/ws` echo texts, in a thread of the tests' process, and a raw client of frames."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import threading
import time
from typing import Any, Self

import uvicorn

from gym_http_server.api.asgi import BinaryMessageError, Receive, Scope, Send, link_of
from gym_http_server.api.normalizer import send_problem
from gym_http_server.api.problems import HttpProblem, problem_of
from gym_http_server.config import Settings
from gym_http_server.http1.configuration import Configuration
from gym_http_server.http1.listening import listen
from gym_http_server.http1.protocol import HttpProtocol

SECONDS = 30.0


class EchoServer:
    """Echoes each text; answers `slow` when `release` is set, and closes at `close` or after a binary message.

    Args:
        settings: settings of the server.
    """

    def __init__(self, **settings: Any) -> None:
        [self._socket] = listen("127.0.0.1", 0)
        self.address = self._socket.getsockname()
        self.release = threading.Event()
        self.ended: list[tuple[bool, int, int]] = []
        options = Settings(**settings)
        paths = re.compile(rb"/ws(\?.*)?")
        self.server = uvicorn.Server(Configuration(self, options, HttpProtocol, websockets=paths))
        # A daemon, so that one that does not end is a failure and no tests that never end.
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Serve one connection."""
        if scope["type"] == "lifespan":
            return
        upgrade = link_of(scope).upgrade
        if upgrade is None:
            await send_problem(problem_of(HttpProblem(426, "upgrade-required", "a WebSocket is served here")), send)
            return
        try:
            messages = upgrade()
        except HttpProblem as problem:
            await send_problem(problem_of(problem), send)
            return
        try:
            while (message := await messages.receive()) is not None and message != b"close":
                messages.is_serving = True
                if message == b"slow":
                    await asyncio.to_thread(self.release.wait, SECONDS)
                await messages.send(message)
                messages.is_serving = False
                if messages.is_ending:
                    messages.close(1001, "the server stops")
        except BinaryMessageError:
            await messages.send(b"no")
        messages.close()
        self.ended.append((messages.is_clean, messages.received_bytes, messages.sent_bytes))


class Frames:
    """A raw client: sends whatever bytes, and reads frames as (opcode, payload)."""

    def __init__(self, address: tuple[str, int], path: str = "/ws", *lines: str, early: bytes = b"") -> None:
        self.socket = socket.create_connection(address, SECONDS)
        self._buffer = b""
        head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        )
        extra = "".join(f"{line}\r\n" for line in lines)
        self.socket.sendall(f"{head}{extra}\r\n".encode() + early)
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        first, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        self.head = first.decode()
        self.status = int(self.head.split(" ")[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, masked: bool = True
    ) -> None:
        """Send a frame."""
        self.socket.sendall(frame(opcode, payload, fin=fin, rsv1=rsv1, masked=masked))

    def read(self) -> tuple[int, bytes]:
        """Return the next frame; (-1, b"") at the end of the connection."""
        try:
            first, second = self._exactly(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack("!H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._exactly(8))
            return first & 15, self._exactly(size)
        except (EOFError, ConnectionResetError):
            return -1, b""

    def closed(self) -> int:
        """Return the code of the close frame that comes next; pings before it are skipped."""
        until = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < until, f"nothing but pings in {SECONDS:g} s"
            opcode, payload = self.read()
            if opcode == 8:
                return int(struct.unpack("!H", payload[:2])[0])
            assert opcode == 9, (opcode, payload)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise AssertionError(f"nothing in {SECONDS:g} s after {self._buffer[:200]!r}") from None
        if not data:
            raise EOFError
        self._buffer += data


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, masked: bool = True) -> bytes:
    """Return the bytes of a client's frame."""
    mask = os.urandom(4)
    head = bytes(((fin << 7) | (rsv1 << 6) | opcode,))
    bit = masked << 7
    if len(payload) < 126:
        head += bytes((bit | len(payload),))
    elif len(payload) < 1 << 16:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    if not masked:
        return head + payload
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked_payload = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + masked_payload.to_bytes(len(payload), "big")
