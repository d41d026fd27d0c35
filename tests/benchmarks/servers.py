"""The servers that are measured: each a process of its own, started when first asked for, and all gone at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil

from .figure import UnavailableError

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of server: a module to run, which prints `listening on http://…` when it does.

    Args:
        module: the module.
        arguments: of its command line.
        package: of another project, which the module needs and the rivals' Python has.
    """

    module: str
    arguments: tuple[str, ...] = ()
    package: str = ""


def ours(*arguments: str) -> Kind:
    """Return our server with these options."""
    return Kind("gym_http_server", ("--port", "0", "--log-level", "error", "--max-envs", "2000", *arguments))


INLINE = ours("--engine", "inline")
PROCESS = ours("--engine", "process")
"""Hands a client's connection to the environment's process, as it does by default."""
PIPE = ours("--engine", "process", "--no-handover")
ATARI = ours("--engine", "process", "--import", "ale_py")
GUEST = "own"
GUESTS = ours(
    "--import",
    "ale_py",
    "--interpreter",
    f"{GUEST}=self",
    "--interpreter-fork",
    GUEST,
    "--interpreter-import",
    f"{GUEST}=ale_py",
)
"""Has an interpreter beside its own Python, which is the same Python."""
WITHOUT_HOT_PATH = Kind("tests.benchmarks.apps.without_hot_path", ("inline",))
CLUSTERS = {shards: Kind("tests.benchmarks.apps.cluster", (str(shards),)) for shards in (1, 2, 3, 4)}
"""Our router, by the number of shards behind it."""
BARE = Kind("tests.benchmarks.apps.bare", ("inline",))
PIPED = Kind("tests.benchmarks.apps.bare", ("pipe",))
BLOCKING = Kind("tests.benchmarks.apps.blocking")
ORIGINAL = Kind("tests.benchmarks.apps.original")


class Server:
    """A server that runs."""

    def __init__(self, kind: Kind, interpreter: str) -> None:
        command = [interpreter, "-m", kind.module, *kind.arguments]
        # In a group of its own: Ctrl-C at the terminal is for this process, which then stops its servers.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, process_group=0)
        self.seen = psutil.Process(self._process.pid)
        try:
            self.url = self._await_url()
        except BaseException:
            self.stop()
            raise
        self.address = (urlsplit(self.url).hostname, urlsplit(self.url).port)

    def _await_url(self) -> str:
        line = self._process.stdout.readline()
        found = re.search(r"listening on (http://\S+)", line)
        if found is None:
            raise RuntimeError(f"{self._process.args} did not start: {line!r}")
        return found[1]

    def stop(self) -> None:
        """End the server and whatever it leaves behind."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = self.seen.children(recursive=True)
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            _, left = psutil.wait_procs(children, 5)
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        self._process.wait(STOP_SECONDS)
        self._process.stdout.close()


class Stage:
    """Where subjects are measured: the servers of a group of rows, and how much work a chunk is.

    Args:
        seconds: length of a chunk of work.
        most_instances: how many instances there may be at once, whatever a subject asks for.
        rival_python: the Python that has the packages of other projects.
    """

    def __init__(self, *, seconds: float, most_instances: int, rival_python: str = sys.executable) -> None:
        self.seconds = seconds
        self.most_instances = most_instances
        self._rival_python = rival_python
        self._servers: dict[tuple[Kind, int], Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            for each in self._servers.values():
                stack.callback(each.stop)
            self._servers.clear()

    def server(self, kind: Kind, *, copy: int = 0) -> Server:
        """Return a server of that kind: the same whenever it is asked for the same copy."""
        key = kind, copy
        if key not in self._servers:
            self._servers[key] = Server(kind, self.interpreter(kind.package))
        return self._servers[key]

    def interpreter(self, package: str) -> str:
        """Return the Python that has another project's package, or this one if none is named."""
        if not package:
            return sys.executable
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
        if subprocess.run([self._rival_python, "-c", code], check=False).returncode:
            name = package.replace("_", "-")
            raise UnavailableError(f"needs {name}: pip install {name}, in a Python that --rival-python names")
        return self._rival_python
