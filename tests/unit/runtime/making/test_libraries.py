"""Libraries that clients ask for by name, with stand-ins for their packages: see the manual for those tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gym_http_server.errors import (
    EnvironmentCreationError,
    InvalidValueError,
    MissingDependencyError,
    UnknownEnvironmentError,
)
from gym_http_server.runtime.making.ids import find
from gym_http_server.runtime.making.library import make
from gym_http_server.runtime.messages import CreateRequest, Interpreter
from gym_http_server.runtime.served.opening import open_served
from tests.support import fake_libraries


@pytest.fixture(autouse=True)
def _libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_libraries.install(monkeypatch)


def called(served: Any, operation: str, **arguments: Any) -> Any:
    return orjson.loads(served.call(operation, arguments).body)


def test_a_pool_of_envpool_is_a_batch() -> None:
    """With its options as kwargs; a reset with a seed makes it anew, because EnvPool seeds nothing later."""
    batch = open_served(CreateRequest("Fake-v1", library="envpool", num_envs=3, kwargs={"start": 10}))
    made = batch.description
    assert (made.library, made.vectorization_mode, made.autoreset_mode) == (
        "envpool 1.0",
        "vector_entry_point",
        "next_step",
    )
    assert made.render_mode == "rgb_array"
    assert called(batch, "batch_reset")["observations"] == {"n": [11, 12, 13]}
    assert called(batch, "batch_reset", seed=5)["observations"] == {"n": [15, 16, 17]}
    reply = called(batch, "batch_step", actions=[1, 2, 3])
    assert (reply["observations"], reply["rewards"]) == ({"n": [1, 3, 5]}, [1.0, 2.0, 3.0])
    assert fake_libraries.Pool.open_pools == 1
    batch.close()
    assert fake_libraries.Pool.open_pools == 0


def test_a_pool_of_one_lane_is_a_single_environment() -> None:
    """Wrappers and lanes of Gymnasium are around it."""
    served = open_served(CreateRequest("Fake-v1", library="envpool"))
    assert called(served, "reset", seed=5) == {"observation": {"n": 5}, "info": {"env_id": 0}}
    reply = called(served, "step", action=4, render=True)
    assert (reply["observation"], reply["reward"], reply["frame"]) == ({"n": 4}, 4.0, [[[0] * 3] * 2] * 2)
    wrapped = CreateRequest(
        "Fake-v1", library="envpool", num_envs=2, wrappers=[{"name": "TimeLimit", "kwargs": {"max_episode_steps": 2}}]
    )
    assert called(open_served(wrapped), "batch_reset", seed=5)["observations"] == {"n": [5, 6]}


@pytest.mark.parametrize("option", ["batch_size", "env_type"])
def test_an_option_of_envpool_that_would_change_its_form_is_refused(option: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidValueError, match=f"'{option}' cannot be set for envpool"):
        open_served(CreateRequest("Fake-v1", library="envpool", num_envs=2, kwargs={option: 1}))


def test_stable_retro_is_asked_for_frames_and_takes_names() -> None:
    """Its enumerations have no JSON, and its default opens a window; a process can have one emulator."""
    made = make(CreateRequest("Fake-Genesis-v0", library="stable-retro", kwargs={"obs_type": "RAM"}))
    assert (made.environment.reset()[0], made.render_mode, made.library) == (1, "rgb_array", "stable-retro 1.0")
    with pytest.raises(EnvironmentCreationError, match="must be one of IMAGE, RAM"):
        make(CreateRequest("Fake-Genesis-v0", library="stable-retro", kwargs={"obs_type": "SOUND"}))
    with pytest.raises(InvalidValueError, match="ask for 'async'"):
        open_served(CreateRequest("Fake-Genesis-v0", library="stable-retro", num_envs=2))


def test_the_cost_of_safety_gymnasium_is_in_the_info() -> None:
    """Its steps have six values."""
    served = open_served(CreateRequest("SafetyFake-v0", library="safety-gymnasium"))
    called(served, "reset")
    reply = called(served, "step", action=7)
    assert (reply["observation"], reply["reward"], reply["info"]) == (7, 1.0, {"cost": 0.5})


def test_the_ids_of_pettingzoo_are_its_families_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kwargs` go to `parallel_env`; the family that is in a package of its own names that where it is missing."""
    family = tmp_path / "pettingzoo" / "classic"
    family.mkdir(parents=True)
    (tmp_path / "pettingzoo" / "__init__.py").touch()
    (family / "leaving_v1.py").write_text("from tests.support.agent_envs import Leaving as parallel_env\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.0")
    kwargs = {"steps": {"late": 2, "early": 1, "middle": 1}}
    served = open_served(CreateRequest("classic/leaving_v1", library="pettingzoo", kwargs=kwargs))
    assert (served.description.library, served.description.render_mode) == ("pettingzoo 1.0", "ansi")
    called(served, "reset")
    reply = called(served, "step", action={"late": 1, "early": 0, "middle": 2})
    assert (reply["rewards"], reply["done"]) == ({"late": 1.0, "early": 0.0, "middle": 2.0}, False)
    with pytest.raises(MissingDependencyError, match="pip install mpe2"):
        open_served(CreateRequest("mpe/simple_spread_v3", library="pettingzoo"))


def test_an_id_that_a_library_has_not_is_answered_with_a_near_one() -> None:
    """Of that library."""
    with pytest.raises(UnknownEnvironmentError, match="envpool has no such environment; did you mean 'Fake-v1'"):
        find(CreateRequest("Fake-v2", library="envpool"))


@pytest.mark.parametrize(
    ("request_", "package"),
    [
        (CreateRequest("Fake-v1", library="envpool"), "envpool"),
        (CreateRequest("Fake-Genesis-v0", library="stable-retro"), "stable-retro"),
        (CreateRequest("SafetyFake-v0", library="safety-gymnasium"), "safety-gymnasium"),
        (CreateRequest("classic/tictactoe_v3", library="pettingzoo"), "pettingzoo"),
        (CreateRequest("dm_control/walker-walk-v0"), "shimmy[dm-control]"),
    ],
)
def test_a_missing_library_is_named_with_its_command(
    request_: CreateRequest, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is asked for by `library` or by a namespace."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("gym_http_server.runtime.making.gym_compat.available", lambda: False)
    with pytest.raises(MissingDependencyError) as raised:
        make(request_)
    assert raised.value.facts["package"] == package
    assert f"pip install {package}" in raised.value.detail.replace("'", "")


def test_a_library_by_name_is_one_of_the_servers_own_python() -> None:
    """An interpreter is refused, not ignored."""
    interpreter = Interpreter("other", ("python",))
    with pytest.raises(InvalidValueError, match="leave interpreter out"):
        open_served(CreateRequest("Fake-v1", library="envpool", interpreter=interpreter))
