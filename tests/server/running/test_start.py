"""Starting: the port listens at once, clients that come early wait, and what fails ends the start in one line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.serving import SECONDS, eventually, living, parse_response, raw

HEALTH = b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Starting:
    """A command that is kept from getting ready by a module, which it imports and which waits."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    gate: Path
    writers: list[int] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """Return a connection, made as soon as the port listens."""

        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(self.address, SECONDS)
            except ConnectionRefusedError:
                return None

        return eventually(connected)

    def wait_for_the_import(self) -> None:
        """Return when the module is being imported."""

        def opened() -> int | None:
            try:
                return os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return None

        # Open until the end of the test: its closing would end the module's reading.
        self.writers.append(eventually(opened))

    def let_go(self, word: str) -> None:
        """Have the import end: with an error, if so told."""
        self.gate.write_text(word)


@pytest.fixture(params=["process", "inline"])
def starting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Starting]:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "waiting_module.py").write_text(
        f"with open({str(gate)!r}) as gate:\n    word = gate.read()\nif word == 'fail':\n    raise ValueError('no luck')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = [sys.executable, "-m", "gym_http_server", "--port", str(address[1]), "--import", "waiting_module"]
    process = subprocess.Popen(
        [*command, "--engine", request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    try:
        started = Starting(process, address, gate)
        yield started
    finally:
        for each in started.writers:
            os.close(each)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.communicate()
        assert not living(children)


def test_a_request_that_comes_before_the_server_is_ready_is_answered(starting: Starting) -> None:
    """The port listens while everything is still loaded, and the request waits."""
    with starting.connect() as early:
        early.sendall(HEALTH)
        starting.let_go("on")
        reply = b"".join(iter(lambda: early.recv(65536), b""))
    assert parse_response(reply).status == 200
    assert "listening on" in starting.process.stdout.readline()
    starting.process.terminate()
    assert starting.process.wait(SECONDS) == 0


def test_a_start_that_fails_closes_the_connections_that_wait(starting: Starting) -> None:
    """The command ends with one line that says why, and a client that waits is not left waiting."""
    with starting.connect() as early:
        early.sendall(HEALTH)
        starting.let_go("fail")
        with contextlib.suppress(ConnectionResetError):
            assert early.recv(1) == b""
    output, errors = starting.process.communicate(timeout=SECONDS)
    assert (output, starting.process.returncode) == ("", 1)
    assert errors == "gym-http-server: --import waiting_module: ValueError: no luck\n"


@pytest.mark.parametrize("imports", [False, True], ids=["listening", "importing"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_start_ends_it_quietly(
    starting: Starting, number: signal.Signals, status: int, imports: bool
) -> None:
    """As soon as it listens or in the middle of an import: nothing is printed, and no process is left."""
    starting.connect().close()
    if imports:
        starting.wait_for_the_import()
    children = psutil.Process(starting.process.pid).children(recursive=True)
    starting.process.send_signal(number)
    assert starting.process.communicate(timeout=SECONDS) == ("", "")
    assert starting.process.returncode == status
    assert not living(children)


@pytest.mark.parametrize(
    "module",
    ["server", "engines.process.fork_server_process", "runtime.registry.variables", "serving", "api.hot_path"],
)
def test_a_signal_in_the_middle_of_an_import_of_ours_ends_the_start_quietly(module: str) -> None:
    """Modules that are half imported then, and lack what the end of the start might want of them, do not matter."""
    program = f"""
import os, signal, sys
from gym_http_server.cli import main

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "gym_http_server.{module}":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder)
sys.argv[1:] = ["--port", "0"]
main()
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS)
    assert (process.stdout, process.stderr, process.returncode) == ("", "", 128 + signal.SIGTERM)


def test_a_client_that_sleeps_a_quarter_of_a_second_after_the_command_is_answered(tmp_path: Path) -> None:
    """Old test suites start the server so. As installed, with compiled modules; on a busy machine, one start of several."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    subprocess.run(
        [sys.executable, "-c", "import gym_http_server.cli, gym_http_server.serving"], env=variables, check=True
    )
    for remaining in reversed(range(5)):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        command = [sys.executable, "-m", "gym_http_server", "--port", str(address[1])]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables)
        try:
            time.sleep(0.25)  # what is tested
            assert parse_response(raw(address, HEALTH)).status == 200
        except ConnectionRefusedError:
            if not remaining:
                raise
        else:
            break
        finally:
            process.terminate()
            process.wait(SECONDS)


def test_the_port_is_bound_before_anything_large_is_loaded() -> None:
    """Neither the command nor start_server loads a library before it listens, but for what reads the options."""
    code = (
        "import sys, gym_http_server.cli; from gym_http_server import start_server; import gym_http_server.http1.listening\n"
        "print(*{'asyncio', 'connexion', 'flask', 'gymnasium', 'numpy', 'uvicorn', 'yaml', 'ssl'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_a_server_of_the_process_engine_loads_no_environment_library() -> None:
    """Its start need not wait for numpy, gymnasium or what of connexion no server uses."""
    code = (
        "import sys, gym_http_server.serving; from gym_http_server.app import Application\n"
        "from gym_http_server import Settings; Application(Settings(engine='process'))\n"
        "print(*{'numpy', 'gymnasium', 'gym', 'httpx', 'requests', 'starlette.testclient', 'mcp', 'pydantic'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True).strip() == ""
