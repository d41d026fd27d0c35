"""Waits on third-party code end: environments that stop, hold the interpreter or say half a word, and planted files."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_http_server.api import pages
from gym_http_server.api.call import Call
from gym_http_server.api.handlers import Execution, handler_table
from gym_http_server.config import Settings
from gym_http_server.errors import FileSystemTimeoutError
from gym_http_server.instances.directory import Instances
from gym_http_server.interpreters.interpreters import Interpreters
from gym_http_server.results.scoreboard import Results
from gym_http_server.runtime.registry.registry import Registry
from gym_http_server.support.files import open_regular, read_within
from gym_http_server.support.threads import DaemonThreads
from gym_http_server.verification.verifier import Replays
from tests.conftest import start
from tests.support.fake_engine import FakeEngine, FakeWorker
from tests.support.handing import TROUBLE, Client, post, step
from tests.support.serving import SECONDS, Server, eventually, threads

pytestmark = pytest.mark.full

CALL_TIMEOUT = 3
HANGING = "hanging-mount/file"
SLACK = 3.0
"""Seconds that a busy machine may add."""

STUCK = {
    "stopped": ("tests/Troublemaker-v0", ("stop_later",)),
    "holding the interpreter": ("tests/Troublemaker-v0", ("keep_interpreter",)),
    "half a frame": ("tests/Forger-v0", ("half",)),
}
"""Environments that are stuck between two calls, by what they are: what to make, and how they come to that."""


@pytest.fixture(scope="module", params=["handover", "process"])
def patient(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a short time for calls."""
    with start(request.param, "--call-timeout", str(CALL_TIMEOUT)) as running:
        yield running


def stick(client: Client, name: str) -> str:
    """Make an environment that is stuck between two calls of a client, whose connection it may hold; return its path."""
    env_id, actions = STUCK[name]
    env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': env_id})).json['instance_id']}"
    assert client.ask(post(f"{env}/reset/", {})).status == 200
    pid = client.ask(step(env, "pid")).json["info"]["pid"]
    for action in actions:
        assert client.ask(step(env, action)).status == 200
    if name == "stopped":
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    else:
        time.sleep(0.7)  # nothing tells from outside who has the interpreter, or what was written
    return env


@pytest.mark.parametrize("name", STUCK)
def test_a_stuck_environment_is_closed_within_the_time_of_a_call(patient: Server, name: str) -> None:
    """DELETE is answered, with a key as well, and its process is gone."""
    for headers in ({}, {"Idempotency-Key": name.replace(" ", "-")}):
        with Client(patient) as client:
            before = patient.pids()
            env = stick(client, name)
            begun = time.monotonic()
            assert patient.request("DELETE", env, headers=headers).status == 200
            assert time.monotonic() - begun < CALL_TIMEOUT + SLACK
            eventually(lambda before=before: patient.pids() <= before)


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_a_server_with_stuck_environments_stops_within_the_time_of_a_call(kind: str) -> None:
    """SIGTERM ends it and all of them, though their clients keep their connections."""
    with start(kind, "--call-timeout", str(CALL_TIMEOUT)) as server:
        clients = [Client(server) for _ in STUCK]
        try:
            for client, name in zip(clients, STUCK, strict=True):
                stick(client, name)
            begun = time.monotonic()
            server.kill(signal.SIGTERM)
            assert time.monotonic() - begun < CALL_TIMEOUT + 2 * SLACK
        finally:
            for client in clients:
                client.__exit__()


def test_a_fork_server_that_is_stopped_holds_nobody_up_for_ever() -> None:
    """A creation is a 504, a close is answered, and the server stops."""
    with start("process", "--call-timeout", "2") as server:
        env = server.create(TROUBLE)
        [fork_server] = psutil.Process(server.process.pid).children()
        fork_server.suspend()
        assert server.post("/v1/envs/", {"env_id": "CartPole-v1"}).status == 504
        assert server.request("DELETE", env).status == 200
        begun = time.monotonic()
        server.kill(signal.SIGTERM)
        assert time.monotonic() - begun < 5 + 2 * SLACK
        eventually(lambda: not psutil.pid_exists(fork_server.pid) or fork_server.status() == psutil.STATUS_ZOMBIE)


def test_what_is_forked_after_its_creation_was_given_up_is_ended() -> None:
    """A fork server that goes on after a 504 leaves no process of that creation."""
    with start("process", "--call-timeout", "2") as server:
        [fork_server] = psutil.Process(server.process.pid).children()
        fork_server.suspend()
        assert server.post("/v1/envs/", {"env_id": TROUBLE}).status == 504
        fork_server.resume()
        server.create(TROUBLE)
        eventually(lambda: len(fork_server.children()) == 1)


def test_a_fifo_in_the_upload_target_is_passed_over(tmp_path: Path) -> None:
    """Evaluations and pages are answered, and the server stops; likewise where one stands for a file of a recording."""
    target, recording = tmp_path / "target", tmp_path / "recording"
    folder = target / "CartPole-v1" / "20261123T093112-5f2b9c1e"
    folder.mkdir(parents=True)
    recording.mkdir()
    os.mkfifo(folder / "evaluation.json")
    os.mkfifo(recording / "openaigym.manifest.1.1.manifest.json")
    options = ("--upload-to", str(target), "--results-root", str(tmp_path))
    with start("process", *options) as server:
        begun = time.monotonic()
        assert server.get("/v1/evaluations/").json["total"] == 0
        assert server.get("/scoreboard", check=False).status == 200
        body = {"training_dir": "recording", "api_key": "x"}
        answer = server.post("/v1/upload/", body)
        assert answer.status == 400
        assert "it is no file" in answer.message
        server.kill(signal.SIGTERM)
        assert time.monotonic() - begun < 10


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A FIFO, a directory and a device are refused at once, and nothing is left open."""
    os.mkfifo(tmp_path / "fifo")
    before = psutil.Process().num_fds()
    for each in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="no regular file"):
            open_regular(each)
    assert psutil.Process().num_fds() == before


def test_a_pipe_that_nobody_writes_is_given_up(tmp_path: Path) -> None:
    """What is written in time is read, as of `--api-key-file <(pass show key)`."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(TimeoutError, match="nobody has written it"):
        read_within(fifo, 0.05)
    # Somebody has opened it, and takes the whole time.
    with fifo.open("r+b", buffering=0):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            read_within(fifo, 0.2)
        assert time.monotonic() - began >= 0.2
    with threads(lambda: fifo.write_text("key")):
        assert read_within(fifo, SECONDS) == b"key"
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_threads_that_wait_for_ever_keep_nobody() -> None:
    """Who asks is told in time, those behind them as well, and what is over in time is returned, in the context of who asks."""
    forever = threading.Event()
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    pool = DaemonThreads(2, "test")

    async def ask() -> None:
        assert await pool.within(SECONDS, json.loads, "1") == 1
        with pytest.raises(ValueError, match="Expecting value"):
            await pool.within(SECONDS, json.loads, "")
        name.set("mine")
        assert await pool.within(SECONDS, name.get) == "mine"
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await pool.within(0.01, forever.wait)

    asyncio.run(ask())
    assert sum(each.name.startswith("test_") for each in threading.enumerate()) == 2
    forever.set()
    pool.shutdown()


ON_A_HANGING_FILE_SYSTEM: dict[str, dict[str, Any]] = {
    "createEnv": {"body": {"env_id": "CartPole-v1", "kwargs": {"a": ["plain", {"b": HANGING}]}}},
    "createEnv of a wrapper": {
        "body": {"env_id": "CartPole-v1", "wrappers": [{"name": "TimeLimit", "kwargs": {"a": HANGING}}]}
    },
    "resetEnv": {"instance_id": "0", "body": {"options": {"a": HANGING}}},
    "resetBatch": {"instance_id": "0", "body": {"options": {"a": HANGING}}},
    "startMonitor": {"instance_id": "0", "body": {"directory": HANGING}},
}
"""Every operation with a path that the server looks up, by its arguments."""


@pytest.mark.parametrize("name", ON_A_HANGING_FILE_SYSTEM)
async def test_a_path_on_a_file_system_that_hangs_is_given_up_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the system is asked about it; the event loop goes on meanwhile."""
    forever = threading.Event()

    def hanging(usual: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: Any, *args: Any, **kwargs: Any) -> Any:
            if HANGING in str(path):
                forever.wait()
            return usual(path, *args, **kwargs)

        return ask

    settings = Settings(call_timeout=0.2, results_root=(str(tmp_path),))
    engine, results, interpreters = FakeEngine(), Results(settings), Interpreters(settings)
    instances = Instances(settings, engine)
    instances.add("0", FakeWorker())
    replays = Replays.of(settings, results, engine, interpreters)
    parts = (results, Registry(settings), interpreters, Execution(settings, instances))
    handlers = handler_table(settings, instances, lambda: None, *parts, replays=replays, openenv=lambda: None)
    monkeypatch.setattr(os.path, "lexists", hanging(os.path.lexists))
    monkeypatch.setattr(Path, "resolve", hanging(Path.resolve))
    monkeypatch.setattr(os, "lstat", hanging(os.lstat))
    try:
        with pytest.raises(FileSystemTimeoutError, match=f"within 0.2 s about '{HANGING}'"):
            async with asyncio.timeout(SECONDS):
                await handlers[name.partition(" ")[0]](call=Call(), **ON_A_HANGING_FILE_SYSTEM[name])
    finally:
        forever.set()


def test_a_page_that_is_not_made_in_time_is_a_504(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is left to itself, and the client gets a problem."""
    monkeypatch.setattr(pages, "PART_SECONDS", 0.01)
    forever = threading.Event()
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "headers": [],
        "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "client": ("localhost", 1), "asgi": {},
    }  # fmt: skip
    app = pages.Pages(lambda *_: [b""][forever.wait() :], 1 << 20)
    asyncio.run(app(scope, receive, send))
    forever.set()
    assert sent[0]["status"] == 504
