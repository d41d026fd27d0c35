"""Guests behind the `process` engine: one that misbehaves takes only its instance down, and a host is forked for each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from gym_http_server.config import Settings
from gym_http_server.engines.base import Worker
from gym_http_server.engines.process.engine import ProcessEngine
from gym_http_server.errors import CallTimeoutError, EnvironmentDiedError, EnvironmentRaisedError
from gym_http_server.runtime.guests.wire import HEADER, RESULT
from gym_http_server.runtime.messages import CreateRequest, Interpreter
from tests.support.guests import trouble
from tests.support.serving import eventually, living

MEMORY = 200_000_000


class Engine:
    """A `process` engine, driven from a test that does not run in its loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._engine = ProcessEngine(Settings(max_memory_per_env=MEMORY))
        self._workers: list[Worker] = []
        self._runner.run(self._engine.start())

    def create(self, interpreter: Interpreter, call_timeout: float = 20.0, **given: Any) -> Worker:
        request = CreateRequest("Trouble-v0", interpreter=interpreter, **given)
        instance_id = f"{len(self._workers):08x}"
        self._workers.append(self._runner.run(self._engine.create(instance_id, request, call_timeout)))
        return self._workers[-1]

    def call(self, worker: Worker, operation: str, **arguments: Any) -> Any:
        return orjson.loads(self._runner.run(worker.call(operation, arguments)).body)

    def close(self, worker: Worker) -> None:
        self._runner.run(worker.close())

    def stop(self) -> None:
        for worker in self._workers:
            self.close(worker)
        self._runner.run(self._engine.stop())
        self._runner.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine for this module, after which nothing is left."""
    before = set(psutil.Process().children(recursive=True))
    running = Engine()
    yield running
    running.stop()
    assert not living(set(psutil.Process().children(recursive=True)) - before)


@pytest.fixture(scope="module", params=[False, True], ids=["spawned", "forked"])
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """An interpreter whose guests are spawned, and one whose guests a host forks."""
    return trouble(tmp_path_factory.mktemp("trouble"), may_fork=request.param)


def reset(engine: Engine, worker: Worker) -> psutil.Process:
    """Begin an episode, and return the process of the guest."""
    return psutil.Process(engine.call(worker, "reset")["info"]["pid"])


def living_in(directory: Path) -> set[psutil.Process]:
    """Return the processes that have the packages of a directory."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PYTHONPATH") == str(directory):
                found.add(process)
    return found


def imports(directory: Path) -> int:
    """Return how often the module was imported."""
    return (directory / "imports").read_text().count("once")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("crash", "the guest in interpreter 'trouble' ended"),
        ("exit", "the last that it wrote: these are my last words"),
        ("rubbish " + bytes(range(256)).hex(), "sent something malformed|ended"),
        ("rubbish " + HEADER.pack(1 << 31, RESULT, 0).hex(), "sent something malformed"),
        ("rubbish " + (HEADER.pack(5, RESULT, 0) + b"l\xff\xff\xff\xff").hex(), "sent something malformed"),
    ],
)
def test_a_guest_that_is_lost_takes_only_its_instance_down(
    engine: Engine, interpreter: Interpreter, action: str, words: str
) -> None:
    """With a 502 that says how, and the last lines that it wrote."""
    lost, other = engine.create(interpreter), engine.create(interpreter)
    process = reset(engine, lost)
    reset(engine, other)
    with pytest.raises(EnvironmentDiedError, match=words):
        engine.call(lost, "step", action=action)
    assert not living([process])
    with pytest.raises(EnvironmentDiedError):
        engine.call(lost, "step", action="")
    assert engine.call(other, "step", action="")["reward"] == 1.0
    engine.close(lost)
    engine.close(other)


@pytest.mark.parametrize("action", ["hang", "stop"])
def test_a_guest_that_does_not_answer_is_ended_with_its_instance(
    engine: Engine, interpreter: Interpreter, action: str
) -> None:
    """Within the time limit of a call."""
    worker = engine.create(interpreter)
    process = reset(engine, worker)
    engine.close(worker)
    assert not living([process])
    worker = engine.create(interpreter, 2.0 if interpreter.may_fork else 5.0)
    process = reset(engine, worker)
    with pytest.raises(CallTimeoutError):
        engine.call(worker, "step", action=action)
    assert not living([process])


def test_a_guest_ends_with_the_process_of_its_instance(engine: Engine, interpreter: Interpreter) -> None:
    """However that ends."""
    worker = engine.create(interpreter)
    process = reset(engine, worker)
    os.kill(worker._pid, signal.SIGKILL)
    assert not living([process])
    with pytest.raises(EnvironmentDiedError):
        engine.call(worker, "step", action="")


def test_the_memory_of_a_guest_counts(engine: Engine, interpreter: Interpreter) -> None:
    """As that of its instance."""
    worker = engine.create(interpreter)
    process = reset(engine, worker)
    with pytest.raises(EnvironmentDiedError, match="max-memory-per-env"):
        engine.call(worker, "step", action="memory")
    assert not living([process])


def test_what_a_guest_prints_is_output_of_its_instance(
    engine: Engine, interpreter: Interpreter, caplog: pytest.LogCaptureFixture
) -> None:
    """On stdout too, which frames may use; and it fills no pipe."""
    worker = engine.create(interpreter)
    reset(engine, worker)
    with caplog.at_level(logging.INFO, "gym_http_server.environment"):
        assert engine.call(worker, "step", action="print")["reward"] == 1.0
        assert engine.call(worker, "step", action="fill")["reward"] == 1.0
    engine.close(worker)
    assert {"a line on stdout", "a line of a program"} <= {line.partition(": ")[2] for line in caplog.messages}


def test_an_exception_of_the_environment_is_no_loss(engine: Engine, interpreter: Interpreter) -> None:
    """The instance goes on."""
    worker = engine.create(interpreter)
    reset(engine, worker)
    with pytest.raises(EnvironmentRaisedError, match="raised LookupError during step: no such thing"):
        engine.call(worker, "step", action="raise")
    assert engine.call(worker, "step", action="")["reward"] == 1.0
    engine.close(worker)


def test_a_host_imports_once_for_all_environments(engine: Engine, tmp_path: Path) -> None:
    """Also for a batch; and one that dies is started again."""
    forked = trouble(tmp_path, may_fork=True)
    workers = [engine.create(forked), engine.create(forked), engine.create(forked, num_envs=2)]
    assert imports(tmp_path) == 1
    guests = {reset(engine, worker) for worker in workers[:2]}
    assert len(guests) == 2
    [host] = living_in(tmp_path) - guests - {psutil.Process(engine.call(workers[2], "batch_reset")["infos"]["pid"][0])}
    host.kill()
    assert not living([host])
    workers.append(engine.create(forked))
    workers.append(engine.create(forked))
    assert imports(tmp_path) == 2
    for worker in workers[:2]:
        assert engine.call(worker, "step", action="")["reward"] == 1.0
    for worker in workers:
        engine.close(worker)


def test_a_host_that_hangs_is_started_again(engine: Engine, tmp_path: Path) -> None:
    """When the time of the first environment that waits for it is over."""
    forked = trouble(tmp_path, may_fork=True)
    (tmp_path / "hang").touch()
    with pytest.raises(CallTimeoutError):
        engine.create(forked, 2.0)
    eventually(lambda: not living_in(tmp_path))
    (tmp_path / "hang").unlink()
    before = imports(tmp_path)
    for worker in [engine.create(forked), engine.create(forked)]:
        engine.close(worker)
    assert imports(tmp_path) == before + 1


def test_a_host_with_threads_is_not_forked(engine: Engine, tmp_path: Path) -> None:
    """Each environment starts a guest of its own, as with JAX and CUDA."""
    (tmp_path / "threads").touch()
    forked = trouble(tmp_path, may_fork=True)
    for expected in (2, 3):
        worker = engine.create(forked)
        reset(engine, worker)
        assert imports(tmp_path) == expected
        engine.close(worker)


def test_a_command_that_inherits_nothing_speaks_over_stdin_and_stdout(engine: Engine, tmp_path: Path) -> None:
    """As ssh and docker do: pipes, and no other descriptor; what the shell writes before is skipped."""
    near = trouble(tmp_path)
    shell = 'echo welcome; for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done; /bin/cat | "$@" | /bin/cat'
    far = Interpreter("far", ("/bin/bash", "-c", shell, "-", *near.command), near.imports)
    for remote in (far, Interpreter("far", far.command, far.imports, may_fork=True)):
        worker = engine.create(remote)
        process = reset(engine, worker)
        assert engine.call(worker, "step", action="print")["reward"] == 1.0
        assert process.pid != os.getpid()
        assert sys.executable in process.cmdline()[0]
        engine.close(worker)
        assert not living([process])
