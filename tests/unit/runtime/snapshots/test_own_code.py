"""What of the code beside an environment is part of its state: its own modules, and nothing of libraries that it uses."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from rich.console import Console

from gym_http_server.runtime.snapshots.own_code import OwnCode
from gym_http_server.runtime.snapshots.snapshots import Snapshots
from tests.support.serving import Server

ENVIRONMENT = """
import gymnasium
import {state}
from {state} import Dice, count, draw

class World(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1e9, (5,))
    action_space = gymnasium.spaces.Discrete(2)
    def _observed(self):
        return [{state}.rng.integers(10**6), Dice.roll(), count(), draw(), {state}.deeper.calls()]
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observed(), {{}}
    def step(self, action):
        return self._observed(), 0.0, False, False, {{}}

gymnasium.register("{name}-v0", World)
"""

STATE = """
import numpy, threading
import {deeper} as deeper

rng = numpy.random.default_rng(0)
lock = threading.Lock()
pipe = iter([1])

class Dice:
    rolled = 0
    @classmethod
    def roll(cls):
        cls.rolled += 1
        return cls.rolled

def _counter():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count

count = _counter()

def draw():
    draw.drawn = getattr(draw, "drawn", 0) + 1
    return draw.drawn
"""

DEEPER = """
_CALLS = 0
def calls():
    global _CALLS
    _CALLS += 1
    return _CALLS
"""


def write(directory: Path, name: str) -> None:
    """Write the module of an environment, `<name>`, which imports `<name>_state`, which imports `<name>_deeper`."""
    state, deeper = f"{name}_state", f"{name}_deeper"
    texts = {name: ENVIRONMENT.format(name=name, state=state), state: STATE.format(deeper=deeper), deeper: DEEPER}
    for each, text in texts.items():
        path = directory.joinpath(*each.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("arguments", [(), ("--no-handover",)])
def test_state_in_modules_that_the_environments_own_imports_is_restored(tmp_path: Path, arguments: Any) -> None:
    """Generators, counters of classes, closures and attributes of functions, in a helper module and in one that it imports."""
    write(tmp_path, "apart")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with Server("--import", "apart", *arguments, environment={"PYTHONPATH": path}) as server:
        env = server.create("apart-v0", seed=1)
        server.post(f"{env}/reset/")

        def future() -> list[Any]:
            return [server.post(f"{env}/step/", {"action": 0}).json["observation"] for _ in range(3)]

        saved = server.post(f"{env}/snapshots/")
        assert saved.status == 200, saved.body
        first = future()
        assert [row[1:] for row in first] == [[n, n, n, n] for n in (2, 3, 4)]
        for _ in range(2):
            assert server.post(f"{env}/snapshots/{saved.json['snapshot_id']}/restore/").status == 200
            assert future() == first


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Makes the environment of a name, whose modules are in a directory below that of the test."""
    before = set(sys.modules)

    def make(directory: str, name: str) -> Any:
        monkeypatch.syspath_prepend(str(tmp_path / directory))
        write(tmp_path / directory, name)
        importlib.invalidate_caches()
        return importlib.import_module(name).World()

    yield make
    for each in set(sys.modules) - before:
        del sys.modules[each]
    for each in [each for each in gymnasium.registry if "code_" in each]:
        del gymnasium.registry[each]


@pytest.mark.parametrize(
    ("directory", "name", "is_followed"),
    [
        ("work", "code_a", True),
        ("lib/site-packages", "code_b.world", True),
        ("lib/site-packages", "code_c", False),
        ("lib/dist-packages", "code_d", False),
    ],
)
def test_what_is_installed_is_left_alone_unless_the_environment_comes_from_it(
    make: Callable[[str, str], Any], directory: str, name: str, is_followed: bool
) -> None:
    """A module of another package in site-packages is a library, and has a life of its own."""
    env = make(directory, name)
    env.reset()
    for owns_process in (False, True):
        snapshots = Snapshots(owns_process=owns_process)
        snapshot_id = snapshots.create({}, env, (), render=lambda: None, steps=0, limit=1)
        first = env.step(0)[0]
        snapshots.get(snapshot_id).saved.put_back()
        assert (env.step(0)[0] == first) is (is_followed and owns_process)


def test_a_library_that_an_object_of_the_environment_is_of_is_not_looked_through() -> None:
    """Its own code is that of its classes of environments, and not of all that it holds."""
    env = gymnasium.make("CartPole-v1").unwrapped
    own = OwnCode([type(env), Console])
    assert not any(own.has(each) for each in (sys, gymnasium, type(env), Console, pytest, sys.modules["__main__"]))
    assert own.has(sys.modules[__name__])
