"""A client that speaks HTTP byte for byte, and who holds its connection: for the tests of connection hand-over."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import psutil

from .serving import SECONDS, Answer, Server, eventually
from .troublemakers import gate_of

TROUBLE = "tests/Troublemaker-v0"

HEALTH = b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(path: str, body: Any, further: bytes = b"", version: str = "1.1") -> bytes:
    """Return a request with a JSON body; `further` are whole lines of its head."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + further + b"\r\n" + data


def chunked(path: str, body: Any, size: int = 3) -> bytes:
    """Return a request whose body comes in chunks of so many bytes."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = (data[start : start + size] for start in range(0, len(data), size))
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def step(env: str, action: Any, further: bytes = b"", version: str = "1.1") -> bytes:
    return post(f"{env}/step/", {"action": action}, further, version)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Client:
    """One connection; every reply must have a Content-Length, as all of this server's have."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(server.address, SECONDS)
        self.port = self.socket.getsockname()[1]
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Client:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def head(self) -> tuple[bytes, dict[str, str]]:
        """Read the head of a response: its first line, and its headers."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[str, str] = {}
        while (field := self._file.readline()) != b"\r\n":
            assert field, "the stream ended within a head"
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return line, headers

    def answer(self) -> Answer:
        """Read one response."""
        line, headers = self.head()
        length = int(headers.get("content-length", 0))
        body = self._file.read(length)
        assert len(body) == length, "the stream ended within a body"
        return Answer(int(line.split()[1]), headers, body)

    def answers(self, count: int) -> list[Answer]:
        return [self.answer() for _ in range(count)]

    def ask(self, *requests: bytes) -> Answer:
        """Send a request, whole or in pieces, and read its response."""
        self.send(*requests)
        return self.answer()

    def is_at_end(self) -> bool:
        """Return whether the stream ends here, after waiting for it."""
        return self._file.read(1) == b""


def owner_of(server: Server, client: Client) -> int | None:
    """Return the environment's process that holds a client's connection, beside the server's duplicate; None for none."""
    for pid in server.pids():
        with contextlib.suppress(psutil.Error):
            for each in psutil.Process(pid).net_connections(kind="tcp"):
                if each.raddr and each.raddr.port == client.port:
                    return pid
    return None


@contextlib.contextmanager
def handed(server: Server, **options: Any) -> Iterator[tuple[Client, str, int]]:
    """Make a Troublemaker; yield a client whose connection is in its process, its path and the process."""
    with Client(server) as client:
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE, **options})).json['instance_id']}"
        yield client, env, settle(server, client, env)


def settle(server: Server, client: Client, env: str) -> int:
    """Have a connection handed over to a Troublemaker that is reset; return its process."""
    assert client.ask(post(f"{env}/reset/", {})).status == 200
    pid: int = client.ask(step(env, "pid")).json["info"]["pid"]
    assert owner_of(server, client) == pid
    return pid


def begin(server: Server, client: Client, env: str, pid: int, *requests: bytes) -> None:
    """Send requests, and wait until the environment is in the first of them, on the connection in its process."""
    client.send(*requests)
    eventually(lambda: look(server, env)["state"] == "busy")
    assert owner_of(server, client) == pid


def release(pid: int) -> None:
    """End the action `await` of an environment's process."""
    gate_of(pid).touch()


def look(server: Server, env: str) -> dict[str, Any]:
    """Return what getEnv tells, asked for on another connection, which a server with a short keep-alive has not closed."""
    with Client(server) as client:
        found: dict[str, Any] = client.ask(get(f"{env}/")).json
        return found


def is_read(server: Server, client: Client) -> bool:
    """Return whether all that has been sent on a connection has been read, by the kernel's own table."""
    port = f"0100007F:{server.address[1]:04X} 0100007F:{client.port:04X}"
    with open("/proc/net/tcp") as table:  # noqa: PTH123 -- no path to speak of
        # The kernel gives the table in parts, and one that changes meanwhile may have a line twice.
        lines = [line for line in table if port in line]
    return bool(lines) and all(line.split()[4].endswith(":00000000") for line in lines)
