"""Modules that start threads when they are imported, as JAX and envpool do: a forked process would lack the threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gym_http_server.support.foreign_threads import described, lasting_threads
from tests.support.serving import Server

MODULES = {
    "leaves_threads": """
import gymnasium
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2, "of_a_module")
list(pool.map(abs, range(8)))


class Waiting(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(5)
    pool = pool

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return self.pool.submit(abs, action).result(), 1.0, False, False, {}


gymnasium.register("Waiting-v0", Waiting)
""",
    # Only importable behind the first, which its author never noticed.
    "needs_it": """
import sys, gymnasium
gymnasium.register("Needing-v0", sys.modules["leaves_threads"].Waiting)
""",
    # OpenBLAS starts its threads anew for these.
    "multiplies": "import numpy as np; np.ones((600, 600)) @ np.ones((600, 600))",
    # Starts its thread when the fork server collects garbage, which is after all imports.
    "starts_late": """
import gymnasium
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1, "started_late")


class Cycle:
    def __init__(self):
        self.itself = self

    def __del__(self):
        pool.submit(abs, 0).result()


class Late(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return pool.submit(abs, action).result(), 1.0, False, False, {}


gymnasium.register("Late-v0", Late)
gc = __import__("gc")
gc.disable()
Cycle()
""",
}


@pytest.fixture(scope="module")
def threads_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was started with all of `MODULES`."""
    folder: Path = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    imports = [argument for name in MODULES for argument in ("--import", name)]
    variables = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "OPENBLAS_NUM_THREADS": "2"}
    with Server(*imports, "--upload-to", str(folder), environment=variables) as running:
        yield running


@pytest.mark.parametrize("env_id", ["Waiting-v0", "Needing-v0"])
def test_environments_of_a_module_that_leaves_threads_are_served(threads_server: Server, env_id: str) -> None:
    """Their processes import the module themselves, and what can be imported only behind it, so a step finds its threads."""
    env = threads_server.create(env_id, call_timeout=20)
    threads_server.post(f"{env}/reset/")
    assert threads_server.post(f"{env}/step/", {"action": 4}).json["observation"] == 4


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_batches_of_a_module_that_leaves_threads_are_served(threads_server: Server, mode: str) -> None:
    """A process of a lane has the threads too, because it is spawned, not forked."""
    env = threads_server.create("Waiting-v0", num_envs=2, vectorization_mode=mode, call_timeout=30)
    threads_server.post(f"{env}/batch/reset/")
    assert threads_server.post(f"{env}/batch/step/", {"actions": [3, 4]}).json["observations"] == [3, 4]


def test_the_log_names_the_modules_that_are_imported_late(threads_server: Server) -> None:
    """It says what each leaves; threads that end before a fork, as those of OpenBLAS, are no reason."""
    lines = [line for line in threads_server.stderr if "in each environment's process" in line]
    assert [line.split("--import ")[1].split(":")[0] for line in lines] == ["leaves_threads", "needs_it"]
    assert "2 threads (of_a_module_0, of_a_module_1)" in lines[0]


def test_a_time_out_tells_of_threads_that_the_process_lacks(threads_server: Server) -> None:
    """A thread that was started after the imports is named in the 504, with what to do instead of waiting longer."""
    env = threads_server.create("Late-v0", call_timeout=0.5)
    threads_server.post(f"{env}/reset/")
    answer = threads_server.post(f"{env}/step/", {"action": 1})
    assert answer.status == 504
    assert "1 thread (started_late_0) existed when its process was forked" in answer.message
    assert "start threads when an environment is made" in answer.message


def test_threads_that_end_before_a_fork_do_not_last() -> None:
    """Those that a fork handler ends are not counted, and the others are."""
    stop = threading.Event()
    pools: list[ThreadPoolExecutor] = []
    known = len(lasting_threads())

    def end_thread() -> None:
        stop.set()
        for pool in pools:
            pool.shutdown()

    os.register_at_fork(before=end_thread)
    pools.append(ThreadPoolExecutor(1))
    pools[0].submit(stop.wait)
    assert len(lasting_threads()) == known
    with ThreadPoolExecutor(1, "lasting") as pool:
        pool.submit(abs, 1).result()
        assert "lasting_0" in lasting_threads()


def test_threads_are_described_by_number_and_names() -> None:
    """At most four different names are told."""
    assert described(["a"]) == "1 thread (a)"
    assert described(["x"] * 3) == "3 threads (x)"
    assert described(list("edcba")) == "5 threads (a, b, c, d, …)"


@pytest.mark.full
def test_threads_of_the_start_of_python_are_named_with_where_they_come_from(tmp_path: Path) -> None:
    """Gymnasium imports no plugins, and nothing is before the modules of `--import` but Python itself."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True, name='early').start()\n"
    )
    with Server(environment={"PYTHONPATH": str(tmp_path)}) as server:
        server.create("CartPole-v1")
        [line] = [line for line in server.stderr if "exist in the fork server" in line]
    assert "1 thread (early)" in line
    assert "the start of Python (sitecustomize, usercustomize or a .pth file) leaves them" in line
