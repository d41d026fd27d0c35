"""The tabular model of an environment: the library's own `P`, as JSON."""

from __future__ import annotations

import collections
import math
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_http_server.client import RemoteEnv, ServerProblem
from gym_http_server.errors import NoTransitionModelError
from gym_http_server.runtime.making import gym_compat
from gym_http_server.runtime.served.transitions import transition_model
from tests.support.serving import Server

MODELS = [
    ("gymnasium", "FrozenLake-v1", {}),
    ("gymnasium", "FrozenLake-v1", {"map_name": "8x8", "is_slippery": False}),
    ("gymnasium", "FrozenLake-v1", {"desc": ["SFG", "FHF"]}),
    ("gymnasium", "Taxi-v4", {}),
    ("gymnasium", "CliffWalking-v1", {"is_slippery": True}),
    ("gym", "FrozenLake-v1", {}),
    ("gym", "Taxi-v3", {}),
    ("gym", "CliffWalking-v0", {}),
]


def made(library: str, env_id: str, kwargs: dict[str, Any]) -> Any:
    module = gymnasium if library == "gymnasium" else gym_compat.load()
    return module.make(env_id, disable_env_checker=True, **kwargs).unwrapped


@pytest.mark.parametrize(("library", "env_id", "kwargs"), MODELS)
def test_the_model_is_the_librarys_own(server: Server, library: str, env_id: str, kwargs: dict[str, Any]) -> None:
    """Each transition is that of `P`, in its order and to the bit; the probabilities of each action sum to one."""
    env = server.create(env_id, library=library, kwargs=kwargs)
    found = server.get(f"{env}/transitions/").json
    own = made(library, env_id, kwargs)
    assert (found["states"], found["actions"]) == (own.observation_space.n, own.action_space.n)
    assert len(found["transitions"]) == found["states"]
    for state, row in enumerate(found["transitions"]):
        assert len(row) == found["actions"]
        for action, told in enumerate(row):
            expected = [(float(p), int(s), float(r), bool(t)) for p, s, r, t in own.P[state][action]]
            assert [tuple(each.values()) for each in told] == expected
            assert list(told[0]) == ["probability", "next_state", "reward", "terminated"]
            assert math.isclose(sum(each["probability"] for each in told), 1.0)
    assert found["initial_distribution"] == np.asarray(own.initial_state_distrib, float).tolist()
    assert math.isclose(sum(found["initial_distribution"]), 1.0)


def test_the_model_is_what_the_environment_does(server: Server) -> None:
    """Where nothing is left to chance, each step leads to where the model says, with its reward and end."""
    env = server.create("FrozenLake-v1", kwargs={"is_slippery": False}, seed=1)
    model = server.get(f"{env}/transitions").json["transitions"]
    state, draw = server.post(f"{env}/reset/").json["observation"], np.random.default_rng(1)
    for _ in range(60):
        action = int(draw.integers(4))
        [expected] = model[state][action]
        found = server.post(f"{env}/step/", {"action": action}).json
        assert (found["observation"], found["reward"]) == (expected["next_state"], expected["reward"])
        assert found["terminated"] is expected["terminated"]
        state = found["observation"]
        if found["done"]:
            state = server.post(f"{env}/reset/").json["observation"]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Blackjack-v1", "tests/Troublemaker-v0"])
def test_an_environment_without_a_model_is_a_409(server: Server, env_id: str) -> None:
    """The message says which environments have one, and the instance goes on."""
    env = server.create(env_id)
    answer = server.get(f"{env}/transitions/")
    assert answer.status == 409
    assert answer.json["type"] == "urn:gym-http-server:problem:no-transition-model"
    assert "FrozenLake" in answer.message
    assert server.post(f"{env}/reset/").status == 200


def test_a_batch_is_a_409(server: Server) -> None:
    """The message says to create a single environment."""
    answer = server.get(f"{server.create('FrozenLake-v1', num_envs=2)}/transitions/")
    assert answer.status == 409
    assert answer.json["type"] == "urn:gym-http-server:problem:instance-kind"
    assert "single environment" in answer.message


def test_a_remote_environment_has_its_model(server: Server) -> None:
    """`transitions` returns what the operation answers, and raises where an environment has none."""
    with RemoteEnv(server.url, "FrozenLake-v1") as lake, RemoteEnv(server.url, "CartPole-v1") as pole:
        assert lake.transitions() == server.get(f"/v1/envs/{lake.instance_id}/transitions/").json
        with pytest.raises(ServerProblem) as caught:
            pole.transitions()
        assert caught.value.status == 409


class Table:
    """An environment with a model of some form."""

    def __init__(self, table: Any, **further: Any) -> None:
        self.unwrapped = self
        self.P = table
        self.__dict__.update(further)


ROW = [(0.5, 0, 1, False), (0.5, 1, -1.5, True)]
TOLD = [
    {"probability": 0.5, "next_state": 0, "reward": 1.0, "terminated": False},
    {"probability": 0.5, "next_state": 1, "reward": -1.5, "terminated": True},
]


@pytest.mark.parametrize(
    "table",
    [
        [[ROW, ROW], [ROW, ROW]],
        ((ROW, ROW), (ROW, ROW)),
        {0: {0: ROW, 1: ROW}, 1: {1: ROW, 0: ROW}},
        {1: [ROW, ROW], 0: (ROW, ROW)},
        collections.defaultdict(list, {0: {0: ROW, 1: ROW}, 1: {np.int64(0): ROW, np.int64(1): ROW}}),
        [{0: [[np.float32(0.5), np.int8(0), np.int64(1), np.bool_(False)], ROW[1]], 1: ROW}, {0: ROW, 1: ROW}],
        [[np.array(ROW[:1] + ROW[1:], object), ROW], [ROW, ROW]],
    ],
)
def test_any_form_of_table_is_read(table: Any) -> None:
    """Lists, tuples, mappings and arrays, with Python's numbers or NumPy's."""
    model = transition_model(Table(table, initial_state_distrib=np.float32([1, 0])))
    assert model == {
        "states": 2,
        "actions": 2,
        "transitions": [[TOLD, TOLD]] * 2,
        "initial_distribution": [1.0, 0.0],
    }


@pytest.mark.parametrize("distribution", [None, [1.0], "ab", [[1, 0]], [float("nan"), 1]])
def test_a_distribution_of_another_form_is_none(distribution: Any) -> None:
    """The model itself is told all the same."""
    assert transition_model(Table([[ROW], [ROW]], initial_state_distrib=distribution))["initial_distribution"] is None
    assert transition_model(Table([[ROW], [ROW]]))["initial_distribution"] is None


@pytest.mark.parametrize(
    "table",
    [
        None, 3, "P", [], {}, [[]], [[ROW], []], np.eye(2), {"a": {0: ROW}}, {1: [ROW]}, [[ROW], [ROW, ROW]], [ROW, ROW],
        [[[(0.5, 0, 1)]]], [[[(0.5, 1, 1, False)]]], [[[(0.5, -1, 1, False)]]], [[[(0.5, 0.0, 1, False)]]],
        [[[(1.5, 0, 1, False)]]], [[[(float("nan"), 0, 1, False)]]], [[[(0.5, 0, float("inf"), False)]]],
        [[[("x", 0, 1, False)]]], [[[(0.5, 0, None, False)]]],
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_words(table: Any) -> None:
    """An attribute P may be anything, such as the matrix of a controller."""
    with pytest.raises(NoTransitionModelError, match="the P of Table is no tabular model"):
        transition_model(Table(table))
