"""Which library makes an id and how, in this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from gym_http_server.errors import (
    EnvironmentCreationError,
    ImportFailedError,
    InvalidValueError,
    MissingDependencyError,
    UnknownEnvironmentError,
)
from gym_http_server.runtime.making import gym_compat
from gym_http_server.runtime.making.ids import find
from gym_http_server.runtime.making.library import declare_imports, make
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.registry.registry import installed
from gym_http_server.runtime.values.spaces import describe

ATARI = ("ale_py",)


def found(env_id: str, **options: Any) -> tuple[str, str, str | None]:
    result = find(CreateRequest(env_id, **options))
    return result.env_id, result.library, result.notice


def test_gymnasium_serves_what_it_registers_and_gym_the_rest() -> None:
    """`auto` takes Gymnasium for an id that both have, and gym for one that only gym has."""
    assert found("CartPole-v1") == ("CartPole-v1", "gymnasium", None)
    assert found("Taxi-v3") == ("Taxi-v3", "gym", None)
    assert found("CartPole-v1", library="gym") == ("CartPole-v1", "gym", None)
    with pytest.raises(UnknownEnvironmentError):
        found("Taxi-v4", library="gym")


@pytest.mark.parametrize(
    ("retired", "successor"),
    [
        ("FrozenLake-v0", "FrozenLake-v1"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("Taxi-v2", "Taxi-v4"),
        ("CartPole", "CartPole-v1"),
    ],
)
def test_a_retired_id_or_one_without_a_version_goes_to_the_newest(retired: str, successor: str) -> None:
    """The successor is served, and the notice names both."""
    env_id, library, notice = found(retired)
    assert (env_id, library) == (successor, "gymnasium")
    assert retired in (notice or "")
    assert successor in (notice or "")


def test_strict_ids_refuse_a_retired_id_and_name_its_successor() -> None:
    """With strict_env_ids the caller is told what to ask for."""
    with pytest.raises(UnknownEnvironmentError, match=r"malformed environment ID.*FrozenLake-v1"):
        found("FrozenLake-v0", strict_env_ids=True)


def test_a_version_that_is_not_there_yet_is_unknown() -> None:
    """An id newer than all registered is refused in the library's words."""
    with pytest.raises(UnknownEnvironmentError, match="v99"):
        found("CartPole-v99")


@pytest.mark.parametrize(
    ("old", "kwargs"),
    [
        ("Pong-ram-v0", {"obs_type": "ram", "repeat_action_probability": 0.25, "frameskip": (2, 5)}),
        ("PongDeterministic-v4", {"repeat_action_probability": 0.0, "frameskip": 4}),
        ("Pong-ramNoFrameskip-v4", {"obs_type": "ram", "repeat_action_probability": 0.0, "frameskip": 1}),
    ],
)
def test_an_atari_name_of_old_becomes_what_it_was(old: str, kwargs: dict[str, Any]) -> None:
    """Names without a namespace go to ALE with the arguments that they stood for."""
    declare_imports(ATARI)
    result = find(CreateRequest(old, imports=ATARI))
    assert result.env_id == "ALE/Pong-v5"
    assert result.kwargs == kwargs


def test_what_an_atari_id_needs_is_said_where_ale_is_not_there() -> None:
    """Without ale-py the message names the package and the option."""
    code = (
        "from gym_http_server.runtime.making.library import make; from gym_http_server.runtime.messages import CreateRequest\n"
        "for env_id in ('Pong-v0', 'ALE/Pong-v5'):\n"
        "    try: make(CreateRequest(env_id))\n"
        "    except Exception as error: print(type(error).__name__, '-m pip install' in str(error), '--import ale_py' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "UnknownEnvironmentError True True\n" * 2


def test_no_library_is_loaded_that_is_not_needed_and_nothing_that_a_client_names() -> None:
    """gym is not imported for an id of Gymnasium, and a module in an id is not imported at all."""
    code = (
        "import sys\n"
        "from gym_http_server.runtime.making.library import make; from gym_http_server.runtime.messages import CreateRequest\n"
        "make(CreateRequest('CartPole-v1'))\n"
        "print('gym' in sys.modules)\n"
        "for library in ('auto', 'gym', 'gymnasium'):\n"
        "    try: make(CreateRequest('antigravity:CartPole-v1', library=library))\n"
        "    except Exception as error: print(type(error).__name__, '--import antigravity' in str(error))\n"
        "print('antigravity' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n" + "UnknownEnvironmentError True\n" * 3 + "False\n"


def test_gym_prints_nothing_when_it_is_loaded() -> None:
    """The notice that gym is unmaintained is kept back, and so are its warnings about ids."""
    code = (
        "from gym_http_server.runtime.making.library import make; from gym_http_server.runtime.messages import CreateRequest\n"
        "environment = make(CreateRequest('CartPole-v0', library='gym')).environment\n"
        "environment.reset(seed=0); environment.step(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("name", ["id", "max_episode_steps", "render_mode", "disable_env_checker", "autoreset"])
def test_an_argument_of_make_itself_is_no_keyword_argument(name: str) -> None:
    """kwargs that would reach the library's own `make` are refused with what to do instead."""
    with pytest.raises(InvalidValueError, match=name):
        make(CreateRequest("CartPole-v1", kwargs={name: 1}))


def test_an_unknown_keyword_argument_is_refused_in_the_constructors_words() -> None:
    """The message names the argument."""
    with pytest.raises(EnvironmentCreationError, match="nonsense"):
        make(CreateRequest("CartPole-v1", kwargs={"nonsense": 1}))


class Base(gymnasium.Env[Any, Any]):
    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)


class Modern(Base):
    metadata = {"render_modes": ["human", "ansi"]}  # noqa: RUF012 -- Gymnasium's convention

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode


class WithoutArgument(Base):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 -- Gymnasium's convention


class Missing(Base):
    def __init__(self) -> None:
        import no_such_package_at_all  # noqa: F401 -- it is to fail


class Unplugged(Base):
    def __init__(self) -> None:
        raise gymnasium.error.DependencyNotInstalled("run `pip install something`")


@pytest.fixture
def register() -> Any:
    names: list[str] = []

    def add(entry_point: Any, **options: Any) -> str:
        names.append(f"test_library/Env{len(names)}-v0")
        gymnasium.register(names[-1], entry_point, **options)
        return names[-1]

    yield add
    for name in names:
        del gymnasium.registry[name]


def test_the_default_render_mode_is_a_frame_where_there_is_one(register: Any) -> None:
    """`rgb_array` before `ansi`, and none for an environment that has or takes none."""
    assert make(CreateRequest("CartPole-v1")).render_mode == "rgb_array"
    assert make(CreateRequest("Blackjack-v1")).render_mode == "rgb_array"
    assert make(CreateRequest(register(Modern))).render_mode == "ansi"
    assert make(CreateRequest(register(lambda **kwargs: Modern(**kwargs)))).render_mode == "ansi"
    assert make(CreateRequest(register(WithoutArgument))).render_mode is None
    assert make(CreateRequest(register(Base))).render_mode is None


def test_a_render_mode_that_is_not_there_is_refused_with_those_that_are() -> None:
    """The message lists the modes; lists of frames are made of what there is."""
    with pytest.raises(InvalidValueError, match="human, rgb_array"):
        make(CreateRequest("CartPole-v1", render_mode="holographic"))
    assert make(CreateRequest("CartPole-v1", render_mode="rgb_array_list")).render_mode == "rgb_array_list"


def test_a_missing_package_is_named_with_the_command_that_installs_it(register: Any) -> None:
    """Whether the import fails or the library says so itself."""
    with pytest.raises(MissingDependencyError, match="no module named no_such_package_at_all on the server") as raised:
        make(CreateRequest(register(Missing)))
    assert "pip" not in raised.value.detail
    assert "package" not in raised.value.facts
    with pytest.raises(MissingDependencyError, match="pip install something"):
        make(CreateRequest(register(Unplugged)))


def test_a_module_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """--import of what is not there, or fails, says which and why; pip is advised for known packages only."""
    with pytest.raises(ImportFailedError) as raised:
        declare_imports(["no_such_module"])
    question = f"is no_such_module.py in {Path.cwd()}, or its package installed?"
    assert raised.value.detail == f"--import no_such_module: no module named no_such_module on the server: {question}"
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ImportFailedError, match=rf"{sys.executable} -m pip install gymnasium-robotics$"):
        declare_imports(["gymnasium_robotics"])


def test_the_libraries_that_are_installed_are_told() -> None:
    """Names and versions, without importing them."""
    versions = installed()
    assert versions["gymnasium"] == gymnasium.__version__
    assert versions["gym"] == "0.26.2"


def test_gyms_spaces_become_gymnasiums() -> None:
    """Every kind of gym's spaces has its counterpart, nested ones too, and samples of one are in the other."""
    gym = gym_compat.load()
    kinds = [
        gym.spaces.Box(-1, 1, (2, 3), np.float32),
        gym.spaces.Box(0, 255, (2,), np.uint8),
        gym.spaces.Discrete(3, start=-1),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary(4),
        gym.spaces.MultiBinary([2, 3]),
        gym.spaces.Text(5, min_length=1, charset="abc"),
        gym.spaces.Sequence(gym.spaces.Discrete(3)),
        gym.spaces.Graph(gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3)),
        gym.spaces.Graph(gym.spaces.Discrete(2), None),
    ]
    nested = gym.spaces.Dict({"tuple": gym.spaces.Tuple(kinds[:4]), "text": kinds[6]})
    for space in [*kinds, nested]:
        converted = gym_compat.convert_space(space)
        assert isinstance(converted, gymnasium.Space)
        space.seed(1)
        if type(space).__name__ != "Graph":
            assert converted.contains(space.sample())
    with pytest.raises(TypeError, match="object is no space"):
        gym_compat.convert_space(object())


def test_a_packages_own_space_of_gym_asks_that_space() -> None:
    """It is described by its class name, sampled, checked and seeded as it is itself."""
    gym = gym_compat.load()

    class Words(gym.spaces.Space):  # type: ignore[misc]  # gym has no types
        def sample(self) -> str:
            return f"word {self.np_random.integers(10**6)}"

        def contains(self, x: object) -> bool:
            return isinstance(x, str)

    space = gym.spaces.Dict({"words": Words()})
    converted = gym_compat.convert_space(space)
    assert describe(converted)["spaces"] == {"words": {"name": "Words", "opaque": True}}
    samples = []
    for _ in range(2):
        converted.seed(3)
        samples.append(converted.sample())
    assert samples[0] == samples[1]
    assert converted.contains(samples[0])
    assert not converted.contains({"words": 1})


def test_float_actions_are_widened_for_gym_at_any_depth() -> None:
    """gym's environments get float64 where their space says float32, and everything else as it is."""
    box = spaces.Box(-1, 1, (2,), np.float32)
    space = spaces.Dict({"a": box, "b": spaces.Tuple((spaces.Discrete(2), box))})
    prepare = gym_compat.prepare_action_for(space)
    assert prepare is not None
    prepared = prepare(space.sample())
    assert prepared["a"].dtype == prepared["b"][1].dtype == np.float64
    assert prepared["b"][0].dtype == np.int64
    assert gym_compat.prepare_action_for(spaces.Discrete(2)) is None


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("CartPole-v9", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("CartPole v1", "CartPole-v1"),
        ("CartPole_v1", "CartPole-v1"),
        ("Pendlum-v0", "Pendulum-v1"),
        ("Taxii-v3", "Taxi-v4"),
        ("ale/pong-v9", "ALE/Pong-v5"),
        ("test_library/Mistypd-v0", "test_library/Mistyped-v3"),
    ],
)
def test_a_typo_gets_the_nearest_id_that_can_be_made_here(mistyped: str, meant: str, monkeypatch: Any) -> None:
    """Of both libraries and of imported modules, in its newest version, with the words that old clients look for."""
    declare_imports(ATARI)
    for version in (1, 3):
        env_id = f"test_library/Mistyped-v{version}"
        specification = EnvSpec(env_id, "gymnasium.envs.classic_control:PendulumEnv")
        monkeypatch.setitem(gymnasium.registry, env_id, specification)
    with pytest.raises(UnknownEnvironmentError, match=rf"malformed environment ID .*; did you mean '{meant}'\?$"):
        make(CreateRequest(mistyped, imports=ATARI))
    make(CreateRequest(meant, imports=ATARI)).environment.close()


def test_an_id_that_cannot_be_made_here_is_not_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one whose package is missing, nor one that no server serves."""
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in [each for each in sys.modules if each.startswith(("gymnasium.envs.box2d", "gym.envs.box2d"))]:
        monkeypatch.delitem(sys.modules, name)
    for env_id, library in (("LunarLandr-v3", "auto"), ("gym_http_server/Remot-v0", "auto")):
        with pytest.raises(UnknownEnvironmentError, match="malformed environment ID") as raised:
            make(CreateRequest(env_id, library=library))
        assert "did you mean" not in raised.value.detail.lower()
