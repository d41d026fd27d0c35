"""A real server in a process of its own, on a free port, and a plain client that holds replies against the contract."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from gym_http_server.conformity.contract import check_reply

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return self.json["message"]


class Server:
    """A server process; `with Server(...) as server` ends it and asserts that nothing of it is left."""

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        module: str = "gym_http_server",
        python: str = sys.executable,
        directory: Path | str = ROOT,
    ) -> None:
        command = [python, "-m", module, "--port", "0", *arguments]
        variables = {**os.environ, "PYTHONWARNINGS": "default", **(environment or {})}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory, env=variables, text=True
        )
        self.stderr: list[str] = []
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        made = re.match("API key.*: (.*)", line)
        self.key = made[1] if made else ""
        if made:
            line = self.process.stdout.readline()
        found = re.search(r"listening on (https?://\S+)", line)
        if found is None:
            self.process.kill()
            self._finish()
            raise AssertionError(f"the server did not start: {line!r} {self.stderr}")
        self.url = found[1]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(urlsplit(self.url).hostname, urlsplit(self.url).hostname)
        self.address = (host, urlsplit(self.url).port)
        self.banner = [line, *(self.process.stdout.readline() for _ in range(3))]
        self._connections = threading.local()
        self._all_connections: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Server:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS)
            if self.process.poll() is None:
                self.process.kill()
                raise AssertionError(f"the server did not stop on SIGTERM: {self.stderr}")
            left = living(children)
            assert not left, f"processes were left: {left}"
        self._finish()

    def _finish(self) -> None:
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the kept connections of all threads."""
        for connection in getattr(self, "_all_connections", []):
            connection.close()

    def _read_stderr(self) -> None:
        for line in self.process.stderr:
            self.stderr.append(line)

    def pids(self) -> set[int]:
        """Return all processes below the server's."""
        return {each.pid for each in psutil.Process(self.process.pid).children(recursive=True)}

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, check: bool = True
    ) -> Answer:
        """Send a request over this thread's kept connection; `body` is bytes, or a value to send as JSON."""
        headers = dict(headers or {})
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        kept = getattr(self._connections, "kept", None)
        if kept is None:
            kept = self._connections.kept = http.client.HTTPConnection(*self.address, timeout=SECONDS)
            self._all_connections.append(kept)
        if kept.sock is not None and select.select([kept.sock], [], [], 0)[0]:
            kept.close()  # by the server, which keeps no connection that idles long
        try:
            kept.request(method, path, body, headers)
            response = kept.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:
            kept.close()
            raise
        if check:
            check_reply(method, unquote(path.split("?")[0]), answer.status, answer.headers, answer.body)
        return answer

    def get(self, path: str, **kwargs: Any) -> Answer:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Answer:
        return self.request("POST", path, body, **kwargs)

    def create(self, env_id: str = "CartPole-v1", **options: Any) -> str:
        """Make an environment and return its path, such as `/v1/envs/5f2b9c1e`."""
        answer = self.post("/v1/envs/", {"env_id": env_id, **options})
        assert answer.status == 200, answer.body
        return f"/v1/envs/{answer.json['instance_id']}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the server's own process a signal and wait for its end."""
        self.process.send_signal(number)
        self.process.wait(SECONDS)


def raw(address: tuple[str, int], data: bytes, *, timeout: float = SECONDS) -> bytes:
    """Send bytes on a connection of their own, and return all that comes back until the server closes it."""
    received = b""
    with socket.create_connection(address, timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


def parse_response(data: bytes, method: str = "GET") -> Answer:
    """Return the first response in some bytes, to a request of that method."""

    class Fake:
        def makefile(self, *_: object) -> Any:
            import io

            return io.BytesIO(data)

    response = http.client.HTTPResponse(Fake(), method=method)
    response.begin()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def living(processes: Iterable[psutil.Process], seconds: float = 5.0) -> list[psutil.Process]:
    """Wait some time for processes to end, and return those that have not.

    A zombie has ended. When its parent, the server, has ended too, it stays one for as long as the machine's init likes.
    """

    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    end = time.monotonic() + seconds
    while (left := [each for each in processes if lives(each)]) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def eventually(condition: Any, seconds: float = 20.0) -> Any:
    """Return the first true value of `condition`, asked again and again, or fail after some time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.01)
    return value


@contextlib.contextmanager
def threads(*targets: Any) -> Iterator[list[threading.Thread]]:
    """Run functions in threads, and join them at the end."""
    running = [threading.Thread(target=target) for target in targets]
    for each in running:
        each.start()
    try:
        yield running
    finally:
        for each in running:
            each.join(SECONDS)
            assert not each.is_alive()
