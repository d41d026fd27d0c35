"""`gym-http-server mcp` as a client has it: a process, lines of JSON, and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from .serving import ROOT, SECONDS, living

CLIENT = {"name": "tests", "version": "1"}
HANDSHAKE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": CLIENT}


class StdioServer:
    """The process; `with` closes its input and asserts that nothing of it is left.

    Args:
        *arguments: of the command line, such as `mcp`.
        environment: further variables.

    Attributes:
        process: it.
        stderr: the lines there.
        processes: it and what it has started, as far as `watch` has seen them.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, directory: Path = ROOT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gym_http_server", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self.stderr: list[str] = []
        self._reader = threading.Thread(target=lambda: self.stderr.extend(self.process.stderr), daemon=True)
        self._reader.start()
        self._ids = itertools.count(1)
        self.processes: list[psutil.Process] = [psutil.Process(self.process.pid)]

    def __enter__(self) -> StdioServer:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self.watch()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.end()

    def end(self) -> int:
        """Wait for its end, and for that of all that it has started; return its status."""
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it did not end: {self.stderr}") from None
        assert not living(self.processes, SECONDS), self.stderr
        self.process.stdout.close()
        self._reader.join(SECONDS)
        self.process.stderr.close()
        return status

    def watch(self) -> None:
        """Look which processes there are, so that `end` waits for them."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.processes += psutil.Process(self.process.pid).children(recursive=True)

    def write(self, message: Any) -> None:
        self.process.stdin.write(f"{json.dumps(message)}\n")
        self.process.stdin.flush()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a request and return its result; all lines meanwhile are of the protocol."""
        number = next(self._ids)
        self.write({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})
        while line := self.process.stdout.readline():
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == number:
                return message["result"]
        raise AssertionError(f"it has ended: {self.stderr}")

    def shake_hands(self) -> dict[str, Any]:
        told = self.ask("initialize", **HANDSHAKE)
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return told

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result."""
        return self.ask("tools/call", name=tool, arguments=arguments)
