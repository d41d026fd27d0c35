"""Environments of gym before 0.26, and of no library, are served as those of Gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import orjson
import pytest

from gym_http_server.errors import EnvironmentCreationError, GymHttpServerError, InvalidValueError
from gym_http_server.runtime.making import gym_compat
from gym_http_server.runtime.making.library import make
from gym_http_server.runtime.making.sources.old_interface import NewInterface
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.opening import open_served

gym = gym_compat.load()
BASES = {"gym": gym.Env, "gymnasium": gymnasium.Env, "none": object}
ROUTES = ("gym", "gymnasium", "factory")


def old_class(base: type, **members: Any) -> type:
    """Return an environment class of about 2018: the third step ends the episode."""

    class Old(base):  # type: ignore[misc, valid-type]  # a variable is meant
        metadata = None
        observation_space = gym.spaces.Discrete(100)
        action_space = gym.spaces.Discrete(2)

        def seed(self, seed: int | None = None) -> list[int | None]:
            self.first = (seed or 0) % 50
            return [seed]

        def reset(self) -> int:
            self.steps = 0
            return getattr(self, "first", 0)

        def step(self, action: int) -> Any:
            self.steps += 1
            return self.steps, float(action), self.steps == 3, {"TimeLimit.truncated": action == 0}

        def render(self, mode: str = "human") -> Any:
            assert mode == "rgb_array", "a window is opened"
            return np.full((2, 2, 3), self.steps, np.uint8)

    for name, member in members.items():
        setattr(Old, name, member)
    return Old


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., CreateRequest]]:
    """Registers an entry point, and returns the request for it."""
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.envs.registration.registry))
    names: list[str] = []

    def add(entry_point: Any, route: str = "gymnasium", **request: Any) -> CreateRequest:
        name = f"OldInterface{len(names)}-v0"
        if route == "gym":
            gym.register(name, entry_point=entry_point)
        else:
            names.append(name)
            gymnasium.register(name, (lambda **kwargs: entry_point(**kwargs)) if route == "factory" else entry_point)
        return CreateRequest(name, **request)

    yield add
    for name in names:
        del gymnasium.registry[name]


def called(served: Any, operation: str, **arguments: Any) -> Any:
    return orjson.loads(served.call(operation, arguments).body)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("base", BASES)
def test_an_old_environment_is_served_alone(register: Any, base: str, route: str) -> None:
    """Whatever it derives from and wherever it is registered: seeded, four values told apart, rendered by mode."""
    served = open_served(register(old_class(BASES[base]), route))
    assert served.description.render_mode == "rgb_array"
    assert called(served, "reset", seed=7) == {"observation": 7, "info": {}}
    assert [called(served, "step", action=1)["done"] for _ in range(2)] == [False, False]
    last = called(served, "step", action=1)
    assert (last["observation"], last["reward"], last["terminated"], last["truncated"]) == (3, 1.0, True, False)
    called(served, "reset")
    last = [called(served, "step", action=0) for _ in range(3)][-1]
    assert (last["terminated"], last["truncated"]) == (False, True)
    assert called(served, "step", action=0, render=True).get("frame") == [[[4] * 3] * 2] * 2
    served.close()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("base", BASES)
def test_an_old_environment_is_served_in_a_batch(register: Any, base: str, route: str) -> None:
    """Each lane gets its seed, and is reset after its episode."""
    batch = open_served(register(old_class(BASES[base]), route, num_envs=2))
    assert called(batch, "batch_reset", seeds=[3, 4])["observations"] == [3, 4]
    for _ in range(3):
        reply = called(batch, "batch_step", actions=[1, 0])
    assert (reply["terminated"], reply["truncated"]) == ([True, False], [False, True])
    batch.close()


def test_an_old_environment_is_served_in_a_process_for_each_lane(register: Any) -> None:
    """Asynchronous batches as well."""
    batch = open_served(register(old_class(object), num_envs=2, vectorization_mode="async"))
    assert called(batch, "batch_reset", seed=3)["observations"] == [3, 4]
    batch.close()


def test_a_limit_and_wrappers_are_around_an_old_environment(register: Any) -> None:
    """As around a new one."""
    wrappers = [{"name": "TimeAwareObservation", "kwargs": {"flatten": False}}]
    served = open_served(register(old_class(gym.Env), max_episode_steps=2, wrappers=wrappers))
    called(served, "reset")
    called(served, "step", action=1)
    last = called(served, "step", action=1)
    assert (last["observation"], last["truncated"]) == ({"obs": 2, "time": [2]}, True)


@pytest.mark.parametrize(
    ("members", "modes"),
    [
        ({"metadata": {"render.modes": ["ansi"]}, "render": lambda _, mode="": mode}, "ansi"),
        ({"render": lambda self, size=None: np.zeros((2, 2, 3), np.uint8)}, "rgb_array"),  # noqa: ARG005 -- as crafter
        ({"render": gym.Env.render}, None),
        ({"metadata": {"render_modes": ["rgb_array"]}}, "rgb_array"),
    ],
)
def test_render_modes_are_those_declared_else_what_render_takes(register: Any, members: Any, modes: Any) -> None:
    """An environment that declares none and renders without a mode gives pictures."""
    for route in ROUTES:
        served = open_served(register(old_class(object, **members), route))
        assert served.description.render_mode == modes
        called(served, "reset")
        if modes is not None:
            assert called(served, "step", action=1, render=True)["frame"] in (
                "ansi",
                [[[0] * 3] * 2] * 2,
                [[[1] * 3] * 2] * 2,
            )


def test_a_seed_goes_where_the_environment_takes_it(register: Any) -> None:
    """To `reset` of gym 0.22 to 0.25, which returns an info if it is asked, or to the generator of the library's class."""

    def with_info(self: Any, *, seed: int | None = None, return_info: bool = False) -> Any:  # noqa: ARG001 -- an environment
        return (seed, {"told": True}) if return_info else seed

    served = open_served(register(old_class(gym.Env, reset=with_info)))
    assert called(served, "reset", seed=5) == {"observation": 5, "info": {"told": True}}
    for base in (gym.Env, gymnasium.Env):
        old = old_class(base, reset=lambda self: int(self.np_random.integers(100)))
        del old.seed  # type: ignore[attr-defined]  # it has one
        served = open_served(register(old))
        assert called(served, "reset", seed=5) == called(served, "reset", seed=5)


def test_a_seed_goes_to_no_method_that_takes_none(register: Any) -> None:
    """The `seed()` of gym3's environments takes no argument: they cannot be seeded, and a seed has no effect."""
    served = open_served(register(old_class(object, seed=lambda self: None)))  # noqa: ARG005 -- as gym3 has it
    assert called(served, "reset", seed=5)["observation"] == 0


def test_options_that_an_old_reset_does_not_take_are_refused(register: Any) -> None:
    """They are not ignored, unless they are empty."""
    served = open_served(register(old_class(object)))
    with pytest.raises(InvalidValueError, match="takes no options"):
        called(served, "reset", options={"a": 1})
    assert called(served, "reset", options={})["observation"] == 0


def test_a_tuple_with_a_dict_can_be_an_observation(register: Any) -> None:
    """The observation space tells it from an observation and an info."""
    space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Dict({"a": gym.spaces.Discrete(2)})))
    for observation_space, observation in ((space, [1, {"a": 1}]), (gym.spaces.Discrete(2), 1)):
        old = old_class(object, observation_space=observation_space, reset=lambda self: (1, {"a": 1}))  # noqa: ARG005
        assert called(open_served(register(old)), "reset")["observation"] == observation


def test_a_new_environment_pays_nothing(register: Any) -> None:
    """It is made by its own entry point; what a factory returns is not wrapped."""
    made = make(CreateRequest("CartPole-v1")).environment
    assert made.unwrapped.spec.entry_point == gymnasium.spec("CartPole-v1").entry_point
    cart_pole = gymnasium.registry["CartPole-v1"].entry_point
    layers = [make(register(lambda **kwargs: gymnasium.make("CartPole-v1", **kwargs).unwrapped)).environment, made]
    assert cart_pole
    for environment in layers:
        while isinstance(environment, gymnasium.Wrapper):
            environment = environment.env
        assert not isinstance(environment, NewInterface)


def test_what_is_no_environment_is_named(register: Any) -> None:
    """A factory that returns something else is told what it returned."""
    with pytest.raises(EnvironmentCreationError, match="of the class int, which is no environment"):
        make(register(lambda: 3))


def test_api_compatibility_is_accepted_and_has_no_effect(register: Any) -> None:
    """Users copy it from calls of gym's `make`; it is done by itself."""
    for request in (register(old_class(gym.Env), kwargs={"apply_api_compatibility": True}), "CartPole-v1"):
        made = make(request if isinstance(request, CreateRequest) else CreateRequest(request))
        assert len(made.environment.step(1) if made.environment.reset() else ()) == 5


def test_a_step_of_neither_form_is_the_environments_error(register: Any) -> None:
    """The message says what the environment returned."""
    served = open_served(register(old_class(object, step=lambda self, action: (1, 2))))  # noqa: ARG005 -- an environment
    called(served, "reset")
    with pytest.raises(GymHttpServerError, match="got 2"):
        called(served, "step", action=1)


@pytest.mark.parametrize("lanes", [None, 2])
def test_an_old_environment_is_saved_and_put_back(register: Any, lanes: int | None) -> None:
    """Its state, inside the adapter, is that of the snapshot."""
    served = open_served(register(old_class(object), num_envs=lanes))
    prefix, action = ("", {"action": 1}) if lanes is None else ("batch_", {"actions": [1, 1]})
    called(served, f"{prefix}reset", seed=3)
    snapshot = called(served, "snapshot_create", limit=1)["snapshot_id"]
    before = called(served, f"{prefix}step", **action)
    called(served, "snapshot_restore", snapshot_id=snapshot)
    assert called(served, f"{prefix}step", **action) == before
