"""Other projects' servers: OpenEnv's WebSocket by a raw socket, and any server by a client of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import socket
import struct
import subprocess
from collections.abc import Iterator

from ..connection import SECONDS
from ..figure import Measure, Sample, timed
from ..servers import ROOT, Kind, Stage

OPENENV = Kind("tests.benchmarks.rivals.openenv_server", package="openenv")
DM_ENV_RPC = Kind("tests.benchmarks.rivals.dm_env_rpc_server", package="dm_env_rpc")
OPENENV_CLIENT = "tests.benchmarks.rivals.openenv_client"
DM_ENV_RPC_CLIENT = "tests.benchmarks.rivals.dm_env_rpc_client"

_UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT = 0x81
_PING = 0x89
_PONG = bytes((0x8A, 0x80, 0, 0, 0, 0))
_MASKED = 0x80
_LENGTH_FOLLOWS = 126


class WebSocket:
    """A WebSocket of OpenEnv: one text frame each way at a time, none of them long."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self._socket = socket.create_connection(address, SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_UPGRADE % path.encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += self._receive()
        if not reply.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"no WebSocket: {reply[:200]!r}")

    def close(self) -> None:
        self._socket.close()

    def exchange(self, frame: bytes) -> bytes:
        """Send a frame and return the text of the one that replies."""
        self._socket.sendall(frame)
        received = self._receive()
        while received[0] == _PING and len(received) >= 2:
            self._socket.sendall(_PONG)
            received = received[2 + received[1] :] or self._receive()
        while True:
            size, start = received[1] if len(received) > 1 else 0, 2
            if size == _LENGTH_FOLLOWS and len(received) >= 4:
                (size,), start = struct.unpack_from(">H", received, 2), 4
            if start + size <= len(received) > 2:
                return received[start:]
            received += self._receive()

    def _receive(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed the WebSocket")
        return part


def frame(message: object) -> bytes:
    """Return a short message as a client's text frame; the mask is of zeros, which leaves the text as it is."""
    text = json.dumps(message).encode()
    return bytes([_TEXT, _MASKED | len(text)]) + bytes(4) + text


@dataclasses.dataclass(frozen=True)
class WebSocketStep:
    """A step of CartPole on a WebSocket of OpenEnv: frame written, reply read and its end found.

    Args:
        kind: the server.
        path: the path of the WebSocket.
    """

    kind: Kind = OPENENV
    path: str = "/ws"

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        reset = frame({"type": "reset", "data": {}})
        steps = itertools.cycle([frame({"type": "step", "data": {"action": action}}) for action in (0, 1)])
        address = stage.server(self.kind).address

        def measure() -> Sample:
            # A connection of its own each time: nobody answers a server's pings while others are measured.
            with contextlib.closing(WebSocket(address, self.path)) as websocket:
                websocket.exchange(reset)

                def after(reply: bytes) -> None:
                    data = json.loads(reply)["data"]
                    if data["done"]:
                        websocket.exchange(reset)

                return timed(lambda: websocket.exchange(next(steps)), stage.seconds, after=after)

        yield measure


@dataclasses.dataclass(frozen=True)
class OwnClientStep:
    """A step of CartPole on another project's server by its own client, which is a process of its own and times it.

    Args:
        kind: the server.
        client: the module of the client: see `rivals/client.py`.
    """

    kind: Kind
    client: str

    @contextlib.contextmanager
    def open(self, stage: Stage) -> Iterator[Measure]:
        command = [stage.interpreter(self.kind.package), "-m", self.client, stage.server(self.kind).url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, process_group=0
        ) as client:

            def measure() -> Sample:
                client.stdin.write(f"{stage.seconds}\n")
                client.stdin.flush()
                if not (line := client.stdout.readline()):
                    raise RuntimeError(f"{self.client} ended")
                return json.loads(line)

            try:
                yield measure
            finally:
                client.terminate()
