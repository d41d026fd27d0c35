"""Spaces of a package's own kind, spaces that change, numbers beyond 1e100, and which actions are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import check_env

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem
from tests.conftest import KINDS, start
from tests.support import own_spaces
from tests.support.sample_spaces import same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.serving import Server

HEADING = {"name": "Heading", "opaque": True}
SHARES = {"name": "Shares", "opaque": True, "shape": [2], "dtype": "float32"}
ACTION = {"to": ["north", 1], "shares": [0.5, 0.5]}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with start(request.param, "--import", "tests.support.own_spaces") as running:
        yield running


def test_a_space_of_a_packages_own_is_told_by_its_class_name(server: Server) -> None:
    """Wherever it stands, with shape and dtype where its values are arrays."""
    env = server.create("tests/Own-v0")
    action, observed = (server.get(f"{env}/{name}_space/").json["info"] for name in ("action", "observation"))
    assert action["spaces"] == {"to": HEADING, "shares": SHARES}
    assert observed["spaces"]["mission"] == observed["spaces"]["some"]["space"] == {"name": "Mission", "opaque": True}
    assert observed["spaces"]["either"]["spaces"][1] == HEADING
    assert observed["spaces"]["both"]["spaces"] == [SHARES, HEADING]


def test_an_action_of_such_a_space_is_what_its_contains_takes(server: Server) -> None:
    """A list is a tuple where a tuple is meant, and an array where the space declares arrays."""
    env = server.create("tests/Own-v0", seed=1)
    server.post(f"{env}/reset/")
    reply = server.post(f"{env}/step/", {"action": ACTION}).json
    assert reply["observation"]["mission"] == "go to 1"
    assert reply["observation"]["either"] == [1, ["south", 1]]
    assert reply["info"]["taken"] == ACTION
    for wrong in ({**ACTION, "to": "north"}, {**ACTION, "shares": [0.5, 0.25]}, {**ACTION, "shares": [0.5]}, [1]):
        answer = server.post(f"{env}/step/", {"action": wrong})
        assert (answer.status, "is not in the action space" in answer.message) == (400, True), wrong
    sampled = server.get(f"{env}/action_space/sample").json["action"]
    assert server.post(f"{env}/action_space/contains", {"action": sampled}).json["member"]
    rollout = server.post(f"{env}/rollout/", {"policy": "random", "steps": 4, "seed": 2}).json
    assert rollout["observations"]["mission"] == [f"go to {n}" for n in (0, 1, 2, 0, 1)]


def test_a_part_of_a_space_is_sampled_and_asked(server: Server) -> None:
    """By its JSON pointer in the description; one that leads nowhere is a 400 that names what there is."""
    env = server.create("tests/Own-v0")
    for pointer, member, other in (("/spaces/mission", "go home", "stay"), ("/spaces/both/spaces/1", ["a", 1], ["a"])):
        body = {"space": "observation", "part": pointer}
        value = server.post(f"{env}/space/sample", body).json["value"]
        for told, expected in ((value, True), (member, True), (other, False)):
            body = {"observation": told, "part": pointer}
            assert server.post(f"{env}/observation_space/contains", body).json["member"] is expected
    with Client(server.url, api_key=server.key or None) as client:
        sampled = client.sample_space(env.rpartition("/")[2], "observation", "/spaces/mission")
    assert sampled.startswith("go to ")
    body = {"action": ["a", 1], "part": "/spaces/to"}
    assert server.post(f"{env}/action_space/contains", body).json["member"]
    assert server.post(f"{env}/space/sample", {"space": "action"}).json["value"].keys() == {"to", "shares"}
    for answer in (
        server.post(f"{env}/space/sample", {"space": "action", "part": "/spaces/from"}),
        server.post(f"{env}/action_space/contains", {"action": 1, "part": "/spaces/from"}),
    ):
        assert answer.status == 400
        assert "/spaces/to" in answer.message


@pytest.mark.parametrize("packed", [True, False])
def test_a_remote_environment_with_such_spaces_is_one_for_gymnasium(server: Server, packed: bool) -> None:
    """Its values have the types of the local ones, its spaces sample and check by asking, and snapshots are taken."""
    local = own_spaces.Own()
    env = RemoteEnv(server.url, "tests/Own-v0", packed=packed)
    assert same(env.reset(seed=1), local.reset(seed=1))
    for _ in range(2):
        action = env.action_space.sample()
        assert local.action_space.contains(action)
        remote, own = env.step(action), local.step(action)
        assert same(remote[0], own[0])
        assert env.observation_space.contains(remote[0])
    assert env.observation_space["mission"].sample().startswith("go to ")
    assert not env.observation_space["mission"].contains("stay")
    assert not env.observation_space["mission"].contains(object())
    snapshot = env.snapshot()
    before = env.step(action)
    assert env.restore(snapshot)["mission"] == own[0]["mission"]
    assert same(env.step(action), before)
    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("autoreset", [None, "same_step", "disabled"])
def test_a_batch_with_such_spaces_is_gymnasiums_own(server: Server, mode: str, autoreset: str | None) -> None:
    """In every mode: also those that Gymnasium refuses or plays with a reset too many, without shared memory."""
    if mode == "async" and server.get(f"{server.create()}/").json["engine"] == "inline":
        return
    lanes: Any = gymnasium.vector.AutoresetMode[(autoreset or "next_step").upper()]
    shared = own_spaces.Own()  # lanes with the very same spaces are equal for Gymnasium

    class Lane(own_spaces.Own):
        def __init__(self) -> None:
            self.observation_space, self.action_space = shared.observation_space, shared.action_space

    local = gymnasium.vector.SyncVectorEnv([Lane] * 2, autoreset_mode=lanes)
    remote = RemoteVectorEnv(server.url, "tests/Own-v0", 2, vectorization_mode=mode, autoreset_mode=autoreset)
    assert remote.metadata["autoreset_mode"] is lanes
    assert same(remote.reset(seed=3)[0], local.reset(seed=3)[0])
    actions = {"to": (("north", 1), ("west", 2)), "shares": (np.array([0.5, 0.5], np.float32),) * 2}
    for taken in range(3 if autoreset == "disabled" else 5):
        if taken == 1:
            # After an ended episode as well: see `vectorize._make_async`.
            assert same(remote.reset(seed=4)[0], local.reset(seed=4)[0])
        theirs, own = remote.step(actions), local.step(actions)
        for index in range(4):
            assert same(theirs[index], own[index]), (taken, index)
    assert same(remote.reset(seed=5)[0], local.reset(seed=5)[0])
    assert same(remote.step(actions)[0], local.step(actions)[0])
    remote.close()


def test_an_environment_that_changes_its_spaces_is_served_by_the_new_ones(server: Server) -> None:
    """Described, sampled, checked, encoded and rolled out by those of the episode; the reply of the reset has them."""
    env = server.create("tests/Grows-v0", seed=1)
    assert server.get(f"{env}/action_space/").json["info"]["n"] == 2
    for episode in (1, 2):
        reset = server.post(f"{env}/reset/").json
        assert reset["action_space"]["n"] == 2 + episode
        assert reset["observation_space"]["shape"] == [1 + episode]
        for described in (
            server.get(f"{env}/").json,
            {"action_space": server.get(f"{env}/action_space/").json["info"]},
        ):
            assert described["action_space"]["n"] == 2 + episode
        assert server.get(f"{env}/observation_space/").json["info"]["shape"] == [1 + episode]
        assert server.post(f"{env}/action_space/contains", {"action": 1 + episode}).json["member"]
        assert server.post(f"{env}/observation_space/contains", {"observation": [1] * (1 + episode)}).json["member"]
        assert server.post(f"{env}/step/", {"action": 1 + episode}).json["observation"] == [1] * (1 + episode)
        assert server.post(f"{env}/step/", {"action": 2 + episode}).status == 400
    assert max(server.get(f"{env}/action_space/sample").json["action"] for _ in range(60)) == 3
    planned = server.post(f"{env}/rollout/", {"actions": [3] * 4}).json
    assert [len(each) for each in planned["observations"]] == [3, 3, 4, 4, 4]
    drawn = server.post(f"{env}/rollout/", {"policy": "random", "episodes": 9}).json
    assert 5 < max(drawn["actions"]) < 14


def test_a_rollout_begins_in_the_space_of_its_own_reset(server: Server) -> None:
    """Actions that only the coming episode has are taken, and those that it has not refused."""
    env = server.create("tests/Grows-v0")
    assert server.post(f"{env}/rollout/", {"actions": [3]}).status == 400
    assert server.post(f"{env}/rollout/", {"actions": [2]}).json["observations"] == [[0, 0], [1, 1]]


def test_a_remote_environment_follows_spaces_that_change(server: Server) -> None:
    """After `reset`, after a step that resets, and back with a snapshot; observations have the dtype of the new space."""
    env = RemoteEnv(server.url, "tests/Grows-v0", autoreset=True)
    assert env.action_space == Discrete(2)
    env.reset()
    assert (env.action_space, env.observation_space) == (Discrete(3), Box(0, 9, (2,), np.int8))
    snapshot = env.snapshot()
    for _ in range(4):
        observation = env.step(2)[0]
    assert (env.action_space, observation.dtype, observation.shape) == (Discrete(4), np.int8, (3,))
    assert env.restore(snapshot).shape == (2,)
    assert env.action_space == Discrete(3)
    env.close()


def test_samples_of_a_new_space_are_repeatable(server: Server) -> None:
    """The seed of the creation seeds it, too."""
    drawn = []
    for _ in range(2):
        env = server.create("tests/Grows-v0", seed=7)
        server.post(f"{env}/reset/")
        drawn.append([server.get(f"{env}/action_space/sample").json["action"] for _ in range(20)])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("env_id", "action"), [("tests/Anew-v0", 2), ("tests/Changed-v0", 6)])
def test_an_action_of_the_space_of_now_is_taken(server: Server, env_id: str, action: int) -> None:
    """Also of one that is made anew at each look, and of one that is changed in its place; alone and in a batch."""
    env = server.create(env_id)
    assert server.post(f"{env}/reset/").json.keys() >= {"observation"}
    assert server.post(f"{env}/step/", {"action": action}).status == 200
    assert server.post(f"{env}/step/", {"action": action + 1}).status == 400
    batch = server.create(env_id, num_envs=2)
    server.post(f"{batch}/batch/reset/")
    assert server.post(f"{batch}/batch/step/", {"actions": [0, action]}).status == 200
    answer = server.post(f"{batch}/batch/step/", {"actions": [0, action + 1]})
    assert (answer.status, "lane 1" in answer.message) == (400, True)


def test_an_action_is_refused_where_the_space_is_another_at_each_look(server: Server) -> None:
    """It is decoded again once."""
    env = server.create("tests/NeverEqual-v0")
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": "go on"}).status == 200
    answer = server.post(f"{env}/step/", {"action": "stop"})
    assert (answer.status, "is not in the action space" in answer.message) == (400, True)


def test_characters_of_a_text_are_the_environments_own_affair_unless_strict(server: Server) -> None:
    """Gymnasium checks no action; the length and all else stay checked, and `library` leaves the rest to the environment."""
    for create in ({}, {"num_envs": 2}):
        for check, good, bad in (
            (None, ["go north!", [0, "é?"]], [["too long a text", [1, 0]], ["go!", [0, "long"]], ["go!", [1, 2]]]),
            ("strict", ["go", [0, "abc"]], [["go north!", [1, 0]], ["go", [0, "?"]]]),
            ("library", ["too long a text", [1, 9]], [[5, [1, 0]], ["go", [1, "x"]], ["go", [2, 0]]]),
        ):
            env = server.create("tests/Says-v0", **create, action_check=check)
            assert server.get(f"{env}/").json["action_check"] == (check or "lenient")
            kind = "batch/" if create else ""
            server.post(f"{env}/{kind}reset/")
            for say in (good, *bad):
                action: Any = {"say": say, "n": 1}
                if create:
                    first, (index, choice) = say
                    action = [{"say": [first, [index, choice]], "n": 1}] * 2
                    action = {"say": [[say[0]] * 2, [say[1]] * 2], "n": [1, 1]}
                body = {"actions" if create else "action": action}
                assert server.post(f"{env}/{kind}step/", body).status == (200 if say is good else 400), (check, say)


def test_the_setting_is_for_creations_that_do_not_say() -> None:
    """`--action-check strict` refuses what a client may still ask for."""
    arguments = ("--import", "tests.support.own_spaces", "--action-check", "strict")
    action = {"say": ["go north!", [1, 0]], "n": 1}
    with start("handover", *arguments) as server, Client(server.url) as client:
        asked, unasked = (client.create_env("tests/Says-v0", action_check=check) for check in ("lenient", None))
        client.reset_env(asked["instance_id"])
        assert client.step_env(asked["instance_id"], action)["reward"] == 1.0
        client.reset_env(unasked["instance_id"])
        with pytest.raises(ServerProblem, match="action space"):
            client.step_env(unasked["instance_id"], action)


@pytest.mark.parametrize("packed", [True, False])
def test_numbers_beyond_1e100_come_back_as_they_are(server: Server, packed: bool) -> None:
    """In bounds, observations and actions; exactly ±1e100 stands for an infinity."""
    env = RemoteEnv(server.url, "tests/Far-v0", packed=packed)
    assert env.observation_space == own_spaces.Far.observation_space
    assert same(env.reset()[0], np.array([-1.7e308, 1e300, 0]))
    action = np.array([1.7e308, -1e200])
    assert same(env.step(action)[4]["taken"], action)
    with pytest.raises(ServerProblem, match="action space"):
        env.step(np.array([np.inf, 0]))
    env.close()


@pytest.mark.parametrize(
    ("env_id", "name", "words"),
    [
        ("tests/Blind-v0", "observation_space", "it is None"),
        ("tests/Idle-v0", "action_space", "it is None"),
        ("tests/Wrong-v0", "action_space", "int is no space"),
    ],
)
def test_an_environment_without_a_space_says_which(server: Server, env_id: str, name: str, words: str) -> None:
    """Alone and in a batch, a 400 with the name of the attribute and what it is to be."""
    for create in ({}, {"num_envs": 2}):
        answer = server.post("/v1/envs/", {"env_id": env_id, **create})
        assert answer.status == 400
        assert f"its {name} is to be a space" in answer.message
        assert words in answer.message
