"""Environments and batches of a guest are those of the server's own Python, and old ones are adapted."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gym_http_server.errors import (
    EnvironmentCreationError,
    EnvironmentDiedError,
    InvalidActionError,
    InvalidValueError,
    MissingDependencyError,
    NotCopyableError,
    NoTransitionModelError,
    UnknownEnvironmentError,
)
from gym_http_server.runtime.messages import CreateRequest, Interpreter
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served
from tests.support.guests import OWN, old_gym, with_packages

Open = Callable[..., Served]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open an instance that is closed after the test."""
    instances: list[Served] = []

    def open_one(env_id: str, interpreter: Interpreter | None = OWN, **given: Any) -> Served:
        instances.append(open_served(CreateRequest(env_id, interpreter=interpreter, **given)))
        return instances[-1]

    yield open_one
    for instance in instances:
        instance.close()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """An interpreter with the interface of gym 0.21."""
    return old_gym(tmp_path_factory.mktemp("old"))


def call(instance: Served, operation: str, **arguments: Any) -> Any:
    return orjson.loads(instance.call(operation, arguments).body)


@pytest.mark.parametrize(("env_id", "action"), [("CartPole-v1", 1), ("Taxi-v3", 2), ("Pendulum-v1", [0.5])])
def test_steps_of_a_guest_are_those_of_the_servers_own_python(opened: Open, env_id: str, action: Any) -> None:
    """Types included."""
    guest, own = opened(env_id, seed=1), opened(env_id, None, seed=1)
    assert call(guest, "reset", types=True) == call(own, "reset", types=True)
    for _ in range(8):
        assert call(guest, "step", action=action, types=True) == call(own, "step", action=action, types=True)
    assert call(guest, "sample") == call(own, "sample")
    described = own.description
    assert guest.description.observation_space == described.observation_space
    assert guest.description.declared["specification"] == described.declared["specification"]
    assert guest.description.declared["metadata"] == described.declared["metadata"]
    assert guest.description.render_mode == described.render_mode
    assert guest.description.library.startswith(f"{described.library} (Python 3.")
    assert guest.call("render", {"media_types": ["image/png"]}).media_type == "image/png"


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("wrappers", [[], [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 4}}]])
def test_a_batch_of_a_guest_is_one_of_the_servers_own_python(opened: Open, autoreset: str, wrappers: list[Any]) -> None:
    """In each autoreset mode, with and without wrappers around its lanes."""
    given = {"num_envs": 3, "vectorization_mode": "sync", "autoreset_mode": autoreset, "wrappers": wrappers}
    batches = [opened("CartPole-v1", interpreter, **given) for interpreter in (OWN, None)]
    assert batches[0].description.vectorization_mode == "sync"
    assert call(batches[0], "batch_reset", seed=5) == call(batches[1], "batch_reset", seed=5)
    ended = 0
    while ended < 5:
        replies = [call(batch, "batch_step", actions=[1, 0, 1], types=True) for batch in batches]
        assert replies[0] == replies[1]
        over = [a or b for a, b in zip(replies[0]["terminated"], replies[0]["truncated"], strict=True)]
        ended += sum(over)
        if autoreset == "disabled" and any(over):
            assert (
                len({orjson.dumps(call(batch, "batch_reset", seed=ended, reset_mask=over)) for batch in batches}) == 1
            )


def test_wrappers_and_limits_of_the_server_are_around_a_guest(opened: Open) -> None:
    """A wrapper of the server's Python, and a limit of steps that the request names."""
    guest = opened("CartPole-v1", max_episode_steps=2, wrappers=[{"name": "ClipReward", "kwargs": {"max_reward": 0.5}}])
    call(guest, "reset", seed=1)
    assert call(guest, "step", action=0)["reward"] == 0.5
    assert call(guest, "step", action=1)["truncated"]
    assert guest.description.declared["specification"]["max_episode_steps"] == 2


def test_a_packages_own_spaces_of_a_guest_are_those_of_the_servers_own_python(opened: Open) -> None:
    """Described, sampled, seeded and checked there, in observations and actions, alone and in a batch."""
    interpreter = Interpreter("own", ("self",), ("tests.support.own_spaces",))
    importlib.import_module("tests.support.own_spaces")
    guest, own = opened("tests/Own-v0", interpreter, seed=1), opened("tests/Own-v0", None, seed=1)
    assert guest.description.action_space == own.description.action_space
    assert guest.description.observation_space == own.description.observation_space
    assert call(guest, "sample") == call(own, "sample")
    assert call(guest, "reset", types=True) == call(own, "reset", types=True)
    action = {"to": ["north", 1], "shares": [0.5, 0.5]}
    assert call(guest, "step", action=action, types=True) == call(own, "step", action=action, types=True)
    with pytest.raises(InvalidActionError):
        guest.call("step", {"action": {**action, "to": ["north"]}})
    for value, member in (("go home", True), ("stay", False)):
        assert call(guest, "contains_observation", observation=value, part="/spaces/mission")["member"] is member
    assert call(guest, "sample_space", space="observation", part="/spaces/some/space")["value"].startswith("go to")
    batch = opened("tests/Own-v0", interpreter, num_envs=2)
    call(batch, "batch_reset", seed=1)
    actions = {"to": [["north", 1]] * 2, "shares": [[0.5, 0.5]] * 2}
    assert call(batch, "batch_step", actions=actions)["observations"]["mission"] == ["go to 1"] * 2


def test_what_viewers_are_told_of_a_guest_is_that_of_the_servers_own_python(opened: Open) -> None:
    """The latest action and observation as the agent's reply had them, in spaces of a package's own, too; of each lane of a batch."""
    importlib.import_module("tests.support.own_spaces")
    action = {"to": ["north", 1], "shares": [0.5, 0.5]}
    told = {}
    for interpreter in (Interpreter("own", ("self",), ("tests.support.own_spaces",)), None):
        single, batch = (opened("tests/Own-v0", interpreter, seed=1, num_envs=lanes) for lanes in (None, 2))
        call(single, "reset")
        reply = call(single, "step", action=action)
        actions = {name: [value] * 2 for name, value in action.items()}
        call(batch, "batch_reset", seed=1)
        replies = call(batch, "batch_step", actions=actions)
        live, live_lanes = (call(each, "live", max_elements=64) for each in (single, batch))
        [lane] = live["lanes"]
        assert (lane["action"], lane["observation"], lane["length"]) == (action, reply["observation"], 1)
        missions = [each["observation"]["mission"] for each in live_lanes["lanes"]]
        assert missions == replies["observations"]["mission"]
        assert [each["action"] for each in live_lanes["lanes"]] == [action] * 2
        told[interpreter is None] = live["lanes"], live_lanes["lanes"]
    assert told[True] == told[False]


def test_what_does_not_cross_is_refused_with_the_reason(opened: Open) -> None:
    """Snapshots and the tabular model."""
    guest = opened("FrozenLake-v1")
    with pytest.raises(NotCopyableError, match="lives in interpreter 'own'"):
        guest.call("snapshot_create", {"limit": 1})
    with pytest.raises(NoTransitionModelError, match="lives in interpreter 'own'"):
        guest.call("transitions", {})


def test_an_old_environment_without_seed_metadata_and_info_is_adapted(opened: Open, old: Interpreter) -> None:
    """Four values of a step become five."""
    guest = opened("Old-v0", old, seed=1)
    assert guest.description.library.startswith("gym 0.21.0 (Python ")
    assert call(guest, "reset", seed=3) == {"observation": 0, "info": {}}
    reply = call(guest, "step", action=0)
    assert (reply["observation"], reply["terminated"], reply["truncated"]) == (1, False, False)
    assert call(guest, "step", action=1)["terminated"]
    with pytest.raises(InvalidValueError, match="takes no options"):
        guest.call("reset", {"options": {"a": 1}})
    assert call(guest, "reset", options={})["observation"] == 0
    assert call(opened("Unseeded-v0", old), "reset", seed=3)["observation"] == 0


def test_an_old_environment_is_seeded_drawn_and_limited_its_own_way(opened: Open, old: Interpreter) -> None:
    """`seed()` before `reset()`, `render(mode)`, and the limit of its registration."""
    guest = opened("Seeded-v0", old, kwargs={"size": 4})
    assert guest.description.render_mode == "rgb_array"
    assert guest.description.declared["specification"]["reward_threshold"] == 5.0
    assert len({call(guest, "reset", seed=7)["observation"] for _ in range(4)}) == 1
    replies = [call(guest, "step", action=0) for _ in range(3)]
    assert [reply["truncated"] for reply in replies] == [False, False, True]
    assert not replies[2]["terminated"]
    assert guest.call("render", {"media_types": ["image/png"]}).media_type == "image/png"
    batch = opened("Seeded-v0", old, num_envs=2, autoreset_mode="same_step")
    call(batch, "batch_reset", seed=1)
    assert [call(batch, "batch_step", actions=[0, 0])["truncated"] for _ in range(3)][2] == [True, True]


def test_spaces_and_values_of_old_libraries_are_those_of_gymnasium(opened: Open, old: Interpreter) -> None:
    """`info` crosses as JSON has it, and what runs is another process."""
    guest = opened("Spaces-v0", old)
    space = guest.description.observation_space
    assert space["keys"] == ["box", "many", "bits", "pair"]
    assert space["spaces"]["many"]["nvec"] == [3, 300]
    assert space["spaces"]["pair"]["spaces"][1]["dtype"] == "uint8"
    observation = call(guest, "reset")["observation"]
    assert observation["pair"] == [1, [[1, 1], [1, 1]]]
    assert call(guest, "contains_observation", observation=observation) == {"member": True}
    info = call(guest, "step", action=0)["info"]
    assert info.pop("pid") != os.getpid()
    assert info == {"text": "a", "array": [0, 1, 2], "any": [1, 2]}


def test_keys_and_meanings_of_a_guest_are_told(opened: Open, old: Interpreter) -> None:
    """As of an environment of the server's own Python, with the docstring; a key of another action space is left out."""
    assert call(opened("Played-v0", old), "controls") == {
        "keys": [{"keys": [], "action": 0}, {"keys": ["a", "ArrowLeft"], "action": 1}],
        "meanings": ["NOOP", "FIRE"],
        "documentation": "A game.\n\nIt has two moves.",
    }
    assert call(opened("CartPole-v1"), "controls") == call(opened("CartPole-v1", None), "controls")
    with pytest.raises(EnvironmentDiedError, match="exit code 3"):
        call(opened("Named-v0", old), "controls")


def test_ids_kwargs_and_modes_that_the_guest_refuses_are_the_clients_errors(opened: Open, old: Interpreter) -> None:
    """With the text that says what is wrong."""
    with pytest.raises(UnknownEnvironmentError, match="interpreter 'old': did you mean Old-v0"):
        opened("Olf-v0", old)
    with pytest.raises(UnknownEnvironmentError, match="--interpreter-import old=os"):
        opened("os:Old-v0", old)
    with pytest.raises(EnvironmentCreationError, match="unexpected keyword argument 'colour'"):
        opened("Seeded-v0", old, kwargs={"colour": 1})
    with pytest.raises(InvalidValueError, match="no render mode 'ansi'"):
        opened("Seeded-v0", old, render_mode="ansi")
    with pytest.raises(InvalidValueError, match="made in mode 'sync'"):
        opened("Old-v0", old, num_envs=2, vectorization_mode="async")
    with pytest.raises(InvalidValueError, match="it is a property beside kwargs"):
        opened("Old-v0", old, kwargs={"render_mode": "rgb_array"})
    assert opened("old_environments:Old-v0", old).description.env_id == "Old-v0"


PASSING_ON = """
import gymnasium


class Blind(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, size=1):
        self.size = size


def drawn(**keywords):
    return gymnasium.make("CartPole-v1", **keywords)


def blind(**keywords):
    return Blind(**keywords)


gymnasium.register("Drawn-v0", drawn)
gymnasium.register("Blind-v0", blind)
"""


def test_a_function_that_passes_its_keywords_on_is_asked_for_frames(opened: Open, tmp_path: Path) -> None:
    """It gives them where the environment has a render mode, and is made without one where it has none."""
    (tmp_path / "passing_on.py").write_text(PASSING_ON)
    interpreter = with_packages("passing", tmp_path, "passing_on")
    modes = [opened("Drawn-v0", interpreter, render_mode=mode).description.render_mode for mode in (None, "rgb_array")]
    assert modes == ["rgb_array"] * 2
    assert opened("Blind-v0", interpreter).description.render_mode is None
    with pytest.raises(InvalidValueError, match="no render mode 'rgb_array': it has none at all"):
        opened("Blind-v0", interpreter, render_mode="rgb_array")


def test_an_interpreter_that_does_not_start_says_why(opened: Open, tmp_path: Path) -> None:
    """No program, no Python, a module that is missing, and no library."""
    with pytest.raises(EnvironmentCreationError, match="cannot be started"):
        opened("Old-v0", Interpreter("none", (str(tmp_path / "python"),)))
    with pytest.raises(EnvironmentCreationError, match="starts no Python: ended with exit code 3; it wrote: hello"):
        opened("Old-v0", Interpreter("sh", ("/bin/sh", "-c", "echo hello; exit 3")))
    with pytest.raises(EnvironmentCreationError, match="no_such_module: ModuleNotFoundError"):
        opened("Old-v0", Interpreter("own", ("self",), ("no_such_module",)))
    (tmp_path / "gymnasium.py").write_text("raise ModuleNotFoundError('it is not there', name='gymnasium')")
    with pytest.raises(MissingDependencyError, match="gymnasium is not installed there"):
        opened("Old-v0", with_packages("bare", tmp_path), library="gymnasium")


def test_a_guest_that_ends_takes_only_its_instance_down(opened: Open, tmp_path: Path) -> None:
    """The call in execution says how it ended, and so do later ones."""
    (tmp_path / "ends.py").write_text(
        "import gymnasium, os\n"
        "class Ends(gymnasium.Env):\n"
        "    observation_space = action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        print('noise on stdout', flush=True)\n"
        "        os.system('echo more noise')\n"
        "        return 0, {}\n"
        "    def step(self, action):\n"
        "        os.kill(os.getpid(), 11)\n"
        "gymnasium.register('Ends-v0', Ends)\n"
    )
    guest = opened("Ends-v0", with_packages("ends", tmp_path, "ends"))
    assert call(guest, "reset") == {"observation": 0, "info": {}}
    for _ in range(2):
        with pytest.raises(EnvironmentDiedError, match="interpreter 'ends' ended with signal SIGSEGV"):
            guest.call("step", {"action": 0})
    assert guest.is_broken


OTHER_PYTHONS = [f"python3.{minor}" for minor in (7, 8, 9, 10) if shutil.which(f"python3.{minor}")]


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no Python before 3.11 is on PATH")
@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_a_guest_speaks_in_an_older_python(opened: Open, tmp_path: Path, python: str) -> None:
    """Where that has NumPy."""
    if subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no NumPy")
    given = old_gym(tmp_path)
    guest = opened("Spaces-v0", dataclasses.replace(given, command=(*given.command[:-1], python)))
    assert f"(Python {python.removeprefix('python')}." in guest.description.library
    call(guest, "reset", seed=1)
    assert call(guest, "step", action=1)["info"]["any"] == [1, 2]
