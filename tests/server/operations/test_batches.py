"""Batches of environments: N actions in, arrays of N out, as Gymnasium's own vector environments have them."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from gym_http_server.runtime.making import gym_compat
from gym_http_server.runtime.messages import JSON, MSGPACK
from gym_http_server.runtime.values.codec import encoder
from gym_http_server.runtime.values.encoding import ENCODERS
from gym_http_server.runtime.values.packing import pack, unpack
from tests.support import troublemakers
from tests.support.sample_spaces import same
from tests.support.serving import Answer, Server, eventually

TROUBLE = "tests/Troublemaker-v0"
FORMS = pytest.mark.parametrize("form", [JSON, MSGPACK])
MODES = pytest.mark.parametrize("mode", ["sync", "async"])
AUTORESET = {mode.name.lower(): mode for mode in AutoresetMode}


def send(server: Server, path: str, body: Any, form: str = JSON) -> Answer:
    data = pack(body) if form == MSGPACK else ENCODERS[JSON](body)
    return server.post(path, data, headers={"Content-Type": form, "Accept": form})


def read(answer: Answer, form: str = JSON) -> Any:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == form
    return unpack(answer.body) if form == MSGPACK else answer.json


def told(value: Any, form: str) -> Any:
    """Return what a value of a local environment reads as where it was sent in that form."""
    data = ENCODERS[form](value)
    return unpack(data) if form == MSGPACK else json.loads(data)


def local(env_id: str, num_envs: int, mode: str, autoreset: str | None = None, **kwargs: Any) -> VectorEnv:
    vector_kwargs = {} if autoreset is None else {"autoreset_mode": AUTORESET[autoreset]}
    return gymnasium.make_vec(env_id, num_envs, mode, vector_kwargs, **kwargs)


def ordered(infos: Any) -> Any:
    return {name: ordered(infos[name]) for name in sorted(infos)} if isinstance(infos, dict) else infos


def assert_equal_to(batch: VectorEnv, server: Server, env: str, form: str, steps: int) -> int:
    """Assert that an instance does what a local batch of the same seed does; return how many episodes ended."""
    encode, lanes, count = encoder(batch.observation_space), batch.num_envs, 0
    disabled = batch.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    observations, infos = batch.reset(seed=3)
    expected = {"observations": encode(observations), "infos": infos}
    assert same(read(send(server, f"{env}/batch/reset/", {"seed": 3}, form), form), told(expected, form))
    batch.action_space.seed(5)
    for _ in range(steps):
        actions = batch.action_space.sample()
        observations, rewards, terminated, truncated, infos = batch.step(actions)
        answer = read(send(server, f"{env}/batch/step/", {"actions": actions}, form), form)
        expected = {"observations": encode(observations), "rewards": rewards}
        expected |= {"terminated": terminated, "truncated": truncated, "infos": {}}
        # Gymnasium's modes differ in the order of the names.
        answer["infos"], expected["infos"] = ordered(answer["infos"]), ordered(infos)
        assert same(answer, told(expected, form))
        assert len(answer["rewards"]) == lanes
        ended = terminated | truncated
        count += int(ended.sum())
        if disabled and ended.any():
            observations, infos = batch.reset(options={"reset_mask": ended})
            answer = read(send(server, f"{env}/batch/reset/", {"reset_mask": ended.tolist()}, form), form)
            assert same(answer, told({"observations": encode(observations), "infos": infos}, form))
    batch.close()
    return count


@FORMS
@pytest.mark.parametrize("autoreset", list(AUTORESET))
@pytest.mark.parametrize(("env_id", "lanes"), [("CartPole-v1", 3), ("CartPole-v1", 1), ("FrozenLake-v1", 2)])
def test_a_batch_is_a_sync_vector_env_of_the_same_seed_bit_for_bit(
    server: Server, env_id: str, lanes: int, autoreset: str, form: str
) -> None:
    """Observations, rewards, ends and infos are Gymnasium's own in every autoreset mode, through ended episodes."""
    env = server.create(env_id, num_envs=lanes, vectorization_mode="sync", autoreset_mode=autoreset)
    found = server.get(f"{env}/").json
    assert (found["num_envs"], found["vectorization_mode"], found["autoreset_mode"]) == (lanes, "sync", autoreset)
    ended = assert_equal_to(local(env_id, lanes, "sync", autoreset), server, env, form, 45)
    found = server.get(f"{env}/").json
    assert found["episodes"] == ended > 0
    assert found["steps"] + (autoreset == "next_step") * ended in range(45 * lanes, 46 * lanes)


@pytest.mark.parametrize("autoreset", list(AUTORESET))
def test_an_async_batch_does_what_a_sync_one_does(process_server: Server, autoreset: str) -> None:
    """A process for each lane changes nothing in what comes back."""
    env = process_server.create("CartPole-v1", num_envs=2, vectorization_mode="async", autoreset_mode=autoreset)
    assert process_server.get(f"{env}/").json["vectorization_mode"] == "async"
    assert assert_equal_to(local("CartPole-v1", 2, "sync", autoreset), process_server, env, MSGPACK, 45)


@FORMS
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Taxi-v4"])
def test_auto_is_the_entry_point_of_the_environment_else_sync(server: Server, env_id: str, form: str) -> None:
    """CartPole has a vector implementation of its own and is made by it; Pendulum and Taxi have none."""
    mode = "vector_entry_point" if env_id == "CartPole-v1" else "sync"
    env = server.create(env_id, num_envs=3)
    found = server.get(f"{env}/").json
    assert (found["vectorization_mode"], found["autoreset_mode"]) == (mode, "next_step")
    assert_equal_to(local(env_id, 3, mode), server, env, form, 30)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
def test_auto_with_an_autoreset_mode_is_sync_and_with_wrappers_too(server: Server, autoreset: str) -> None:
    """A vector entry point takes neither, so that asking for one, or a registration with the other, makes lanes."""
    env = server.create("CartPole-v1", num_envs=1, autoreset_mode=autoreset)
    found = server.get(f"{env}/").json
    assert (found["vectorization_mode"], found["autoreset_mode"]) == ("sync", autoreset)
    env = server.create("tests/Wrapped-v0", num_envs=2, autoreset_mode=autoreset)
    assert server.get(f"{env}/").json["vectorization_mode"] == "sync"
    env = server.create("tests/Wrapped-v0", num_envs=2)
    assert server.get(f"{env}/").json["vectorization_mode"] == "sync"
    server.post(f"{env}/batch/reset/")
    assert server.post(f"{env}/batch/step/", {"actions": ["", ""]}).json["rewards"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"vectorization_mode": "vector_entry_point", "autoreset_mode": "same_step"}, "autoreset"),
        ({"vectorization_mode": "vector_entry_point", "env_id": "tests/Wrapped-v0"}, "wrappers"),
        ({"vectorization_mode": "vector_entry_point", "env_id": "Pendulum-v1"}, "no vector entry point"),
        ({"vectorization_mode": "sync", "env_id": "tests/OwnBatch-v0"}, "vector_entry_point"),
        ({"autoreset_mode": "disabled", "env_id": "tests/OwnBatch-v0"}, "vector_entry_point"),
        ({"vectorization_mode": "vector_entry_point", "library": "gym"}, "sync"),
        ({"vectorization_mode": "nope"}, "vectorization_mode"),
        ({"autoreset_mode": "nope"}, "autoreset_mode"),
        ({"num_envs": 0}, "num_envs"),
        ({"num_envs": "2"}, "num_envs"),
        ({"num_envs": None, "vectorization_mode": "sync"}, "num_envs"),
        ({"num_envs": None, "autoreset_mode": "disabled"}, "num_envs"),
        ({"kwargs": {"num_envs": 3}}, "num_envs"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_a_400_that_says_why(server: Server, options: dict[str, Any], word: str) -> None:
    """No batch is made in another way than the one asked for."""
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "num_envs": 2, **options})
    assert answer.status == 400
    assert word in answer.message


def test_async_takes_the_process_engine(server: Server) -> None:
    """In the engine `inline` it is a 400 that says with what to start the server."""
    inline = server.get(f"{server.create()}/").json["engine"] == "inline"
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "num_envs": 2, "vectorization_mode": "async"})
    assert answer.status == (400 if inline else 200)
    assert not inline or "--engine process" in answer.message


@pytest.mark.parametrize("env_id", ["tests/Scribe-v0", "tests/Words-v0"])
@pytest.mark.parametrize("autoreset", ["same_step", "disabled", None])
def test_async_with_observations_of_no_fixed_layout(process_server: Server, env_id: str, autoreset: str | None) -> None:
    """Text and Graph do what they do in `sync`, also in `next_step`, which Gymnasium gets wrong with them."""
    create = {"env_id": env_id, "num_envs": 2, "vectorization_mode": "async", "autoreset_mode": autoreset}
    instances = [process_server.create(**{**create, "vectorization_mode": mode}) for mode in ("sync", "async")]
    for operation, body in (
        ("reset", {"seed": 0}),
        *[("step", {"actions": [[0.5, 0], [0, 1]]})] * 3,
        ("reset", {"seed": 0, "reset_mask": [False, True]}),
        ("reset", {"seed": 0}),
        *[("step", {"actions": [[0.5, 0], [0, 1]]})] * 2,
    ):
        sync, done = (process_server.post(f"{env}/batch/{operation}/", body).json for env in instances)
        for each in (sync, done):
            each["infos"].pop("final_obs", None)  # in `sync` the environment has written the next one into it
        assert sync == done
    assert done["observations"]["word"] == ["steps 2"] * 2


def test_an_operation_for_the_other_kind_of_instance_is_a_409_that_names_the_right_one(server: Server) -> None:
    """A batch has no single step, reset or rollout, and a single environment no batch operations."""
    env, single = server.create("CartPole-v1", num_envs=2), server.create("CartPole-v1")
    answers = {
        "stepBatch": server.post(f"{env}/step/", {"action": 0}),
        "resetBatch": server.post(f"{env}/reset/"),
        "stepBatch ": server.post(f"{env}/rollout/", {"actions": [0]}),
        "resetEnv": server.post(f"{single}/batch/reset/"),
        "stepEnv": server.post(f"{single}/batch/step/", {"actions": [0]}),
    }
    for name, answer in answers.items():
        assert answer.status == 409, name
        assert name.strip() in answer.message
    assert server.get(f"{env}/action_space/sample").json["action"] in (0, 1)
    assert server.get(f"{env}/action_space/contains/1").json == {"member": True}
    assert server.get(f"{env}/observation_space/").json["info"]["shape"] == [4]


@FORMS
def test_a_batch_of_gym_is_its_environments_side_by_side(server: Server, form: str) -> None:
    """Lane i is what gym makes with the seed of the batch plus i, and `sync` is its only mode."""
    env = server.create("Pendulum-v1", library="gym", num_envs=2, max_episode_steps=4)
    found = server.get(f"{env}/").json
    assert found["library"] == "gym 0.26.2"
    assert (found["vectorization_mode"], found["autoreset_mode"]) == ("sync", "next_step")
    gym = gym_compat.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lanes = [gym.make("Pendulum-v1", disable_env_checker=True, max_episode_steps=4) for _ in range(2)]
    starts = np.stack([lane.reset(seed=9 + number)[0] for number, lane in enumerate(lanes)])
    answer = read(send(server, f"{env}/batch/reset/", {"seed": 9}, form), form)
    assert same(answer["observations"], told(starts, form))
    for step in range(4):
        actions = np.array([[0.3], [-1.7 + step / 10]], np.float32)
        results = [lane.step(action.astype(np.float64)) for lane, action in zip(lanes, actions, strict=True)]
        answer = read(send(server, f"{env}/batch/step/", {"actions": actions}, form), form)
        assert same(answer["observations"], told(np.stack([result[0] for result in results]), form))
        assert same(answer["rewards"], told(np.array([result[1] for result in results]), form))
        assert np.asarray(answer["truncated"]).tolist() == [step == 3] * 2
    answer = read(send(server, f"{env}/batch/step/", {"actions": actions}, form), form)
    assert same(answer["observations"], told(np.stack([lane.reset()[0] for lane in lanes]), form))
    assert server.get(f"{env}/").json["steps"] == 8


@FORMS
def test_every_kind_of_space_goes_through_a_batch_and_back(server: Server, form: str) -> None:
    """Dict, Tuple, Text, Sequence, Graph and OneOf are lanes of actions, and come back as observations unchanged."""
    env = server.create("tests/Everything-v0", num_envs=2)
    batch = gymnasium.vector.SyncVectorEnv([troublemakers.Everything] * 2)
    encode = encoder(batch.action_space)
    assert same(
        read(send(server, f"{env}/batch/reset/", {"seed": 0}, form), form)["observations"],
        told(encode(batch.reset(seed=0)[0]), form),
    )
    batch.action_space.seed(1)
    for _ in range(5):
        actions = told(encode(batch.action_space.sample()), form)
        answer = read(send(server, f"{env}/batch/step/", {"actions": actions}, form), form)
        assert same(answer["observations"], actions)
        assert np.isnan(np.array(answer["rewards"], float)).all()


@FORMS
def test_what_ended_an_episode_is_told_as_final_obs_in_the_form_of_an_observation(server: Server, form: str) -> None:
    """`same_step` gives the first observation of the next episode, and the last one beside it with its info."""
    env = server.create("tests/Scribe-v0", num_envs=2, autoreset_mode="same_step")
    send(server, f"{env}/batch/reset/", {}, form)
    for _ in range(3):
        answer = read(send(server, f"{env}/batch/step/", {"actions": [[0.5, 0], [1, 1]]}, form), form)
    infos = answer["infos"]
    assert np.asarray(answer["terminated"]).tolist() == [True, True]
    assert answer["observations"]["word"] == ["steps 0"] * 2
    assert [each["word"] for each in infos["final_obs"]] == ["steps 3"] * 2
    assert list(infos["final_obs"][0]["graph"]) == ["nodes"]
    assert np.asarray(infos["final_info"]["steps"]).tolist() == [3, 3]
    assert infos["final_info"]["word"] == ["xxx"] * 2
    assert np.asarray(infos["_final_obs"]).tolist() == [True, True]


def test_a_disabled_autoreset_leaves_the_reset_of_ended_lanes_to_the_mask(server: Server) -> None:
    """A step with an ended lane is a 409 that names it; the reset of its mask leaves the other lanes where they are."""
    env = server.create("CartPole-v1", num_envs=3, autoreset_mode="disabled", seed=1)
    first = server.post(f"{env}/batch/reset/", {"reset_mask": [True, False, True]})
    assert first.status == 409
    server.post(f"{env}/batch/reset/")
    ended = [False]
    while not any(ended):
        answer = server.post(f"{env}/batch/step/", {"actions": [1, 0, 1]}).json
        ended = answer["terminated"]
    steps, refused = server.get(f"{env}/").json["steps"], server.post(f"{env}/batch/step/", {"actions": [1, 0, 1]})
    assert refused.status == 409
    assert refused.json["lanes"] == [lane for lane in range(3) if ended[lane]]
    assert server.get(f"{env}/").json["steps"] == steps
    reset = server.post(f"{env}/batch/reset/", {"reset_mask": ended}).json["observations"]
    assert [new != old for new, old in zip(reset, answer["observations"], strict=True)] == ended
    assert server.post(f"{env}/batch/step/", {"actions": [1, 0, 1]}).status == 200
    for mask in ([True], [False] * 3, [0, 1, 1], "x", [True] * 4):
        assert server.post(f"{env}/batch/reset/", {"reset_mask": mask}).status == 400, mask
    own = server.create("CartPole-v1", num_envs=2)
    assert server.post(f"{own}/batch/reset/", {"reset_mask": [True, True]}).status == 400


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_seeds_make_batches_repeatable(server: Server, mode: str) -> None:
    """A seed, 0 too, at the creation is that of the first reset alone; `seeds` has one for each lane."""
    create = {"num_envs": 2, "vectorization_mode": mode}
    env, twin = (server.create("CartPole-v1", seed=0, **create) for _ in range(2))
    assert server.post(f"{env}/batch/reset/", {"seeds": [1]}).status == 400
    assert server.post(f"{env}/batch/reset/", {"seeds": [1, 2], "seed": 1}).status == 400
    assert server.post(f"{env}/batch/reset/", {"options": {"low": "x"}}).status == 400
    starts = [[server.post(f"{each}/batch/reset/").body for _ in range(3)] for each in (env, twin)]
    assert starts[0] == starts[1]
    assert len(set(starts[0])) == 3
    assert server.post(f"{env}/batch/reset/", {"seed": 0}).body == starts[0][0]
    samples = [[server.get(f"{each}/action_space/sample").body for _ in range(9)] for each in (env, twin)]
    assert samples[0] == samples[1]
    if mode == "sync":
        lanes = [server.post(f"{env}/batch/reset/", {"seeds": [1, seed]}).json["observations"] for seed in (0, None)]
        assert lanes[0][0] == lanes[1][0]
        alone = server.create("CartPole-v1")
        assert server.post(f"{alone}/reset/", {"seed": 0}).json["observation"] == lanes[0][1]
        assert server.post(f"{alone}/reset/", {"seed": 1}).json["observation"] == lanes[0][0]


@pytest.mark.parametrize(
    ("actions", "word"),
    [([1], "2"), ([1, 0, 1], "2"), ([], "2"), (1, "2"), ([0, 2], "lane 1"), ([-1, 0], "lane 0"), ([0, "1"], "lanes"),
     ([0, None], "lanes"), ({"0": 1}, "lanes"), ([[0, 1]], "lanes"), (None, "lanes"), ([0, 0.5], "lanes")],
)  # fmt: skip
def test_actions_that_are_no_batch_are_a_400_and_nothing_is_executed(server: Server, actions: Any, word: str) -> None:
    """A wrong length says how many there are to be, and an action outside of the space names its lane."""
    env = server.create("CartPole-v1", num_envs=2)
    assert server.post(f"{env}/batch/step/", {"actions": [0, 1]}).status == 409
    server.post(f"{env}/batch/reset/")
    answer = server.post(f"{env}/batch/step/", {"actions": actions})
    assert answer.status == 400
    assert word in answer.message
    assert server.get(f"{env}/").json["steps"] == 0


@FORMS
def test_a_vector_implementation_with_arrays_of_another_library_is_served(server: Server, form: str) -> None:
    """Anything with `__array__` comes as an array, float32 rewards stay so, and an untold autoreset mode is null."""
    for reward, dtype in (("float32", np.float32), ("float64", np.float64), ("int64", np.float64)):
        env = server.create("tests/OwnBatch-v0", num_envs=2, kwargs={"reward": reward})
        found = server.get(f"{env}/").json
        assert (found["vectorization_mode"], found["autoreset_mode"]) == ("vector_entry_point", None)
        answer = read(send(server, f"{env}/batch/reset/", {"seed": 0}, form), form)
        assert same(answer["observations"], told(np.full((2, 2), 7, np.float32), form))
        assert answer["infos"] == {"seed": 0, "options": None}
        answer = read(send(server, f"{env}/batch/step/", {"actions": [0, 2]}, form), form)
        assert same(answer["rewards"], told(np.array([0, 1], dtype), form))
        assert same(answer["terminated"], told(np.array([False, True]), form))
        assert same(answer["infos"]["a"], told(np.array([0, 2]), form))


@pytest.mark.parametrize("env_id", [TROUBLE, "tests/OwnBatchRaising-v0"])
def test_a_batch_whose_lane_raises_is_a_502_and_goes_on(server: Server, env_id: str) -> None:
    """Unless the lanes are processes, what a lane raises ends the step alone."""
    good, bad = (["", ""], ["", "raise two is too much"]) if env_id == TROUBLE else ([0, 0], [0, 2])
    env = server.create(env_id, num_envs=2)
    server.post(f"{env}/batch/reset/")
    answer = server.post(f"{env}/batch/step/", {"actions": bad})
    assert answer.status == 502
    assert "two is too much" in answer.message
    assert server.post(f"{env}/batch/step/", {"actions": good}).status == 200


@MODES
@pytest.mark.parametrize("action", ["exit 7", "hang", "hang_uninterruptibly", "raise no good", "sys_exit"])
def test_a_lane_that_fails_is_told_and_leaves_no_process(process_server: Server, mode: str, action: str) -> None:
    """A lane that hangs is a 504, one that dies a 502; what ended the batch is a 410 from then on."""
    before = process_server.pids()
    env = process_server.create(TROUBLE, num_envs=2, vectorization_mode=mode, call_timeout=0.7)
    process_server.post(f"{env}/batch/reset/")
    pids = process_server.post(f"{env}/batch/step/", {"actions": ["pid", "pid"]}).json["infos"]["pid"]
    assert len({*pids, os.getpid()}) == (3 if mode == "async" else 2)
    answer = process_server.post(f"{env}/batch/step/", {"actions": ["", action]})
    assert answer.status == (504 if "hang" in action else 502)
    assert "raise" not in action or ("ValueError" in answer.message and "no good" in answer.message)
    assert "None" not in answer.message
    lost = mode == "async" or action not in ("raise no good", "sys_exit")
    later = process_server.post(f"{env}/batch/step/", {"actions": ["", ""]})
    assert later.status == (410 if lost else 200), later.body
    process_server.post(f"{env}/close/")
    eventually(lambda: process_server.pids() <= before and not any(map(psutil.pid_exists, pids)))


@pytest.mark.parametrize("mask", [[[True], [True, False]], "yes", [1, 0], [], [[True, False]], {"a": 1}])
def test_a_mask_that_is_none_is_refused(server: Server, mask: Any) -> None:
    """What `options` hold as a reset_mask is the caller's mistake where it is not a boolean for each lane."""
    env = server.create("CartPole-v1", num_envs=2, vectorization_mode="sync")
    server.post(f"{env}/batch/reset/")
    answer = server.post(f"{env}/batch/reset/", {"options": {"reset_mask": mask}})
    assert answer.status == 400
    assert "2 booleans" in answer.message


def test_an_implementation_of_its_own_takes_one_seed(server: Server) -> None:
    """The refusal of a seed for each lane says what to do."""
    env = server.create("CartPole-v1", num_envs=2)
    answer = server.post(f"{env}/batch/reset/", {"seeds": [1, 2]})
    assert answer.status == 400
    assert "takes one seed" in answer.message


@pytest.mark.parametrize(
    ("options", "setting"),
    [({"num_envs": 4097}, "max_lanes"), ({"num_envs": 65, "vectorization_mode": "async"}, "max_async_lanes")],
)
def test_a_batch_over_a_limit_is_refused_with_its_name(server: Server, options: dict[str, Any], setting: str) -> None:
    """The 413 names the limit and the option that raises it."""
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", **options})
    assert answer.status == 413
    assert answer.json["setting"] == setting
    assert f"--{setting.replace('_', '-')}" in answer.message


def test_a_seed_of_any_size_is_digits(server: Server) -> None:
    """`wide_seed` and `wide_seeds` take decimal digits, seed as numbers do, and are not to be given with them."""
    env = server.create("CartPole-v1", num_envs=2, vectorization_mode="sync")
    few = server.post(f"{env}/batch/reset/", {"seeds": [7, 8]}).json
    assert server.post(f"{env}/batch/reset/", {"wide_seeds": ["7", "8"]}).json == few
    assert server.post(f"{env}/batch/reset/", {"wide_seed": "7"}).json == few
    assert server.post(f"{env}/batch/reset/", {"wide_seed": "9" * 39}).json != few
    for body in ({"seed": 1, "wide_seed": "1"}, {"wide_seed": "0x1"}, {"wide_seed": "1" * 41}, {"wide_seeds": ["1"]}):
        assert server.post(f"{env}/batch/reset/", body).status == 400
