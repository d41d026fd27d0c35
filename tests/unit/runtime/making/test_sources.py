"""What registers environments: functions, factories, entry points of packages; and what is said where nothing does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from gym_http_server.errors import ImportFailedError, InvalidValueError, UnknownEnvironmentError
from gym_http_server.runtime.making.dependencies import WELL_KNOWN, known_module
from gym_http_server.runtime.making.ids import find
from gym_http_server.runtime.making.library import declare_imports, make
from gym_http_server.runtime.making.sources import imports
from gym_http_server.runtime.making.vectorize import make_batch
from gym_http_server.runtime.messages import CreateRequest
from tests.support import factories

FACTORIES = "tests.support.factories"


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(gymnasium.registry)
    monkeypatch.setattr(imports, "_registered", {})
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def test_import_may_name_what_registers() -> None:
    """`MODULE:CALLABLE` is called after the import."""
    declare_imports([f"{FACTORIES}:register_shops"])
    made = make(CreateRequest("tests/RegisteredShop-v0", kwargs={"discount": 1}))
    assert made.environment.reset()[0] == 49


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (f"{FACTORIES}:fail", "--import .*:fail: RuntimeError: no licence"),
        (f"{FACTORIES}:nothing", "AttributeError: .*nothing"),
        (f"{FACTORIES}:made", "made of tests.support.factories is no function or class but list"),
        ("no_such_module:register", "no module named no_such_module"),
        (f"Shop-v0={FACTORIES}:nothing", "--env Shop-v0=.*AttributeError: .*nothing"),
        (f"Sh op-v0={FACTORIES}:make_shop", "--env Sh op-v0=.*Malformed"),
    ],
)
def test_what_registers_nothing_is_named(source: str, why: str) -> None:
    """The error has the option as the operator wrote it."""
    with pytest.raises(ImportFailedError, match=why):
        declare_imports([source])


@pytest.mark.parametrize("factory", ["make_shop", "Makers.make_shop"])
def test_a_factory_makes_an_environment_and_a_batch(factory: str) -> None:
    """`--env` names it; it gets the client's kwargs, is asked for frames, and makes nothing beside what is served."""
    declare_imports([f"Shop-v0={FACTORIES}:{factory}"])
    factories.made.clear()
    made = make(CreateRequest("Shop-v0", kwargs={"discount": 5}))
    assert (made.environment.reset()[0], made.render_mode) == (45, "rgb_array")
    batch = make_batch(CreateRequest("Shop-v0", kwargs={"discount": 6}, num_envs=3), may_fork=False)
    assert batch.environment.reset()[0].tolist() == [44] * 3
    assert factories.made == ["rgb_array"] * 4


def test_a_factory_may_replace_an_id_of_a_library(recwarn: pytest.WarningsRecorder) -> None:
    """The operator's choice counts, and no warning is given."""
    declare_imports([f"CartPole-v1={FACTORIES}:make_shop"])
    assert make(CreateRequest("CartPole-v1")).environment.reset()[0] == 50
    assert len(recwarn) == 0


def test_a_wrapper_of_an_imported_module_can_be_named() -> None:
    """By `module:Wrapper`, alone and in a batch, with arguments."""
    declare_imports([FACTORIES, f"Shop-v0={FACTORIES}:make_shop"])
    wrappers = [
        {"name": f"{FACTORIES}:Doubled", "kwargs": {}},
        {"name": f"{FACTORIES}:Doubled", "kwargs": {"factor": 3}},
    ]
    request = CreateRequest("Shop-v0", imports=(f"{FACTORIES}:register_shops",), wrappers=wrappers)
    assert make(request).environment.reset()[0] == 300
    batched = CreateRequest("Shop-v0", imports=(FACTORIES,), wrappers=wrappers[:1], num_envs=2)
    assert make_batch(batched, may_fork=False).environment.reset()[0].tolist() == [100] * 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("os:system", "names the module 'os': start the server with --import os"),
        (f"{FACTORIES}:Shop", "has no such wrapper"),
        (f"{FACTORIES}:make_shop", "has no such wrapper"),
        (f"{FACTORIES}:__class__", "has no such wrapper"),
        (f"{FACTORIES}:RecordVideo", "is Gymnasium's own: ask for 'RecordVideo'"),
        (f"{FACTORIES}.gymnasium.wrappers:RecordVideo", "names the module"),
    ],
)
def test_no_other_code_can_be_named_as_a_wrapper(name: str, why: str) -> None:
    """Neither what is no wrapper, nor what a module imported for itself."""
    with pytest.raises(InvalidValueError, match=why):
        make(CreateRequest("CartPole-v1", imports=(FACTORIES,), wrappers=[{"name": name, "kwargs": {}}]))


def test_a_module_before_an_id_is_the_one_that_registered_it() -> None:
    """By its import or by its package; another one is refused, and so is a successor of another one."""
    declare_imports([f"{FACTORIES}:register_shops"])
    named = (f"{FACTORIES}:register_shops",)
    assert (
        find(CreateRequest(f"{FACTORIES}:tests/RegisteredShop-v0", imports=named)).env_id == "tests/RegisteredShop-v0"
    )
    assert find(CreateRequest("gymnasium:CartPole-v1")).env_id == "CartPole-v1"
    for env_id in ("CartPole-v1", "FrozenLake-v0"):
        with pytest.raises(
            UnknownEnvironmentError, match=r"is registered by 'gymnasium': ask for it without the module"
        ):
            find(CreateRequest(f"{FACTORIES}:{env_id}", imports=named))
    with pytest.raises(UnknownEnvironmentError, match=r"--import my_envs; 'CartPole-v1' is registered by 'gymnasium'"):
        find(CreateRequest("my_envs:CartPole-v1"))


def test_a_package_is_found_by_its_entry_point(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the namespace of an id, or its module; once, and not for other ids."""
    (tmp_path / "plugged_envs.py").write_text(
        "import gymnasium\n"
        "def register():\n"
        "    gymnasium.register('Plug/In-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
        "def broken():\n"
        "    raise RuntimeError('no licence')\n"
    )
    (tmp_path / "plugged-1.dist-info").mkdir()
    (tmp_path / "plugged-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (tmp_path / "plugged-1.dist-info" / "entry_points.txt").write_text(
        "[gymnasium.envs]\nPlug = plugged_envs:register\nBroken = plugged_envs:broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(imports, "_loaded", set())
    with pytest.raises(UnknownEnvironmentError):
        find(CreateRequest("Other/In-v0"))
    assert "plugged_envs" not in sys.modules
    assert find(CreateRequest("Plug/In-v0")).env_id == "Plug/In-v0"
    with pytest.raises(UnknownEnvironmentError, match=r"plugged_envs:broken failed: RuntimeError: no licence"):
        find(CreateRequest("Broken/In-v0"))
    assert find(CreateRequest("plugged_envs:Plug/In-v0")).env_id == "Plug/In-v0"


EXAMPLES = {
    "ale_py": "ALE/Pong-v5",
    "crafter": "CrafterReward-v1",
    "flappy_bird_gymnasium": "FlappyBird-v0",
    "gym_anytrading": "stocks-v0",
    "gym_pusht": "gym_pusht/PushT-v0",
    "gymnasium_robotics": "FetchReach-v4",
    "highway_env": "highway-fast-v0",
    "metaworld": "Meta-World/MT1",
    "minatar.gym:register_envs": "MinAtar/Breakout-v1",
    "minigrid": "MiniGrid-Empty-5x5-v0",
    "miniworld": "MiniWorld-Hallway-v0",
    "mo_gymnasium": "minecart-v0",
    "panda_gym": "PandaReach-v3",
    "PyFlyt.gym_envs": "PyFlyt/QuadX-Hover-v4",
    "rware": "rware-tiny-2ag-v2",
    "safety_gymnasium": "SafetyPointGoal1Gymnasium-v0",
    "vizdoom.gymnasium_wrapper": "VizdoomBasic-v1",
}
"""Ids as READMEs have them, by what registers them."""


@pytest.mark.parametrize(("source", "env_id"), EXAMPLES.items())
def test_an_unknown_id_of_a_well_known_package_tells_how_to_get_it(source: str, env_id: str) -> None:
    """The pip command and the option, whether it is asked for with its module or without."""
    known = known_module(source.partition(":")[0])
    assert known is not None
    gymnasium.registry.pop(env_id, None)
    for asked in (env_id, f"{known.module}:{env_id}"):
        for name in [each for each in gymnasium.registry if each.startswith("ALE/")]:
            del gymnasium.registry[name]
        with pytest.raises(UnknownEnvironmentError) as raised:
            make(CreateRequest(asked))
        assert f"pip install {known.requirement}" in raised.value.detail.replace("'", "")
        assert f"--import {source}" in raised.value.detail


def test_no_id_of_a_library_is_taken_for_that_of_a_package() -> None:
    """The patterns match no id of Gymnasium and gym, and the table has no package twice."""
    own = [
        name
        for name, each in gymnasium.registry.items()
        if imports.module_of(each.entry_point).startswith("gymnasium.")
    ]
    moved = {"gymnasium-robotics"}  # Gymnasium still registers them, with entry points that say so
    assert [
        name
        for name in own
        for each in WELL_KNOWN
        if each.requirement not in moved and __import__("re").match(each.ids, name)
    ] == []
    assert len({each.source for each in WELL_KNOWN}) == len(WELL_KNOWN) >= 25
