"""The floor's environment in a process of its own: forked, and spoken to over a socketpair with length-prefixed frames."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
from typing import NoReturn

from .environment import Environment

LENGTH = struct.Struct("<I")


class PipedEnvironment:
    """The parent's end: an `Environment` whose operations are awaited."""

    def __init__(self, env_id: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket, theirs = socket.socketpair()
        if os.fork() == 0:
            serve(theirs, env_id)
        theirs.close()
        self._socket.setblocking(False)
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        self._loop.add_reader(self._socket, self._on_readable)

    async def made(self) -> None:
        await self._answer

    async def reset(self, body: bytes) -> bytes:
        return await self._exchange(b"r" + body)

    async def step(self, body: bytes) -> bytes:
        return await self._exchange(b"s" + body)

    async def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _exchange(self, message: bytes) -> bytes:
        self._answer = self._loop.create_future()
        self._socket.send(LENGTH.pack(len(message)) + message)
        return await self._answer

    def _on_readable(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            self._loop.remove_reader(self._socket)
            self._answer.set_exception(RuntimeError("the environment's process ended"))
            return
        self._received += data
        if len(self._received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
            if len(self._received) >= end:
                self._answer.set_result(bytes(self._received[LENGTH.size : end]))
                del self._received[:end]


def prepare() -> None:
    """Have ended children reaped by the system, and what lives now shared by them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()


def serve(connection: socket.socket, env_id: str) -> NoReturn:
    """Be the environment's process until the other end closes."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # The ends of other environments' sockets, whose closing they would not notice, and the clients'.
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, 1 << 20)
        connection.setblocking(True)
        environment = Environment(env_id)
        answer = b"made"
        while True:
            connection.sendall(LENGTH.pack(len(answer)) + answer)
            header = connection.recv(LENGTH.size)
            if not header:
                break
            message = connection.recv(LENGTH.unpack(header)[0], socket.MSG_WAITALL)
            answer = (environment.reset if message[:1] == b"r" else environment.step)(message[1:])
    finally:
        os._exit(0)
