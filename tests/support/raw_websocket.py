"""A WebSocket by hand (RFC 6455), to send what no library sends."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from typing import NamedTuple

from .serving import Server

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0


class Frame(NamedTuple):
    """A frame that the server sent.

    Attributes:
        opcode: its kind.
        payload: its bytes.
    """

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The status of a close frame; 1005 without one."""
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else 1005


def encode(opcode: int, payload: bytes, *, is_last: bool = True, reserved: int = 0, is_masked: bool = True) -> bytes:
    """Return a frame; the mask is zero, so that the payload stands there as it is."""
    head = bytes([(0x80 if is_last else 0) | reserved | opcode])
    mask = 0x80 if is_masked else 0
    size = len(payload)
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", size)
    return head + (bytes(4) if is_masked else b"") + payload


class RawWebSocket:
    """A connection that has asked for a WebSocket; `with` closes it.

    Args:
        server: where to.
        path: of the WebSocket.
        lines: further lines of the head.
        host: the Host.

    Attributes:
        status: of the answer to the handshake.
        head: that answer, with its body where it is no 101.
    """

    def __init__(self, server: Server, path: str, *lines: str, host: str = "localhost") -> None:
        self.socket = socket.create_connection(server.address, 30)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket"]
        head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *lines]
        self.socket.sendall("\r\n".join((*head, "", "")).encode())
        self._received = b""
        while b"\r\n\r\n" not in self._received and self._receive():
            pass
        self.status = int(self._received[9:12])
        if self.status != 101:
            while self._receive():  # the refusal closes the connection
                pass
            self.head, self._received = self._received, b""
        else:
            self.head, _, self._received = self._received.partition(b"\r\n\r\n")

    def __enter__(self) -> RawWebSocket:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that has closed takes none."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def frame(self) -> Frame | None:
        """Return the next frame other than a ping; None after the end."""
        while (head := self._take(2)) is not None:
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self._take(2 if size == 126 else 8) or b"")
            payload = self._take(size)
            if payload is not None and head[0] & 0x0F != PING:
                return Frame(head[0] & 0x0F, payload)
        return None

    def _take(self, count: int) -> bytes | None:
        while len(self._received) < count:
            if not self._receive():
                return None
        data, self._received = self._received[:count], self._received[count:]
        return data

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)
