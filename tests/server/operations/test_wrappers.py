"""Wrappers at creation: what is served is what a program has that wraps the environment itself."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import gym
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gym_http_server.client import RemoteEnv, RemoteVectorEnv
from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.errors import InvalidValueError, MissingDependencyError
from gym_http_server.runtime.making.wrappers import REFUSED, RENAMED, WRAPPERS
from gym_http_server.runtime.messages import MSGPACK, CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.support.sample_spaces import in_order, same
from tests.support.serving import Server
from tests.support.wrapper_uses import STACKS, USES, Use, name_of

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:.*(precision lowered|Casting input x to numpy array):UserWarning"),
]
"""Gymnasium warns of both where its own wrappers cause them."""

PONG = {"env_id": "ALE/Pong-v5", "kwargs": {"frameskip": 1}}


def each_use(uses: list[Use]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("use", [pytest.param(use, id=f"{at}-{name_of(use)}") for at, use in enumerate(uses)])


def test_every_name_of_the_library_is_in_the_table_or_refused_with_a_reason() -> None:
    """Whatever Gymnasium calls a wrapper is served or not, for a reason that is told; none is forgotten, and none both."""
    named = set(gymnasium.wrappers.__all__)
    found = {name for name, value in vars(gymnasium.wrappers).items() if isinstance(value, type)}
    assert {name for name in found if issubclass(getattr(gymnasium.wrappers, name), gymnasium.Wrapper)} <= named
    assert named == {name for name in WRAPPERS if hasattr(gymnasium.wrappers, name)} | set(REFUSED)
    assert not WRAPPERS.keys() & REFUSED.keys()
    assert all(len(reason) > 20 for reason in REFUSED.values())


def test_every_former_name_of_the_library_leads_to_the_present_one() -> None:
    """Names that Gymnasium has renamed are known, and the present name is in the table or refused."""
    assert set(RENAMED.values()) <= WRAPPERS.keys() | REFUSED.keys()
    former = vars(gymnasium.wrappers)["_renamed_wrapper"]
    assert {name: new for name, new in former.items() if "." not in new}.items() <= RENAMED.items()


def test_the_contract_names_the_wrappers_of_the_table() -> None:
    """The description of a wrapper's name lists all there are, in their order."""
    text = DOCUMENT["components"]["schemas"]["WrapperName"]["description"]
    assert re.findall(r"\w+", text.partition("one of:")[2].partition(".")[0]) == list(WRAPPERS)


def test_each_wrapper_of_the_table_is_tried() -> None:
    """The uses below leave out none."""
    assert {use.name for use in USES} == {name for name in WRAPPERS if hasattr(gymnasium.wrappers, name)}


@each_use(USES + STACKS)
def test_a_wrapped_environment_is_bit_by_bit_what_gymnasium_makes(server: Server, use: Use) -> None:
    """The same seed and actions give the same spaces, observations, rewards, ends, infos and frames."""
    packed = use in USES or use.env_id != "CartPole-v1"
    with (
        use.make() as local,
        RemoteEnv(server.url, use.env_id, wrappers=use.wire, packed=packed, **use.options) as remote,
    ):
        assert remote.observation_space == local.observation_space
        assert remote.action_space == local.action_space
        local.action_space.seed(3)
        one, other = local.reset(seed=7), remote.reset(seed=7)
        assert same(other[0], in_order(local.observation_space, one[0]))
        for _ in range(25):
            action = local.action_space.sample()
            one, other = local.step(action), remote.step(action)
            assert same(other[0], in_order(local.observation_space, one[0]))
            assert other[1:4] == (float(one[1]), bool(one[2]), bool(one[3]))
            assert without_times(other[4]) == without_times(one[4])
            if one[2] or one[3]:
                assert same(remote.reset()[0], in_order(local.observation_space, local.reset()[0]))
        if use.renders:
            assert (remote.render() == local.render()).all()


def without_times(info: dict[str, Any]) -> Any:
    """Return what can be compared of an info: a time is another each time."""
    plain = json.loads(json.dumps(info, default=lambda value: np.asarray(value).tolist()))
    plain.get("told", {}).pop("t", None)
    return plain


def test_an_instance_tells_its_wrappers_and_its_spaces_are_the_wrapped_ones(server: Server) -> None:
    """`getEnv`, both space operations, samples, membership and rollouts are those of the wrapped environment."""
    wrappers = [
        {"name": "DiscretizeAction", "kwargs": {"bins": 4}},
        {"name": "FrameStackObservation", "kwargs": {"stack_size": 2}},
        {"name": "FlattenObservation"},
    ]
    env = server.create("Pendulum-v1", wrappers=wrappers)
    found = server.get(f"{env}/").json
    assert found["wrappers"] == [*wrappers[:2], {"name": "FlattenObservation", "kwargs": {}}]
    assert found["autoreset_mode"] is None
    assert found["observation_space"] == server.get(f"{env}/observation_space/").json["info"]
    assert found["observation_space"]["shape"] == [6]
    assert server.get(f"{env}/action_space/").json["info"]["n"] == 4
    assert server.get(f"{env}/action_space/sample").json["action"] in range(4)
    assert server.get(f"{env}/action_space/contains/3").json == {"member": True}
    assert server.get(f"{env}/action_space/contains/4").json == {"member": False}
    trajectory = server.post(f"{env}/rollout/", {"actions": [0, 1, 2, 3], "seed": 1}).json
    assert np.array(trajectory["observations"]).shape == (5, 6)
    assert trajectory["actions"] == [0, 1, 2, 3]
    refused = server.post(f"{env}/step/", {"action": 4})
    assert (refused.status, "Discrete(4)" in refused.message) == (400, True)
    assert server.get(f"{server.create('Pendulum-v1')}/").json["wrappers"] == []
    assert server.get(f"{server.create('Pendulum-v1', wrappers=None)}/").json["wrappers"] == []


def test_wrappers_are_applied_in_their_order(server: Server) -> None:
    """The first is the innermost: a stack that is flattened is one array, and flat observations stacked are two."""
    stacked, flat = {"name": "FrameStackObservation", "kwargs": {"stack_size": 2}}, {"name": "FlattenObservation"}
    for wrappers, shape in (([stacked, flat], [8]), ([flat, stacked], [2, 4])):
        env = server.create("CartPole-v1", wrappers=wrappers)
        assert server.get(f"{env}/observation_space/").json["info"]["shape"] == shape


def test_a_wrapped_environment_is_recorded_filmed_and_rendered(server: Server, tmp_path: Path) -> None:
    """A monitor has the returns and lengths that the client sees, and videos and frames are those of the wrapped one."""
    wrappers = [
        {"name": "RepeatAction", "kwargs": {"num_repeats": 2}},
        {"name": "TimeLimit", "kwargs": {"max_episode_steps": 3}},
    ]
    env = server.create("Pendulum-v1", wrappers=wrappers, seed=1)
    assert server.post(f"{env}/monitor/start/", {"directory": str(tmp_path), "video_callable": 1}).status == 200
    server.post(f"{env}/reset/")
    answers = [server.post(f"{env}/step/", {"action": [0.5]}).json for _ in range(3)]
    assert [each["truncated"] for each in answers] == [False, False, True]
    told = server.get(f"{env}/monitor/").json
    assert (told["episodes"], told["last_length"], len(told["videos"])) == (1, 3, 1)
    assert told["last_return"] == pytest.approx(sum(each["reward"] for each in answers), abs=1e-12)
    assert server.get(f"{env}/render/").headers["content-type"] == "image/png"
    assert server.get(f"{env}/").json["steps"] == 3


BATCHED = [STACKS[0], STACKS[1], STACKS[8], *(use for use in USES if use.env_id == "Pendulum-v1" and "R" in use.name)]


@pytest.mark.parametrize("autoreset", [mode.name.lower() for mode in AutoresetMode])
@each_use(BATCHED)
def test_each_lane_of_a_batch_is_wrapped(server: Server, use: Use, autoreset: str) -> None:
    """A batch is what Gymnasium's `make_vec` makes with the same wrappers, in each autoreset mode."""
    kwargs = {"render_mode": "rgb_array", "disable_env_checker": True, **use.options.get("kwargs", {})}
    vector_kwargs = {"autoreset_mode": AutoresetMode[autoreset.upper()]}
    local = gymnasium.make_vec(use.env_id, 2, "sync", vector_kwargs, [use.wrap], **kwargs)
    remote = RemoteVectorEnv(
        server.url, use.env_id, 2, wrappers=use.wire, autoreset_mode=autoreset, vectorization_mode="sync", **use.options
    )
    assert_same_batches(local, remote)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_each_lane_of_a_batch_of_processes_is_wrapped(process_server: Server, autoreset: str) -> None:
    """The mode `async` gives the same as `sync`."""
    use = STACKS[1]
    vector_kwargs = {"autoreset_mode": AutoresetMode[autoreset.upper()]}
    local = gymnasium.make_vec(use.env_id, 2, "sync", vector_kwargs, [use.wrap], render_mode="rgb_array")
    options = {"wrappers": use.wire, "autoreset_mode": autoreset, "vectorization_mode": "async"}
    assert_same_batches(local, RemoteVectorEnv(process_server.url, use.env_id, 2, **options))


def assert_same_batches(local: Any, remote: RemoteVectorEnv) -> None:
    try:
        assert remote.single_observation_space == local.single_observation_space
        assert remote.single_action_space == local.single_action_space
        assert same(remote.reset(seed=5)[0], local.reset(seed=5)[0])
        local.action_space.seed(1)
        for _ in range(12):
            actions = local.action_space.sample()
            one, other = local.step(actions), remote.step(actions)
            assert all(map(same, other[:4], one[:4]))
            ended = one[2] | one[3]
            if local.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
                options = {"reset_mask": ended}
                assert same(remote.reset(options=options)[0], local.reset(options=options)[0])
    finally:
        local.close()
        remote.close()


def test_auto_makes_a_wrapped_batch_of_lanes(server: Server) -> None:
    """A vector entry point takes no wrappers: `auto` is then `sync`, and to ask for it is refused with what to ask for."""
    wrappers = [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 5}}]
    env = server.create("CartPole-v1", num_envs=2, wrappers=wrappers)
    found = server.get(f"{env}/").json
    assert (found["vectorization_mode"], found["autoreset_mode"]) == ("sync", "next_step")
    assert found["wrappers"] == wrappers
    for body, words in (
        ({"env_id": "CartPole-v1", "vectorization_mode": "vector_entry_point"}, "takes no wrappers: ask for 'sync'"),
        ({"env_id": "tests/OwnBatch-v0"}, "without an autoreset mode and wrappers"),
    ):
        answer = server.post("/v1/envs/", {**body, "num_envs": 2, "wrappers": wrappers})
        assert (answer.status, words in answer.message) == (400, True), answer.body


def test_a_filmed_batch_shows_its_first_lane_wrapped(server: Server, tmp_path: Path) -> None:
    """A monitor of a batch records every lane, and films what the wrapped lanes render."""
    wrappers = [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 2}}]
    env = server.create("Pendulum-v1", num_envs=2, wrappers=wrappers)
    assert server.post(f"{env}/monitor/start/", {"directory": str(tmp_path), "video_callable": 1}).status == 200
    server.post(f"{env}/batch/reset/")
    for _ in range(2):
        assert server.post(f"{env}/batch/step/", {"actions": [[0.0], [0.0]]}).status == 200
    told = server.get(f"{env}/monitor/").json
    assert (told["episodes"], told["last_length"], len(told["videos"])) == (2, 2, 2)


def test_environments_of_gym_are_wrapped_too(server: Server) -> None:
    """What gym makes is wrapped as what Gymnasium makes: here half the torque, seen twice, around gym's own Pendulum."""
    wrappers = [
        {"name": "RescaleAction", "kwargs": {"min_action": -1, "max_action": 1}},
        {"name": "FrameStackObservation", "kwargs": {"stack_size": 2}},
    ]
    local = gym.make("Pendulum-v1", disable_env_checker=True)
    with RemoteEnv(server.url, "Pendulum-v1", library="gym", wrappers=wrappers) as remote:
        last = local.reset(seed=4)[0]
        assert np.array_equal(remote.reset(seed=4)[0], [last, last])
        for action in np.linspace(-1, 1, 9, dtype=np.float32):
            observation, reward, *_ = local.step(np.array([2 * action], np.float64))
            found = remote.step(np.array([action]))
            np.testing.assert_allclose(found[0], [last, observation], atol=1e-6)
            assert found[1] == pytest.approx(float(reward), abs=1e-5)
            last = observation
        assert remote.render().shape == (500, 500, 3)
    local.close()


def test_wrappers_that_draw_are_seeded_around_environments_of_gym(server: Server) -> None:
    """The same seed gives the same sticky actions, and another seed others."""
    wrappers = [{"name": "StickyAction", "kwargs": {"repeat_action_probability": 0.5}}]

    def trajectory(seed: int) -> Any:
        env = server.create("MountainCar-v0", library="gym", wrappers=wrappers)
        body = {"actions": [0, 2] * 20, "seed": seed}
        return [each[1] for each in server.post(f"{env}/rollout/", body).json["observations"]]

    assert trajectory(1) == trajectory(1)
    assert trajectory(1) != trajectory(2)


def test_a_wrapper_knows_the_time_limit_of_an_environment_of_gym(server: Server) -> None:
    """The bound of the time is what gym registers, or `max_episode_steps`; batches of gym are wrapped as well."""
    wrappers = [{"name": "TimeAwareObservation", "kwargs": {"flatten": False}}]
    for options, limit in (({}, 200), ({"max_episode_steps": 9}, 9), ({"num_envs": 2}, 200)):
        env = server.create("CartPole-v0", library="gym", wrappers=wrappers, **options)
        space = server.get(f"{env}/").json["observation_space"]["spaces"]
        assert space["time"]["high"] == [limit]
    answer = server.post(f"{env}/batch/reset/", {"seed": 1}).json["observations"]
    assert answer["time"] == [[0], [0]]


@pytest.mark.parametrize("autoreset", [False, True])
@each_use([use for use in USES + STACKS if use.name != "RecordEpisodeStatistics"])  # whose times are others
def test_a_snapshot_has_the_state_of_the_wrappers(use: Use, autoreset: bool) -> None:
    """What is restored goes on as it went on, twice: stacks, means, delays and limits are saved with the environment."""
    request = CreateRequest(use.env_id, seed=1, wrappers=use.wire, autoreset=autoreset, **use.options)
    served = open_served(request)

    def play(steps: int) -> list[bytes]:
        told = []
        for _ in range(steps):
            action = json.loads(served.call("sample", {}).body)["action"]
            told.append(served.call("step", {"action": action, "media_type": MSGPACK}).body)
            if not autoreset and b"\xa4done\xc3" in told[-1]:
                told.append(served.call("reset", {}).body)
        return told

    served.call("reset", {})
    play(6)
    snapshot = json.loads(served.call("snapshot_create", {"limit": 1}).body)
    future = play(12)
    for _ in range(2):
        served.call("snapshot_restore", snapshot)
        assert play(12) == future
    served.close()


def test_a_wrapped_environment_has_the_model_of_the_one_inside(server: Server) -> None:
    """`getTransitions` answers the same with and without wrappers, whichever library makes the environment."""
    for library in ("gymnasium", "gym"):
        answers = []
        for wrappers in ([], [{"name": "FrameStackObservation", "kwargs": {"stack_size": 2}}]):
            env = server.create("FrozenLake-v1", library=library, wrappers=wrappers)
            answer = server.get(f"{env}/transitions/")
            assert answer.status == 200, answer.body
            answers.append(answer.json)
        assert answers[0] == answers[1]


REFUSALS = [
    ([{"name": "Nonsense"}], "wrappers[0]: module 'gymnasium.wrappers' has no attribute 'Nonsense': it has AddRender"),
    ([{"name": "TimeLimits"}], "did you mean 'TimeLimit'?"),
    ([{"name": "os.system"}], "has no attribute 'os.system'"),
    ([{"name": "common"}], "has no attribute 'common'"),
    ([{"name": "__builtins__"}], "has no attribute '__builtins__'"),
    (
        [{"name": "FlattenObservation"}, {"name": "FrameStack"}],
        "wrappers[1]: 'FrameStack' has been renamed: ask for 'FrameStackObs",
    ),
    (
        [{"name": "TimeLimit"}],
        "wrappers[0], TimeLimit: TypeError: TimeLimit.__init__() missing 1 required positional argument",
    ),
    ([{"name": "TimeLimit", "kwargs": {"steps": 3}}], "got an unexpected keyword argument 'steps'"),
    (
        [{"name": "TimeLimit", "kwargs": {"max_episode_steps": "3"}}],
        "Expect the `max_episode_steps` to be an integer, actually",
    ),
    ([{"name": "FlattenObservation", "kwargs": {"env": 1}}], "got multiple values for argument 'env'"),
    (
        [{"name": "FlattenObservation"}, {"name": "ResizeObservation", "kwargs": {"shape": [8, 8]}}],
        "wrappers[1], ResizeObservation: ValueError: ResizeObservation requires a 2D or 3D image, got shape (4,)",
    ),
    ([{"name": "ClipAction"}], "ClipAction requires a Box action space"),
    ([{"name": "DtypeObservation", "kwargs": {"dtype": "object"}}], "dtype: expected one of bool, int8,"),
    ([{"name": "DtypeObservation", "kwargs": {"dtype": ["float32"]}}], "dtype: expected one of bool, int8,"),
    (
        [{"name": "RescaleObservation", "kwargs": {"min_obs": [0, [1]], "max_obs": 1}}],
        "min_obs: expected a number, or a list",
    ),
    (
        [{"name": "RescaleObservation", "kwargs": {"min_obs": "0", "max_obs": 1}}],
        "Expected new_min to be an integer, float",
    ),
    (
        [{"name": "FrameStackObservation", "kwargs": {"stack_size": 2, "padding_type": [0]}}],
        "padding_type: expected shape [4]",
    ),
    (
        [{"name": "FrameStackObservation", "kwargs": {"stack_size": 2, "padding_type": "one"}}],
        "Unexpected `padding_type`",
    ),
    ([{"name": "ClipReward", "kwargs": {"min_reward": "x"}}], "wrappers[0], ClipReward: min_reward: expected a number"),
    ([{"name": "ClipReward", "kwargs": {"min_reward": {"a": 1}}}], "min_reward: expected a number"),
    ([{"name": "ClipReward", "kwargs": {"min_reward": [0, 0]}}], "min_reward: expected a number"),
    ([{"name": "ClipReward", "kwargs": {"min_reward": -1, "max_reward": [3, 4]}}], "max_reward: expected a number"),
    ([{"name": "ClipReward", "kwargs": {"min_reward": None}}], "Both `min_reward` and `max_reward` cannot be None"),
    (
        [{"name": "RecordEpisodeStatistics", "kwargs": {"stats_key": ["a"]}}],
        "wrappers[0], RecordEpisodeStatistics: stats_key: expected a text",
    ),
    (
        [{"name": "FrameStackObservation", "kwargs": {"stack_size": 10**12}}],
        "a space of 4000000000000 numbers is too large",
    ),
    ([{"name": "FlattenObservation", "kwargs": {"x": "os:system"}}], "the kwargs of wrappers[0] cannot name code"),
    ([{"kwargs": {}}], "name"),
    ([{"name": "TimeLimit", "kwargs": [3]}], "kwargs"),
    ([{"name": ""}], "name"),
    (["TimeLimit"], "TimeLimit"),
    ({"name": "TimeLimit"}, "wrappers"),
    ([{"name": "FlattenObservation"}] * 33, "wrappers"),
]


@pytest.mark.parametrize(("wrappers", "words"), REFUSALS)
def test_what_cannot_be_wrapped_is_refused_in_words(server: Server, wrappers: Any, words: str) -> None:
    """An unknown name and a bad argument are a 400 that says where and, in the library's words, why; nothing is left."""
    before = server.get("/v1/envs/").json
    for batch in ({}, {"num_envs": 2}):
        answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "wrappers": wrappers, **batch})
        assert (answer.status, words in answer.message) == (400, True), answer.body
    assert server.get("/v1/envs/").json == before


WRONG = ["x", 2.5, -1, True, None, [], ["a"], [1.5, 2.5], [1, 2], {"a": 1}]
"""Values that are right for few arguments, and of the wrong type for the others."""


@pytest.mark.filterwarnings("ignore")  # what odd arguments have numpy warn of is not what is tested
@pytest.mark.parametrize("name", WRAPPERS)
def test_an_argument_of_the_wrong_type_is_refused_at_creation_or_does_no_harm(name: str) -> None:
    """For each argument of each wrapper: a 400 in words, or an environment that resets, steps to an end and renders."""
    use = next(use for use in USES if use.name == name)
    *before, last = use.wire
    refusals = []
    arguments = list(inspect.signature(getattr(gymnasium.wrappers, name)).parameters)[1:]
    for argument in arguments:
        for value in WRONG:
            wrappers = [*before, {"name": name, "kwargs": {**last["kwargs"], argument: value}}]
            # Without a seed: with one, Atari loads its game once more in each reset.
            request = CreateRequest(use.env_id, wrappers=wrappers, max_episode_steps=3, **use.options)
            try:
                served = open_served(request)
            except InvalidValueError as error:
                refusals.append(str(error))
                continue
            served.call("reset", {})
            for _ in range(3):
                action = json.loads(served.call("sample", {}).body)["action"]
                served.call("step", {"action": action})
            if served.description.render_mode is not None:
                served.call("render", {"media_types": ["image/png"]})
            served.close()
    assert all(each.startswith(f"wrappers[{len(before)}], {name}: ") for each in refusals), refusals
    # It makes a bool of whatever it is given.
    assert bool(refusals) == (arguments not in ([], ["keep_dim"]))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_wrapper_is_refused_with_its_reason(server: Server, name: str) -> None:
    """Each of them is a 400 that says why, and what to use instead where there is something."""
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "wrappers": [{"name": name}]})
    assert answer.status == 400
    assert answer.message == f"wrappers[0]: {name} is refused: {REFUSED[name]}"
    assert (answer.json["wrapper"], answer.json["index"]) == (name, 0)


def test_a_path_outside_of_the_roots_is_forbidden_in_a_wrapper_too(server: Server) -> None:
    """Arguments of wrappers are held to the rules for `kwargs`."""
    wrappers = [{"name": "RecordEpisodeStatistics", "kwargs": {"stats_key": "/etc/passwd"}}]
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "wrappers": wrappers})
    assert (answer.status, "'stats_key' of the kwargs of wrappers[0]" in answer.message) == (403, True), answer.body


def test_wrappers_are_no_kwargs(server: Server) -> None:
    """Among the constructor's arguments they are refused, with where they belong."""
    for name in ("wrappers", "autoreset"):
        answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "kwargs": {name: []}})
        assert (answer.status, "a property beside kwargs" in answer.message) == (400, True)


def test_a_wrapper_that_fails_later_fails_as_an_environment_does(server: Server) -> None:
    """A wrapper that its environment does not fit is a 502 in words at the reset, and harms nothing else."""
    other = server.create("CartPole-v1")
    wrappers = [{"name": "AtariPreprocessing", "kwargs": {"noop_max": 0, "frame_skip": 1}}]
    env = server.create("CartPole-v1", wrappers=wrappers)
    for _ in range(2):
        answer = server.post(f"{env}/reset/")
        assert (answer.status, "AttributeError during reset" in answer.message) == (502, True), answer.body
    assert server.post(f"{env}/step/", {"action": 0}).status == 409
    twice = [{"name": "RecordEpisodeStatistics"}] * 2  # both tell them under the same key
    env2 = server.create("CartPole-v1", wrappers=twice, max_episode_steps=1)
    assert server.post(f"{env2}/reset/").status == 200
    assert server.post(f"{env2}/step/", {"action": 0}).status == 502
    assert server.post(f"{other}/reset/").status == 200
    for each in (env, env2, other):
        assert server.post(f"{each}/close/").status == 200


@pytest.mark.parametrize("name", ["AtariPreprocessing", "ResizeObservation"])
def test_a_missing_package_is_told_with_its_pip_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenCV the error names the wrapper and the package that servers can use."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    kwargs = {"shape": [8, 8]} if name == "ResizeObservation" else {}
    request = CreateRequest(**PONG, wrappers=[{"name": name, "kwargs": kwargs}])
    with pytest.raises(
        MissingDependencyError,
        match=rf"wrappers\[0\], {name} .*python -m pip install 'opencv-python-headless>=4\.10\.0\.84'$",
    ) as caught:
        open_served(request)
    assert caught.value.facts == {"package": "opencv-python-headless", "wrapper": name, "index": 0}


def test_a_package_that_cannot_be_loaded_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenCV is the one that needs libGL, which the machine lacks, the system's words are told, and which to install."""
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file', name='cv2', path='/site/cv2/cv2.abi3.so')"
    )
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    request = CreateRequest(**PONG, wrappers=[{"name": "ResizeObservation", "kwargs": {"shape": [8, 8]}}])
    with pytest.raises(
        MissingDependencyError, match=r"cannot be loaded: libGL.*pip install 'opencv-python-headless>=4\.10\.0\.84'$"
    ):
        open_served(request)


def test_what_could_not_be_wrapped_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment is not left open where one of its wrappers is refused, the wrappers within it included."""
    closed = []
    monkeypatch.setattr(
        "gymnasium.envs.classic_control.PendulumEnv.close", lambda self: closed.append(self), raising=True
    )
    wrappers = [{"name": "FlattenObservation", "kwargs": {}}, {"name": "TimeLimit", "kwargs": {}}]
    with pytest.raises(InvalidValueError, match="TimeLimit"):
        open_served(CreateRequest("Pendulum-v1", wrappers=wrappers))
    assert len(closed) == 1


LIMITED = [
    ("CartPole-v1", [("FrameStackObservation", {"stack_size": 1 << 21})]),
    (
        "CartPole-v1",
        [("FrameStackObservation", {"stack_size": 1 << 10}), ("FrameStackObservation", {"stack_size": 1 << 12})],
    ),
    ("CartPole-v1", [("AddRenderObservation", {}), ("ResizeObservation", {"shape": [4000, 4000]})]),
    ("Pendulum-v1", [("DiscretizeAction", {"bins": 1 << 30})]),
    ("MountainCar-v0", [("DiscretizeObservation", {"bins": [2, 1 << 30]})]),
    ("MountainCar-v0", [("DiscretizeObservation", {"bins": 3000}), ("FlattenObservation", {})]),
    ("MountainCar-v0", [("DiscretizeObservation", {"bins": 3000}), ("TimeAwareObservation", {})]),
    ("ALE/Pong-v5", [("AtariPreprocessing", {"screen_size": 1 << 14, "frame_skip": 1})]),
    ("ALE/Pong-v5", [("AtariPreprocessing", {"screen_size": [1 << 14, 1 << 14], "frame_skip": 1})]),
]


@pytest.mark.parametrize(("env_id", "wrappers"), LIMITED)
def test_no_wrapper_makes_a_space_that_nobody_could_be_told(env_id: str, wrappers: list[Any]) -> None:
    """A few bytes of request cannot have a server fill its memory: what is too large is refused before it is made."""
    with pytest.raises(
        InvalidValueError, match=rf"wrappers\[{len(wrappers) - 1}\].* numbers is too large: {1 << 22} are"
    ):
        open_served(CreateRequest(env_id, wrappers=[{"name": name, "kwargs": kwargs} for name, kwargs in wrappers]))


@pytest.mark.parametrize(
    ("env_id", "wrapper", "bins"),
    [
        ("Acrobot-v1", "DiscretizeObservation", 10_000),
        ("Acrobot-v1", "DiscretizeObservation", [1 << 11, 1 << 11, 1 << 11, 1 << 10, 1 << 10, 1 << 10]),
        ("BipedalWalker-v3", "DiscretizeAction", 1 << 16),
    ],
)
def test_bins_that_one_integer_cannot_number_are_refused(env_id: str, wrapper: str, bins: Any) -> None:
    """2**63 values or more overflow a Discrete space: the error says so, and with `multidiscrete` the same bins do."""
    kwargs = {"bins": bins}
    with pytest.raises(
        InvalidValueError, match=r"wrappers\[0\].*9223372036854775807: give multidiscrete: true, or fewer bins"
    ):
        open_served(CreateRequest(env_id, wrappers=[{"name": wrapper, "kwargs": kwargs}]))
    for name, values in (("multidiscrete", True), ("bins", 2)):
        served = open_served(CreateRequest(env_id, wrappers=[{"name": wrapper, "kwargs": {**kwargs, name: values}}]))
        served.close()


def test_infinities_reach_a_wrapper_as_what_they_are() -> None:
    """±1e100 stands for an infinity in numbers and lists of bounds."""
    for low, high in ((-1e100, 1e100), ([-1e100] * 4, [1e100] * 4)):
        convert = WRAPPERS["RescaleObservation"].convert
        made = convert["min_obs"](low, None), convert["max_obs"](high, None)
        assert np.all(np.asarray(made[0]) == -math.inf)
        assert np.all(np.asarray(made[1]) == math.inf)
