"""`Loopback`: a server for tests of the client, which answers as each test wants."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

WAIT_SECONDS = 30.0


@dataclass
class Request:
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def reply(body=b"{}", status="200 OK", media_type="application/json", headers=""):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


@dataclass
class Loopback:
    """Records requests; `answer` gives the bytes of each reply, or None to close the connection unanswered."""

    answer: object = staticmethod(lambda _request: reply())
    closes_after_reply: bool = False
    resets: bool = False
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    piece: int | None = None
    pause: float = 0.0
    requests: list[Request] = field(default_factory=list)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _read: threading.Condition = field(default_factory=threading.Condition)
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{name}:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        self._listener.close()

    def has_read(self, count):
        """Wait until so many requests were read: one that nobody waits for may be read after the next one's reply."""
        with self._read:
            return self._read.wait_for(lambda: len(self.requests) >= count, WAIT_SECONDS)

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._sockets.append(accepted)
                self._start(self._serve, accepted, len(self._sockets))

    def _serve(self, accepted, number):
        if self.tls is not None:
            try:
                accepted = self.tls.wrap_socket(accepted, server_side=True)
            except OSError:
                accepted.close()
                return
            self._sockets.append(accepted)
        with accepted, accepted.makefile("rb") as stream, contextlib.suppress(ConnectionError):
            while line := stream.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (line := stream.readline()) != b"\r\n":
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = b"" if self.resets_at(headers) else stream.read(int(headers.get("content-length", 0)))
                request = Request(number, method, path, headers, body)
                with self._read:
                    self.requests.append(request)
                    self._read.notify_all()
                data = self.answer(request)
                if data is None:
                    break
                for start in range(0, len(data), self.piece or len(data)):
                    accepted.sendall(data[start : start + (self.piece or len(data))])
                    if self.pause:
                        time.sleep(self.pause)
                if self.closes_after_reply or self.resets_at(headers):
                    break
            if self.resets:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed.release()

    @staticmethod
    def resets_at(headers):
        return int(headers.get("content-length", 0)) > 1_000_000
