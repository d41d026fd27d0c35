"""Real environments of both libraries made in this process, and constructors that do what constructors should not."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_http_server.errors import (
    EnvironmentCreationError,
    ImportFailedError,
    InvalidValueError,
    MissingDependencyError,
    UnknownEnvironmentError,
)
from gym_http_server.runtime.making import gym_compat
from gym_http_server.runtime.making.dependencies import REQUIREMENTS
from gym_http_server.runtime.making.library import NewEnvironment, declare_imports, make
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.values.spaces import describe

ATARI = ("ale_py",)
STEPS = 50
GYMNASIUM = [
    *("CartPole-v0", "CartPole-v1", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v0"),
    *("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "Blackjack-v1", "LunarLander-v3", "CarRacing-v3"),
    *("ALE/Pong-v5", "InvertedPendulum-v5"),
]
GYM = [
    *("CartPole-v0", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "Taxi-v3"),
    *("CliffWalking-v0", "Blackjack-v1", "LunarLander-v2", "LunarLanderContinuous-v2", "CarRacing-v2"),
]
NEEDS = {"LunarLander": "Box2D", "CarRacing": "Box2D", "ALE": "ale_py", "InvertedPendulum": "mujoco"}


def run(made: NewEnvironment, *, render: bool = True) -> None:
    """Step an environment with actions of its converted space, and look at its frame."""
    made.environment.reset(seed=1)
    made.action_space.seed(1)
    for _ in range(STEPS):
        action = made.action_space.sample()
        prepared = made.prepare_action(action) if made.prepare_action else action
        observation, _, terminated, truncated, _ = made.environment.step(prepared)
        # Not `contains`: the lander of gym flies out of the bounds that it declares.
        assert np.shape(observation) == made.observation_space.shape or made.observation_space.contains(observation)
        if terminated or truncated:
            made.environment.reset()
    if render:
        assert np.asarray(made.environment.render()).ndim == 3
    made.environment.close()


@pytest.mark.filterwarnings("ignore:.*pkg_resources.*")
@pytest.mark.parametrize(
    ("library", "env_id"), [*(("gymnasium", each) for each in GYMNASIUM), *(("gym", each) for each in GYM)]
)
def test_an_environment_is_made_stepped_and_rendered(library: str, env_id: str) -> None:
    """Each one runs on this numpy with sampled actions, has Gymnasium's spaces, and gives a picture by default."""
    pytest.importorskip(NEEDS.get(env_id.replace("/", "-").split("-")[0].removesuffix("Continuous"), "numpy"))
    if env_id.startswith("ALE/"):
        declare_imports(ATARI)
    made = make(CreateRequest(env_id, library=library, imports=ATARI))
    assert made.library.split()[0] == library
    assert isinstance(made.action_space, gymnasium.Space)
    assert isinstance(made.observation_space, gymnasium.Space)
    assert made.render_mode == "rgb_array"
    # Without GL, MuJoCo's renderer ends the process.
    run(made, render=not env_id.startswith("InvertedPendulum"))


def test_an_environment_of_each_library_lives_beside_the_other() -> None:
    """Two of the same name, stepped in turn, are each what they are alone."""
    requests = [CreateRequest("Pendulum-v1", library=library) for library in ("gymnasium", "gym")]
    alone = [observations([request])[0] for request in requests]
    assert np.array_equal(observations(requests), alone)


def observations(requests: list[CreateRequest]) -> list[list[Any]]:
    """Return what seeded environments observe that are stepped in turn."""
    environments = [make(request).environment for request in requests]
    seen = [[environment.reset(seed=7)[0]] for environment in environments]
    for _ in range(STEPS):
        for environment, observed in zip(environments, seen, strict=True):
            observed.append(environment.step(np.array([0.5], np.float32))[0])
    return seen


class Base(gymnasium.Env[Any, Any]):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)


class Forwards(Base):
    def __init__(self, **kwargs: Any) -> None:
        object.__init__(self, **kwargs)


class KeepsModeToItself(Base):
    def __init__(self, render_mode: str | None = None) -> None:
        self.mode = render_mode


class NeedsScreenLibrary(Base):
    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode:
            raise gymnasium.error.DependencyNotInstalled("run `pip install screens`")


class CannotClose(Base):
    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def close(self) -> None:
        raise RuntimeError("it does not close")


class OnlyOnce(Base):
    made = 0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        OnlyOnce.made += 1
        if OnlyOnce.made > 1:
            raise RuntimeError("the port is in use")


class Warns(Base):
    def __init__(self) -> None:
        warnings.warn("the ROM is a demo", stacklevel=2)
        warnings.warn("old numpy", DeprecationWarning, stacklevel=2)


def exits() -> None:
    raise SystemExit("no licence")


def interrupted() -> None:
    raise KeyboardInterrupt


def lacks_box2d() -> None:
    try:
        raise ModuleNotFoundError("No module named 'Box2D'", name="Box2D")
    except ImportError:
        raise gymnasium.error.DependencyNotInstalled("run `pip install gym[box2d]`")  # noqa: B904 -- as gym does


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    names: list[str] = []

    def add(entry_point: Any, **options: Any) -> str:
        names.append(f"test_library_makes/Env{len(names)}-v0")
        gymnasium.register(names[-1], entry_point, **options)
        return names[-1]

    yield add
    for name in names:
        del gymnasium.registry[name]


@pytest.mark.parametrize("entry_point", [Forwards, NeedsScreenLibrary])
def test_the_default_render_mode_never_stops_an_environment(register: Any, entry_point: Any) -> None:
    """What can be made without a render mode is made without, where the default would have it fail."""
    assert make(CreateRequest(register(entry_point))).render_mode is None


def test_an_entry_point_that_is_a_function_is_asked_for_frames(register: Any) -> None:
    """One environment is made, and none beside it to learn its modes: a second one may fail."""
    assert make(CreateRequest(register(lambda **kwargs: CannotClose(**kwargs)))).render_mode == "rgb_array"
    OnlyOnce.made = 0
    assert make(CreateRequest(register(lambda **kwargs: OnlyOnce(**kwargs)))).render_mode == "rgb_array"


def test_an_environment_without_the_mode_that_was_tried_is_closed_first(
    register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is made with a mode that it has."""
    calls: list[Any] = []
    monkeypatch.setattr(CannotClose, "metadata", {"render_modes": ["ansi"]})
    monkeypatch.setattr(CannotClose, "close", lambda self: calls.append(f"close {self.render_mode}"))

    def create(**kwargs: Any) -> Any:
        calls.append(kwargs)
        return CannotClose(**kwargs)

    assert make(CreateRequest(register(create))).render_mode == "ansi"
    assert calls == [{"render_mode": "rgb_array"}, "close rgb_array", {"render_mode": "ansi"}]


class Window(Base):
    """Opens a window unless it is told otherwise, as stable-retro's do."""

    def __init__(self, game: str, render_mode: str = "human") -> None:
        assert game
        self.render_mode = render_mode
        if render_mode == "human":
            raise RuntimeError("there is no display")


def make_window(game: str, **kwargs: Any) -> Window:
    return Window(game, **kwargs)


@pytest.mark.parametrize("lanes", [None, 2])
def test_a_default_that_opens_a_window_is_not_taken(register: Any, lanes: int | None) -> None:
    """A class and a function are asked for frames, whatever modes they declare and whatever their registration says."""
    for entry_point, kwargs in ((Window, {}), (make_window, {}), (Window, {"render_mode": "human"})):
        env_id = register(entry_point, kwargs={"game": "x", **kwargs})
        served = open_served(CreateRequest(env_id, num_envs=lanes))
        assert served.description.render_mode == "rgb_array"
        served.close()
    with pytest.raises(EnvironmentCreationError, match="there is no display"):
        make(CreateRequest(register(make_window, kwargs={"game": "x"}), render_mode="human"))


def test_a_mode_that_a_function_refuses_is_left_out(register: Any) -> None:
    """Whatever it says; an error of its own is not hidden behind a second attempt."""
    made: list[Any] = []

    def create(render_mode: str | None = None, *, broken: bool = False) -> Base:
        made.append(render_mode)
        if broken:
            raise ValueError("no such robot")
        assert render_mode is None
        return Base()

    assert make(CreateRequest(register(create))).render_mode is None
    with pytest.raises(EnvironmentCreationError, match="no such robot"):
        make(CreateRequest(register(create), kwargs={"broken": True}))
    assert made == ["rgb_array", None, "rgb_array"]


def test_a_mode_that_an_environment_keeps_to_itself_is_reported(register: Any) -> None:
    """render_mode is what it was made with where the constructor names the argument and stores it elsewhere."""
    assert make(CreateRequest(register(KeepsModeToItself))).render_mode == "rgb_array"


def test_a_functions_environment_refuses_a_mode_it_has_not(register: Any) -> None:
    """The modes are named though they are known only once it is made."""
    with pytest.raises(InvalidValueError, match="it has rgb_array"):
        make(CreateRequest(register(lambda **kwargs: CannotClose(**kwargs)), render_mode="holographic"))


def test_a_window_is_for_an_environment_with_pictures(register: Any) -> None:
    """A library's make would take `human` for a mode of text as well, and open none."""

    class Writes(Base):
        metadata = {"render_modes": ["ansi"]}  # noqa: RUF012 -- Gymnasium's convention

        def __init__(self, render_mode: str | None = None) -> None:
            self.render_mode = render_mode

    with pytest.raises(InvalidValueError, match="no render mode 'human': it has ansi"):
        make(CreateRequest(register(Writes), render_mode="human"))


def test_an_environments_own_warning_is_let_through_and_deprecations_are_not(register: Any) -> None:
    """Only what the libraries say about ids and numpy is kept back."""
    with pytest.warns(UserWarning, match="the ROM is a demo") as seen:
        make(CreateRequest(register(Warns)))
    assert len(seen) == 1


def test_an_exit_in_a_constructor_is_an_error_and_an_interrupt_is_not(register: Any) -> None:
    """SystemExit is told in its words; whoever presses Ctrl-C is obeyed."""
    with pytest.raises(EnvironmentCreationError, match="SystemExit: no licence"):
        make(CreateRequest(register(exits)))
    with pytest.raises(KeyboardInterrupt):
        make(CreateRequest(register(interrupted)))


def test_a_missing_package_behind_a_librarys_words_is_named_for_programs(register: Any) -> None:
    """The command that works is added to gym's own, and `package` has it alone."""
    command = f"python -m pip install '{REQUIREMENTS['Box2D']}'"
    with pytest.raises(MissingDependencyError, match=re.escape(command)) as raised:
        make(CreateRequest(register(lacks_box2d)))
    assert raised.value.facts["package"] == "gymnasium[box2d]"
    with pytest.raises(MissingDependencyError, match="gymnasium-robotics"):
        make(CreateRequest("Ant-v2", library="gymnasium"))


@pytest.mark.parametrize("name", ["new_step_api", "order_enforce", "vector_kwargs", "additional_wrappers"])
def test_arguments_that_only_one_of_the_libraries_has_are_refused_for_both(name: str) -> None:
    """They never reach a constructor."""
    for library in ("gymnasium", "gym"):
        with pytest.raises(InvalidValueError, match="cannot be set"):
            make(CreateRequest("CartPole-v1", library=library, kwargs={name: True}))


@pytest.mark.parametrize("env_id", ["CartPole-v" + "1" * 5000, ":CartPole-v1", "a b;c:CartPole-v1", "", "a\nb-v0"])
def test_whatever_is_no_id_is_refused_as_one(env_id: str) -> None:
    """Versions too long for int() and prefixes that name no module are malformed, not failures."""
    with pytest.raises(UnknownEnvironmentError, match="malformed environment ID"):
        make(CreateRequest(env_id))


@pytest.mark.parametrize("env_id", ["GymV26Environment-v0", "GymV21Environment-v0", "gym_http_server/Remote-v0"])
def test_an_environment_that_makes_what_a_client_names_is_not_served(env_id: str) -> None:
    """shimmy's would import the module named in its env_id, and the client's own would have the server serve itself."""
    with pytest.raises(UnknownEnvironmentError):
        make(CreateRequest(env_id, kwargs={"env_id": "antigravity:CartPole-v1"}))
    assert "antigravity" not in sys.modules


def test_the_hint_for_atari_fits_the_server() -> None:
    """Every game gym had is known by name; with ale-py loaded, or with library gym, the package is not the cure."""
    code = (
        "from gym_http_server.runtime.making.library import declare_imports, make\n"
        "from gym_http_server.runtime.messages import CreateRequest\n"
        "def why(env_id, **options):\n"
        "    try: make(CreateRequest(env_id, **options))\n"
        "    except Exception as error: return '--import ale_py' in str(error)\n"
        "print(why('Asteroids-v0'), why('Venture-ramNoFrameskip-v4'), why('Pong-v0', library='gym'))\n"
        "declare_imports(['ale_py'])\n"
        "print(why('ALE/Nope-v5'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True False\nFalse\n"


def test_space_invaders_skipped_three_frames() -> None:
    """Its Deterministic variants had another frameskip than all others, for its shots blink every fourth frame."""
    declare_imports(ATARI)
    made = make(CreateRequest("SpaceInvadersDeterministic-v4", imports=ATARI))
    assert made.environment.unwrapped._frameskip == 3
    made = make(CreateRequest("SpaceInvadersDeterministic-v4", imports=ATARI, kwargs={"frameskip": 2}))
    assert made.environment.unwrapped._frameskip == 2


def test_gyms_own_kinds_of_environments_and_spaces_are_served(monkeypatch: Any) -> None:
    """A subclass of a space counts as what it comes from, one of a package's own as itself, an old API is rendered."""
    gym = gym_compat.load()

    class Own(gym.spaces.Box):  # type: ignore[misc, name-defined] # gym has no types
        pass

    class Unknown(gym.spaces.Space):  # type: ignore[misc, name-defined] # gym has no types
        pass

    class Old:
        metadata = {"render.modes": ["rgb_array"]}  # noqa: RUF012 -- gym's convention
        observation_space = gym.spaces.Discrete(2)
        action_space = Own(-1, 1, (2,))
        unwrapped = property(lambda self: self)

        def seed(self, seed: int | None = None) -> None: ...

        def close(self) -> None: ...

        def reset(self) -> int:
            return 0

        def step(self, action: Any) -> tuple[int, float, bool, dict[str, Any]]:
            assert action.dtype == np.float64
            return 0, 0.0, False, {}

        def render(self, mode: str) -> Any:
            assert mode == "rgb_array"
            return np.zeros((2, 2, 3), np.uint8)

    class Odd(Old):
        action_space = Unknown()

    registry = gym.envs.registration.registry
    monkeypatch.setattr(gym.envs.registration, "registry", dict(registry))
    gym.register("Old-v0", entry_point=Old, apply_api_compatibility=True)
    gym.register("Odd-v0", entry_point=Odd, apply_api_compatibility=True)
    made = make(CreateRequest("Old-v0"))
    assert (made.action_space, made.render_mode) == (spaces.Box(-1, 1, (2,)), "rgb_array")
    run(made)
    assert describe(make(CreateRequest("Odd-v0")).action_space) == {"name": "Unknown", "opaque": True}


def test_a_server_without_gym_still_knows_what_is_unknown(monkeypatch: Any) -> None:
    """`auto` does without gym where it is not installed; asking for it by name says how to install it."""
    monkeypatch.setattr(gym_compat, "available", lambda: False)
    with pytest.raises(UnknownEnvironmentError, match="Nope"):
        make(CreateRequest("Nope-v0"))


def test_a_module_that_exits_while_it_is_imported_is_named(tmp_path: Any, monkeypatch: Any) -> None:
    """--import of a script that ends the interpreter says so instead of ending the server without a word."""
    (tmp_path / "quits_on_import.py").write_text("raise SystemExit(4)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportFailedError, match="quits_on_import: SystemExit: 4"):
        declare_imports(["quits_on_import"])
