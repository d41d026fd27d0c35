"""A real server that speaks S3 (moto's), and a file system that fails when it is told to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Run one on a free port, and give the environment variables that lead a client to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-s3",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{variables['AWS_ENDPOINT_URL']}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        yield variables
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class FailingFileSystem(MemoryFileSystem):
    """Memory whose `writes_left` writes succeed, which takes a token, and whose words may hold it."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012 -- fsspec's memory is shared as well
    pseudo_dirs = [""]  # noqa: RUF012 -- see there
    writes_left = 10**6
    words = "the disk is full"
    tokens: list[str | None] = []  # noqa: RUF012 -- what instances were made with
    removes = True

    def __init__(self, token: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.token = token
        self.tokens.append(token)

    def _count(self) -> None:
        cls = type(self)
        cls.writes_left -= 1
        if cls.writes_left < 0:
            raise RuntimeError(cls.words.replace("{token}", str(self.token)))

    def _open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        if mode != "rb":
            self._count()
        return super()._open(path, mode, *arguments, **options)

    def rm(self, path: str, **options: Any) -> None:
        if not self.removes:
            raise RuntimeError("and it cannot be removed")
        super().rm(path, **options)
