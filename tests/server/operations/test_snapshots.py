"""Snapshots over HTTP: what is restored has the same future, to the bit, and nothing else is touched."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server import load_results
from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv
from gym_http_server.errors import UnknownSnapshotError
from gym_http_server.runtime.messages import JSON, MSGPACK, CreateRequest
from gym_http_server.runtime.served.opening import open_served
from tests.conftest import IMPORTS, KINDS, start
from tests.support.handing import Client as Connection
from tests.support.handing import get, handed, owner_of, post, step
from tests.support.serving import Answer, Server

PACKED = {"Accept": MSGPACK}
TROUBLE = "tests/Troublemaker-v0"


def create(server: Server, env: str) -> str:
    """Save the state; return the path of the snapshot."""
    answer = server.post(f"{env}/snapshots/")
    assert answer.status == 200, answer.body
    return f"{env}/snapshots/{answer.json['snapshot_id']}"


def restore(server: Server, snapshot: str, accept: str = MSGPACK) -> Answer:
    answer = server.post(f"{snapshot}/restore/", headers={"Accept": accept})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == accept
    return answer


def play(server: Server, env: str, steps: int, **seeded: Any) -> list[bytes]:
    """Return all that a number of sampled steps are answered, with a reset after each episode, to the bit."""
    told = []
    if seeded:
        told.append(server.post(f"{env}/reset/", seeded, headers=PACKED).body)
    for _ in range(steps):
        action = server.get(f"{env}/action_space/sample").json
        answer = server.post(f"{env}/step/", action, headers=PACKED)
        assert answer.status == 200, answer.body
        told += [json.dumps(action).encode(), answer.body]
        if b"\xa4done\xc3" in answer.body:
            told.append(server.post(f"{env}/reset/", headers=PACKED).body)
    return told


COPYABLE: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {}),
    ("FrozenLake-v1", {"kwargs": {"is_slippery": True}}),
    ("ALE/Pong-v5", {}),
    ("ALE/Pong-v5", {"kwargs": {"obs_type": "ram", "repeat_action_probability": 0.5, "frameskip": 1}}),
    ("ALE/MontezumaRevenge-v5", {"kwargs": {"obs_type": "grayscale"}, "max_episode_steps": 40}),
    ("Pendulum-v1", {"max_episode_steps": 20}),
    ("Acrobot-v1", {}),
    ("MountainCarContinuous-v0", {}),
    ("Blackjack-v1", {}),
    ("Taxi-v4", {"max_episode_steps": 20}),
    ("CliffWalking-v1", {}),
    ("Hopper-v5", {}),
    ("Ant-v5", {}),
    ("CartPole-v1", {"library": "gym"}),
    ("FrozenLake-v1", {"library": "gym"}),
    ("Pendulum-v1", {"library": "gym"}),
    ("tests/Scribe-v0", {}),
    ("tests/Everything-v0", {}),
    ("tests/Short-v0", {}),
    ("CartPole-v1", {"autoreset": True}),
    (
        "Pendulum-v1",
        {
            "max_episode_steps": 20,
            "wrappers": [
                {"name": "NormalizeObservation"},
                {"name": "NormalizeReward"},
                {"name": "RescaleAction", "kwargs": {"min_action": -1, "max_action": 1}},
                {"name": "FrameStackObservation", "kwargs": {"stack_size": 3}},
                {"name": "TimeLimit", "kwargs": {"max_episode_steps": 15}},
            ],
        },
    ),
    (
        "ALE/Pong-v5",
        {
            "kwargs": {"frameskip": 1, "repeat_action_probability": 0.5},
            "wrappers": [
                {"name": "AtariPreprocessing", "kwargs": {"noop_max": 3}},
                {"name": "FrameStackObservation", "kwargs": {"stack_size": 4}},
            ],
        },
    ),
    (
        "CartPole-v1",
        {"wrappers": [{"name": "AddRenderObservation"}, {"name": "ResizeObservation", "kwargs": {"shape": [40, 60]}}]},
    ),
    (
        "Acrobot-v1",
        {
            "wrappers": [
                {"name": "StickyAction", "kwargs": {"repeat_action_probability": 0.5}},
                {"name": "DelayObservation", "kwargs": {"delay": 2}},
            ]
        },
    ),
]


@pytest.mark.parametrize(("env_id", "options"), COPYABLE, ids=[f"{each[0]}-{at}" for at, each in enumerate(COPYABLE)])
def test_what_is_restored_has_the_same_future_to_the_bit(server: Server, env_id: str, options: dict[str, Any]) -> None:
    """Observations, rewards, infos, sampled actions and later episodes, also after a reset with a seed, each time."""
    env = server.create(env_id, seed=1, **options)
    start_of = server.post(f"{env}/reset/", headers=PACKED).body
    first = create(server, env)
    before = [start_of, *play(server, env, 12)]
    second = create(server, env)
    future = play(server, env, 40)
    for seed in (5, 6):
        restore(server, second)
        assert play(server, env, 40) == future
        play(server, env, 5, seed=seed)
        restore(server, first)
        assert play(server, env, 12) == before[1:]
        assert play(server, env, 40) == future
    restore(server, second)
    twin = server.create(env_id, seed=1, **options)
    server.post(f"{twin}/reset/")
    assert play(server, twin, 12) == before[1:]
    assert play(server, twin, 40) == future


@pytest.mark.parametrize("accept", [JSON, MSGPACK])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Pong-v5", "tests/Scribe-v0", "Taxi-v4"])
def test_the_observation_of_that_moment_is_answered(server: Server, env_id: str, accept: str) -> None:
    """It comes as the reset or the step before had it, in either form."""
    env = server.create(env_id, seed=1)
    headers = {"Accept": accept}
    observed = server.post(f"{env}/reset/", headers=headers).body
    snapshots = [create(server, env)]
    action = server.get(f"{env}/action_space/sample").json
    told = [observed, server.post(f"{env}/step/", action, headers=headers).body]
    snapshots.append(create(server, env))
    server.post(f"{env}/step/", action)
    for snapshot, reply in [*zip(snapshots, told, strict=True)] * 2:
        found = restore(server, snapshot, accept).body
        # The first member, as there; after it at most the types.
        prefix, types = (b'{"observation":', b',"types":') if accept == JSON else (b"\xabobservation", b"\xa5types")
        observation = found[found.index(prefix) + len(prefix) :].partition(types)[0]
        assert observation.removesuffix(b"}" if accept == JSON else b"") in reply


def test_a_snapshot_is_restored_after_the_episode_has_ended(server: Server) -> None:
    """The episode goes on from where it was, for single steps and for a rollout."""
    env = server.create("CartPole-v1", seed=1)
    server.post(f"{env}/reset/")
    snapshot = create(server, env)
    ended = server.post(f"{env}/rollout/", {"actions": [1] * 30}).json
    assert any(ended["terminated"])
    restore(server, snapshot)
    again = server.post(f"{env}/rollout/", {"actions": [1] * 30}).json
    assert again == ended
    restore(server, snapshot)
    assert server.post(f"{env}/step/", {"action": 1}).json["observation"] == ended["observations"][1]


def test_there_is_nothing_to_save_before_the_first_reset(server: Server) -> None:
    """It is a 409 that says to reset first."""
    env = server.create()
    answer = server.post(f"{env}/snapshots/")
    assert answer.status == 409
    assert answer.json["type"] == "urn:gym-http-server:problem:reset-needed"
    assert server.get(f"{env}/snapshots/").json["snapshots"] == []


def test_an_unknown_snapshot_is_a_404(server: Server) -> None:
    """One that never was, one that was deleted, and one of another instance; nothing changes."""
    env, other = server.create(seed=1), server.create(seed=1)
    for each in (env, other):
        server.post(f"{each}/reset/")
    snapshot = create(server, env)
    expected = server.post(f"{other}/step/", {"action": 1}).body
    for path in (
        f"{env}/snapshots/0000000f",
        f"{env}/snapshots/nope",
        f"{env}/snapshots/%C3%A4",
        f"{other}/snapshots/00000001",
    ):
        for method, end in (("POST", "/restore/"), ("DELETE", "/")):
            answer = server.request(method, path + end)
            assert answer.status == 404
            assert answer.json["type"] == "urn:gym-http-server:problem:unknown-snapshot"
            assert "list them" in answer.message
    deleted = server.request("DELETE", f"{snapshot}/")
    assert (deleted.status, deleted.json) == (200, {})
    assert server.request("DELETE", f"{snapshot}/").status == 404
    assert server.post(f"{snapshot}/restore/").status == 404
    assert server.post(f"{env}/step/", {"action": 1}).body == expected


def test_of_an_unknown_instance_every_operation_is_a_400(server: Server) -> None:
    """As for all others, by the v1 contract."""
    env = "/v1/envs/deadbeef"
    for method, path in (
        ("GET", "/transitions/"), ("GET", "/snapshots/"), ("POST", "/snapshots/"), ("DELETE", "/snapshots/00000001/"),
        ("POST", "/snapshots/00000001/restore/"),
    ):  # fmt: skip
        assert server.request(method, env + path).status == 400


def test_snapshots_are_listed_the_oldest_first(server: Server) -> None:
    """With the moment and the number of steps at which each was made, and the limit."""
    before = datetime.now(UTC).timestamp()
    env = server.create()
    server.post(f"{env}/reset/")
    made = []
    for _ in range(3):
        made.append(create(server, env).rsplit("/", 1)[1])
        server.post(f"{env}/step/", {"action": 0})
    server.request("DELETE", f"{env}/snapshots/{made[1]}/")
    found = server.get(f"{env}/snapshots/").json
    assert found["limit"] == 64
    assert [each["snapshot_id"] for each in found["snapshots"]] == [made[0], made[2]]
    assert [each["steps"] for each in found["snapshots"]] == [0, 2]
    moments = [datetime.fromisoformat(each["created_at"]).timestamp() for each in found["snapshots"]]
    assert before - 1 < moments[0] <= moments[1] < datetime.now(UTC).timestamp() + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0, 2])
def test_one_over_the_limit_is_a_429_that_names_it(kind: str, limit: int) -> None:
    """It says how to raise the limit, and there is room again when one is deleted."""
    with start(kind, "--max-snapshots", str(limit)) as server:
        env, other = server.create(), server.create()
        for each in (env, other):
            server.post(f"{each}/reset/")
        made = [create(server, env) for _ in range(limit)]
        answer = server.post(f"{env}/snapshots/")
        assert answer.status == 429
        assert (answer.json["limit"], answer.json["setting"]) == (limit, "max_snapshots")
        assert "--max-snapshots" in answer.message
        assert server.get(f"{env}/snapshots/").json["limit"] == limit
        if limit:
            create(server, other)
            restore(server, made[0])
            assert server.request("DELETE", f"{made[0]}/").status == 200
            create(server, env)


def test_other_instances_are_not_touched(server: Server) -> None:
    """What one restores is its own, and so are the snapshots."""
    one, other, twin = (server.create("FrozenLake-v1", seed=seed) for seed in (1, 2, 2))
    for each in (one, other, twin):
        server.post(f"{each}/reset/")
    snapshot = create(server, one)
    told = []
    for _ in range(4):
        play(server, one, 3)
        told += play(server, other, 3)
        restore(server, snapshot)
    assert play(server, twin, 12) == told
    assert server.get(f"{other}/snapshots/").json["snapshots"] == []


@pytest.mark.parametrize(
    ("env_id", "options", "words"),
    [
        ("LunarLander-v3", {}, "SwigPyObject"),
        ("BipedalWalker-v3", {}, "SwigPyObject"),
        ("LunarLander-v2", {"library": "gym"}, "SwigPyObject"),
        ("CarRacing-v3", {}, "SwigPyObject"),
        ("tests/Holder-v0", {"kwargs": {"holds": "file"}}, r"Holder.held: cannot copy 'TextIOWrapper'"),
        ("tests/Holder-v0", {"kwargs": {"holds": "generator"}}, r"Holder.held: cannot copy 'generator'"),
        ("tests/Holder-v0", {"kwargs": {"holds": "thread"}}, r"Holder.held: cannot copy 'Thread'"),
        ("tests/Holder-v0", {"kwargs": {"holds": "library"}}, r"Holder.held: cannot copy 'CDLL'"),
    ],
)
def test_an_environment_that_cannot_be_copied_is_a_409_that_says_why(
    server: Server, env_id: str, options: dict[str, Any], words: str
) -> None:
    """It goes on as if nothing had been asked; Box2D's could be copied by Python, and would be wrong."""
    env, twin = (server.create(env_id, seed=1, **options) for _ in range(2))
    for each in (env, twin):
        server.post(f"{each}/reset/")
    told = []
    for _ in range(3):
        answer = server.post(f"{env}/snapshots/")
        assert answer.status == 409
        assert answer.json["type"] == "urn:gym-http-server:problem:not-copyable"
        assert words in answer.message
        told += play(server, env, 3)
    assert play(server, twin, 9) == told
    assert server.get(f"{env}/snapshots/").json["snapshots"] == []


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("CartPole-v1", {}), ("FrozenLake-v1", {}), ("FrozenLake-v1", {"render_mode": "ansi"}), ("Taxi-v4", {}),
        ("ALE/Pong-v5", {}), ("ALE/Pong-v5", {"kwargs": {"obs_type": "ram"}}), ("Pendulum-v1", {}), ("Blackjack-v1", {}),
        ("Pendulum-v1", {"library": "gym"}),
    ],
)  # fmt: skip
def test_the_frame_after_a_restoration_is_that_of_the_snapshot(
    server: Server, env_id: str, options: dict[str, Any]
) -> None:
    """And each one after it is right as well; so is the first of the next episode."""
    env = server.create(env_id, seed=1, **options)
    server.post(f"{env}/reset/")
    play(server, env, 4)

    def frame() -> bytes:
        answer = server.get(f"{env}/render/")
        assert answer.status == 200, answer.body
        return answer.body

    def film() -> list[bytes]:
        frames = [frame(), frame()]
        for _ in range(3):
            play(server, env, 2)
            frames.append(frame())
        server.post(f"{env}/reset/")
        return [*frames, frame()]

    frame()  # FrozenLake's elf looks where the latest frames had it look
    snapshot = create(server, env)
    first = film()
    assert len(set(first)) > 1
    for seed in (7, 8):
        server.post(f"{env}/reset/", {"seed": seed})
        play(server, env, 9)
        frame()
        restore(server, snapshot)
        assert film() == first


def test_the_frame_of_an_episode_that_follows_a_restoration_at_once_is_its_own(server: Server) -> None:
    """What was kept to be shown of the snapshot is shown no more, though no step was taken since."""
    env = server.create("ALE/Pong-v5", seed=1)
    server.post(f"{env}/reset/", {"seed": 1})
    first = server.get(f"{env}/render/").body
    play(server, env, 30)
    snapshot = create(server, env)
    restore(server, snapshot)
    assert server.get(f"{env}/render/").body != first
    server.post(f"{env}/reset/", {"seed": 1})
    assert server.get(f"{env}/render/").body == first


def test_a_snapshot_of_a_restored_frame_has_it_too(server: Server) -> None:
    """The screen of an emulator shows another frame at that moment."""
    env = server.create("ALE/Pong-v5", seed=1)
    server.post(f"{env}/reset/")
    first = server.get(f"{env}/render/").body
    snapshot = create(server, env)
    play(server, env, 5)
    restore(server, snapshot)
    second = create(server, env)
    play(server, env, 5)
    restore(server, second)
    assert server.get(f"{env}/render/").body == first


NOISE = {"name": "AddWhiteNoise", "kwargs": {"probability_of_noise_per_pixel": 0.5}}
SMALL = {"name": "ResizeObservation", "kwargs": {"shape": [8, 8]}}


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "CartPole-v1"])
@pytest.mark.parametrize("wrappers", [[NOISE], [NOISE, {"name": "AddRenderObservation"}, SMALL]])
def test_random_numbers_that_frames_are_drawn_with_are_part_of_the_state(
    server: Server, env_id: str, wrappers: list[dict[str, Any]]
) -> None:
    """To make a snapshot changes no later observation and no later frame, nor does to restore it."""
    env, undisturbed = (server.create(env_id, seed=5, wrappers=wrappers) for _ in range(2))

    def future(env: str) -> list[bytes]:
        frames = [server.get(f"{env}/render/").body]
        steps = play(server, env, 3)
        return [*frames, *steps, server.get(f"{env}/render/").body, *play(server, env, 3)]

    for each in (env, undisturbed):
        server.post(f"{each}/reset/")
        play(server, each, 2)
    snapshot = create(server, env)
    expected = future(undisturbed)
    assert future(env) == expected
    for _ in range(2):
        restore(server, snapshot)
        assert future(env) == expected


def test_state_beside_the_environment_is_restored_in_a_process_of_its_own(process_server: Server) -> None:
    """What its class, its module and the random generators of the process hold is part of it."""
    env = process_server.create("tests/Beside-v0")
    process_server.post(f"{env}/reset/")
    play(process_server, env, 3)
    snapshot = create(process_server, env)
    future = play(process_server, env, 8)
    for _ in range(2):
        restore(process_server, snapshot)
        assert play(process_server, env, 8) == future


def test_the_random_generators_of_the_server_are_everybodys() -> None:
    """In the inline engine a restoration turns back no generator that others draw from."""
    with start("inline") as server:
        env = server.create("tests/Beside-v0", seed=1)
        server.post(f"{env}/reset/")
        snapshot = create(server, env)
        first = server.post(f"{env}/step/", {"action": 0}).json["observation"]
        restore(server, snapshot)
        again = server.post(f"{env}/step/", {"action": 0}).json["observation"]
        assert again[0] == first[0] + 1
        assert again[2:] != first[2:]


@pytest.mark.parametrize("body", [b"null", b'""', b"[]", b"{}", b"", None, b"{", b"\x80"])
@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", MSGPACK, None])
def test_any_body_is_no_body(server: Server, body: bytes | None, media_type: str | None) -> None:
    """Whatever a client sends where nothing is to be said is ignored, as for the other operations of that kind."""
    env = server.create()
    server.post(f"{env}/reset/")
    headers = {"Content-Type": media_type} if media_type else {}
    for path in ("/snapshots", "/snapshots/", "/snapshots/00000001/restore", "/snapshots/00000001/restore/"):
        assert server.post(env + path, body, headers=headers).status == 200
    assert server.request("DELETE", f"{env}/snapshots/00000002", body, headers=headers).json == {}
    assert len(server.get(f"{env}/snapshots").json["snapshots"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_over_the_limit_is_a_413_all_the_same(kind: str) -> None:
    """Nothing is executed then."""
    with start(kind, "--max-body", "1000") as server:
        env = server.create()
        server.post(f"{env}/reset/")
        answer = server.post(f"{env}/snapshots/", b"x" * 1001)
        assert (answer.status, answer.json["setting"]) == (413, "max_body")
        assert server.get(f"{env}/snapshots/").json["snapshots"] == []
        snapshot = create(server, env)
        assert server.post(f"{snapshot}/restore/", b"x" * 1001).status == 413
        restore(server, snapshot)


def test_a_creation_that_is_sent_again_makes_one_snapshot(server: Server) -> None:
    """By its key the same id is answered, and no other body is taken; another key makes another."""
    env = server.create()
    server.post(f"{env}/reset/")
    for _ in range(3):
        answer = server.post(f"{env}/snapshots/", b"{}", headers={"Idempotency-Key": "a"})
        assert answer.json == {"snapshot_id": "00000001"}
    assert server.post(f"{env}/snapshots/", b"null", headers={"Idempotency-Key": "a"}).status == 422
    assert server.post(f"{env}/snapshots/", headers={"Idempotency-Key": "b"}).json == {"snapshot_id": "00000002"}
    assert server.post(f"{env}/reset/", headers={"Idempotency-Key": "a"}).status == 422
    assert len(server.get(f"{env}/snapshots/").json["snapshots"]) == 2


def test_what_was_executed_goes_on_being_counted(server: Server) -> None:
    """A restoration takes no step back from the use of the instance."""
    env = server.create("tests/Short-v0")
    server.post(f"{env}/reset/")
    snapshot = create(server, env)
    for _ in range(3):
        for _ in range(3):
            last = server.post(f"{env}/step/", {"action": "x"}).json
        assert (last["done"], last["observation"]) == (True, 3)
        restore(server, snapshot)
    found = server.get(f"{env}/").json
    assert (found["steps"], found["episodes"], found["state"]) == (9, 3, "ready")


def test_an_episode_that_is_restored_into_is_not_recorded(server: Server, tmp_path: Path) -> None:
    """Neither it nor its video; recording goes on with the next reset, of a batch with each lane's next episode."""
    for name, lanes in (("single", None), ("batch", 2)):
        prefix = "" if lanes is None else "batch/"
        action: dict[str, Any] = {"action": "x"} if lanes is None else {"actions": ["x"] * lanes}
        env = server.create("tests/Short-v0", num_envs=lanes, autoreset_mode=lanes and "disabled")
        directory = tmp_path / name
        body = {"directory": str(directory), "video_callable": 1}
        assert server.post(f"{env}/monitor/start/", body).status == 200

        def play_one(env: str = env, prefix: str = prefix, action: dict[str, Any] = action) -> None:
            for _ in range(3):
                assert server.post(f"{env}/{prefix}step/", action).status == 200

        server.post(f"{env}/{prefix}reset/")
        play_one()
        server.post(f"{env}/{prefix}reset/")
        snapshot = create(server, env)
        server.post(f"{env}/{prefix}step/", action)
        for _ in range(2):
            restore(server, snapshot)
            play_one()
        assert server.get(f"{env}/monitor/").json["episodes"] == (lanes or 1)
        server.post(f"{env}/{prefix}reset/")
        play_one()
        server.post(f"{env}/monitor/close/")
        found = load_results(directory)
        assert found["episode_lengths"] == [3] * 2 * (lanes or 1)
        assert len(found["videos"]) == 2 * (lanes or 1)
        assert not list(directory.glob("*.part"))


BATCHES: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {"vectorization_mode": "sync"}),
    ("CartPole-v1", {"vectorization_mode": "sync", "autoreset_mode": "same_step"}),
    ("CartPole-v1", {"vectorization_mode": "sync", "autoreset_mode": "disabled"}),
    ("CartPole-v1", {}),
    ("CartPole-v1", {"library": "gym"}),
    ("FrozenLake-v1", {"vectorization_mode": "sync"}),
    ("ALE/Pong-v5", {"vectorization_mode": "sync", "kwargs": {"obs_type": "ram"}}),
    (
        "Pendulum-v1",
        {"wrappers": [{"name": "NormalizeObservation"}, {"name": "TimeLimit", "kwargs": {"max_episode_steps": 9}}]},
    ),
    ("Hopper-v5", {"vectorization_mode": "sync"}),
    ("tests/Scribe-v0", {}),
]


@pytest.mark.parametrize(("env_id", "options"), BATCHES, ids=[f"{each[0]}-{at}" for at, each in enumerate(BATCHES)])
def test_every_lane_of_a_batch_is_restored(server: Server, env_id: str, options: dict[str, Any]) -> None:
    """Observations, rewards, infos, ends and automatic resets are the same again, in every autoreset mode."""
    env = server.create(env_id, num_envs=3, seed=1, **options)

    def play_batch(steps: int) -> list[bytes]:
        told = []
        for _ in range(steps):
            actions = [server.get(f"{env}/action_space/sample").json["action"] for _ in range(3)]
            answer = server.post(f"{env}/batch/step/", {"actions": actions}, headers=PACKED)
            if answer.status == 409:
                answer = server.post(f"{env}/batch/reset/", {"reset_mask": mask(answer)}, headers=PACKED)
            assert answer.status == 200, answer.body
            told.append(answer.body)
        return told

    def mask(answer: Answer) -> list[bool]:
        return [lane in answer.json["lanes"] for lane in range(3)]

    server.post(f"{env}/batch/reset/")
    assert create(server, env)
    last = play_batch(15)[-1]
    snapshot = create(server, env)
    future = play_batch(40)
    for seed in (5, 6):
        server.post(f"{env}/batch/reset/", {"seed": seed})
        play_batch(4)
        observed = restore(server, snapshot).body
        assert observed.removeprefix(b"\x81") in last
        assert play_batch(40) == future


def test_a_batch_of_processes_is_a_409(process_server: Server) -> None:
    """The message says with which vectorization mode to create it."""
    env = process_server.create("CartPole-v1", num_envs=2, vectorization_mode="async")
    process_server.post(f"{env}/batch/reset/")
    answer = process_server.post(f"{env}/snapshots/")
    assert answer.status == 409
    assert answer.json["type"] == "urn:gym-http-server:problem:instance-kind"
    assert "'sync'" in answer.message
    assert process_server.get(f"{env}/snapshots/").json["snapshots"] == []
    assert process_server.post(f"{env}/snapshots/00000001/restore/").status == 404
    assert process_server.post(f"{env}/batch/step/", {"actions": [0, 1]}).status == 200


def test_a_lost_environment_has_lost_its_snapshots(process_server: Server) -> None:
    """They were in its process: a 410 says so."""
    env = process_server.create(TROUBLE)
    process_server.post(f"{env}/reset/")
    snapshot = create(process_server, env)
    assert process_server.post(f"{env}/step/", {"action": "abort"}).status == 502
    for method, path in (("POST", f"{snapshot}/restore/"), ("DELETE", f"{snapshot}/"), ("GET", f"{env}/snapshots/")):
        assert process_server.request(method, path).status == 410


def test_a_planning_loop_stays_where_the_environment_is() -> None:
    """Saving, restoring and deleting take no connection out of the environment's process; listing brings it back."""
    with start("handover") as server, handed(server) as (client, env, pid):
        for count in range(1, 30):
            saved = client.ask(post(f"{env}/snapshots/", {}))
            assert saved.status == 200
            snapshot = f"{env}/snapshots/{saved.json['snapshot_id']}"
            now = client.ask(step(env, "x")).json["observation"]
            restored = client.ask(empty("POST", f"{snapshot}/restore/"))
            assert restored.json["observation"] == now - 1
            assert client.ask(step(env, "pid")).json["info"]["pid"] == pid
            assert client.ask(empty("DELETE", f"{snapshot}/", b"Content-Length: 0\r\n")).json == {}
            assert client.ask(empty("DELETE", f"{snapshot}/")).status == 404
            assert owner_of(server, client) == pid, count
        assert client.ask(get(f"{env}/snapshots/")).json["snapshots"] == []
        assert client.ask(step(env, "pid")).json["info"]["pid"] == pid
        told = {each["operation"]: each["statuses"] for each in server.get(f"{env}/").json["traffic"]}
        assert (told["createSnapshot"], told["restoreSnapshot"]) == ({"200": 29}, {"200": 29})
        assert told["deleteSnapshot"] == {"200": 29, "404": 29}


def empty(method: str, path: str, further: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + further + b"\r\n"


def test_the_python_client_plans_on_a_connection_that_is_handed_over() -> None:
    """With a server as it is started by default."""
    with Server(*IMPORTS) as server, Client(server.url, packed=True) as client, Connection(server) as other:
        env = client.create_env(TROUBLE)["instance_id"]
        client.reset_env(env)
        for count in range(20):
            snapshot = client.create_snapshot(env)
            assert client.step_env(env, "x")["observation"] == 1
            assert client.restore_snapshot(env, snapshot) == 0
            if count % 2:
                client.delete_snapshot(env, snapshot)
        local = client._transport._local.connection._socket.getsockname()[1]
        other.port = local
        assert owner_of(server, other) is not None
        found = client.list_snapshots(env)
        assert (len(found["snapshots"]), found["limit"]) == (10, 64)
        assert client.get_transitions(client.create_env("FrozenLake-v1")["instance_id"])["states"] == 16


@pytest.mark.parametrize("packed", [True, False])
def test_a_remote_environment_is_restored(server: Server, packed: bool) -> None:
    """`RemoteEnv` answers the observation with the type of its space, and the same future as a local one."""
    with RemoteEnv(server.url, "CartPole-v1", packed=packed) as env, gymnasium.make("CartPole-v1") as local:
        observed, _ = env.reset(seed=3)
        snapshot = env.snapshot()
        for _ in range(3):
            local.reset(seed=3)
            for action in (0, 1, 1):
                np.testing.assert_array_equal(env.step(action)[0], local.step(action)[0])
            restored = env.restore(snapshot)
            assert (restored.dtype, restored.tolist()) == (observed.dtype, observed.tolist())
            restored[:] = 0  # it is the caller's


@pytest.mark.parametrize("packed", [True, False])
def test_a_remote_batch_is_restored(server: Server, packed: bool) -> None:
    """`RemoteVectorEnv` answers the observations of all lanes."""
    env = RemoteVectorEnv(server.url, "CartPole-v1", 3, packed=packed)
    observed, _ = env.reset(seed=3)
    snapshot = env.snapshot()
    first = env.step([0, 1, 0])[0]
    np.testing.assert_array_equal(env.restore(snapshot), observed)
    np.testing.assert_array_equal(env.step([0, 1, 0])[0], first)
    env.close()


OPERATIONS = st.one_of(
    st.tuples(st.just("step")),
    st.tuples(st.just("step")),
    st.tuples(st.just("rollout")),
    st.tuples(st.just("reset"), st.none() | st.integers(0, 3)),
    st.tuples(st.just("create")),
    st.tuples(st.just("restore"), st.integers(0, 5)),
    st.tuples(st.just("restore"), st.integers(0, 5)),
    st.tuples(st.just("delete"), st.integers(0, 5)),
)


@settings(max_examples=25, deadline=None)
@given(
    env_id=st.sampled_from(["CartPole-v1", "FrozenLake-v1", "Blackjack-v1", "tests/Scribe-v0", "Pendulum-v1"]),
    operations=st.lists(OPERATIONS, min_size=4, max_size=25),
)
def test_any_sequence_of_calls_is_what_it_is_without_snapshots(env_id: str, operations: list[Any]) -> None:
    """A restored state is that of an environment which has made only the calls that led to it."""
    from tests.support import troublemakers  # noqa: F401 -- registers

    def made() -> Any:
        return open_served(CreateRequest(env_id, seed=1, max_episode_steps=6), may_fork=False)

    def execute(served: Any, call: tuple[Any, ...]) -> bytes:
        match call:
            case ("step",):
                action = json.loads(served.call("sample", {}).body)
                found: bytes = served.call("step", {**action, "media_type": MSGPACK}).body
                return found
            case ("rollout",):
                return served.call("rollout", {"limit": 1 << 20, "steps": 3, "media_type": MSGPACK}).body
            case ("reset", seed):
                return served.call("reset", {"seed": seed, "media_type": MSGPACK}).body
        raise AssertionError(call)

    served = made()
    execute(served, ("reset", None))
    history: list[tuple[Any, ...]] = [("reset", None)]
    kept: dict[str, list[tuple[Any, ...]]] = {}
    ids = itertools.count(1)
    for call in operations:
        match call:
            case ("create",):
                snapshot_id = json.loads(served.call("snapshot_create", {"limit": 99}).body)["snapshot_id"]
                assert snapshot_id == f"{next(ids):08x}"
                kept[snapshot_id] = list(history)
            case ("restore" | "delete" as what, index):
                snapshot_id = f"{index:08x}"
                if snapshot_id not in kept:
                    with pytest.raises(UnknownSnapshotError):
                        served.call(f"snapshot_{what}", {"snapshot_id": snapshot_id})
                elif what == "delete":
                    served.call("snapshot_delete", {"snapshot_id": snapshot_id})
                    del kept[snapshot_id]
                else:
                    served.call("snapshot_restore", {"snapshot_id": snapshot_id})
                    history = list(kept[snapshot_id])
            case _:
                found = execute(served, call)
                history.append(call)
                twin = made()
                for each in history:
                    expected = execute(twin, each)
                assert found == expected
                twin.close()
    served.close()


def lookahead(client: Client, env: str, value: Callable[[Any], float]) -> int:
    """Return the action that leads to the best value with the next step, by trying each."""
    snapshot = client.create_snapshot(env)
    found = {}
    for action in (0, 1):
        found[action] = value(client.step_env(env, action)["observation"])
        client.restore_snapshot(env, snapshot)
    client.delete_snapshot(env, snapshot)
    return max(found, key=lambda action: found[action])


def test_a_tree_search_plays_an_environment_that_it_looks_ahead_in(server: Server) -> None:
    """Looking one step ahead by snapshots keeps the pole up, where random actions do not."""
    with Client(server.url, packed=True) as client:
        env = client.create_env("CartPole-v1", seed=0)["instance_id"]
        client.reset_env(env)
        for _ in range(100):
            action = lookahead(client, env, lambda state: -abs(state[2] + 0.3 * state[3] + 0.05 * state[1]))
            assert not client.step_env(env, action)["done"]
        assert client.list_snapshots(env)["snapshots"] == []
