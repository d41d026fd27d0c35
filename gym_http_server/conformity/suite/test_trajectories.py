"""Seeds, and equal trajectories by steps, rollouts, batches, MessagePack and snapshots."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ..caller import Caller
from ..exchange import Nonconformity, Request
from ..ledger import ENVS
from .trajectories import Trajectory, actions_for, go_on, play, play_batch, play_locally

if TYPE_CHECKING:
    from ..implementation import Implementation

RETIRED = "FrozenLake-v0"
each_environment = pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Pendulum-v1", RETIRED])
pytestmark = pytest.mark.usefixtures("closed")

LANES = 3


@each_environment
def test_same_seed(caller: Caller, seed: int, env_id: str) -> None:
    """The same seed of a reset gives the same trajectory, in the same instance and in another."""
    one, other = (caller.create_env(env_id)["instance_id"] for _ in range(2))
    actions = actions_for(caller, one, seed)
    first = play(caller, one, actions, seed)
    play(caller, one, actions, seed).expect(first, "the second time", "the first")
    play(caller, other, actions, seed).expect(first, "another instance", "the first")


@each_environment
def test_other_seeds(caller: Caller, seed: int, env_id: str) -> None:
    """Another seed gives another trajectory."""
    instance_id = caller.create_env(env_id)["instance_id"]
    actions = actions_for(caller, instance_id, seed)
    first = play(caller, instance_id, actions, seed)
    play(caller, instance_id, actions, seed + 1).expect_another(first, f"seed {seed + 1}", f"seed {seed}")


@each_environment
def test_seed_of_create(caller: Caller, seed: int, env_id: str) -> None:
    """The seed of createEnv is that of the first reset, and of no other."""
    one, other = (caller.create_env(env_id, seed=seed)["instance_id"] for _ in range(2))
    actions = actions_for(caller, one, seed)
    seeded = play(caller, caller.create_env(env_id)["instance_id"], actions, seed)
    first = play(caller, one, actions)
    first.expect(seeded, "the first reset", "a reset with that seed")
    second = play(caller, one, actions)
    second.expect_another(first, "the second reset", "the first")
    play(caller, other, actions).expect(first, "another instance of that seed", "the first")
    play(caller, other, actions).expect(second, "its second reset", "that of the first")


@each_environment
def test_samples(caller: Caller, seed: int, env_id: str) -> None:
    """The seed of createEnv makes sampled actions repeatable."""
    samples: list[list[Any]] = []
    for env_seed in (seed, seed, seed + 1):
        instance_id = caller.create_env(env_id, seed=env_seed)["instance_id"]
        samples.append([caller.sample_action(instance_id) for _ in range(20)])
    if samples[0] != samples[1]:
        raise Nonconformity(f"the samples {samples[0]} again", str(samples[1]))
    if samples[0] == samples[2]:
        raise Nonconformity(f"other samples for seed {seed + 1} than for {seed}", str(samples[2]))


@each_environment
def test_rollout(caller: Caller, seed: int, env_id: str) -> None:
    """A rollout is the same as its actions one at a time, with a reset after each episode's end."""
    one, other = (caller.create_env(env_id)["instance_id"] for _ in range(2))
    actions = actions_for(caller, one, seed)
    stepped = play(caller, one, actions, seed)
    reply = caller.rollout(other, actions=actions, seed=seed)
    Trajectory.of_rollout(reply, len(actions)).expect(stepped, "the rollout", "the same steps")


@each_environment
def test_messagepack(implementation: Implementation, caller: Caller, seed: int, env_id: str) -> None:
    """MessagePack tells the same as JSON, of steps and of a rollout."""
    one, other = (caller.create_env(env_id)["instance_id"] for _ in range(2))
    packed = Caller(implementation, packed=True)
    actions = actions_for(caller, one, seed)
    expected = play(caller, one, actions, seed)
    play(packed, other, actions, seed).expect(expected, "MessagePack", "JSON")
    reply = packed.rollout(other, actions=actions, seed=seed)
    Trajectory.of_rollout(reply, len(actions)).expect(expected, "a rollout in MessagePack", "JSON")


@each_environment
def test_lanes(caller: Caller, seed: int, env_id: str) -> None:
    """Lane i of a batch of mode `sync` is a single environment that is reset with seed + i."""
    batch = caller.create_env(env_id, num_envs=LANES, vectorization_mode="sync")["instance_id"]
    single = caller.create_env(env_id)["instance_id"]
    actions = [actions_for(caller, single, seed + lane) for lane in range(LANES)]
    lanes = play_batch(caller, batch, actions, seed)
    for number, lane in enumerate(lanes):
        alone = play(caller, single, actions[number], seed + number).first_episode()
        lane.first_episode().expect(alone, f"lane {number}", f"a single environment of seed {seed} + {number}")


@each_environment
def test_sent_again(implementation: Implementation, caller: Caller, seed: int, env_id: str) -> None:
    """A step whose connection broke is taken once, however often it is sent with its Idempotency-Key."""
    one, other = (caller.create_env(env_id)["instance_id"] for _ in range(2))
    actions = actions_for(caller, one, seed)

    def step(action: Any) -> dict[str, Any]:
        request = Request.of(
            "POST", f"{ENVS}{other}/step/", {"action": action}, **{"Idempotency-Key": str(uuid.uuid4())}
        )
        implementation.abandon(request)
        again = caller.members(request)
        if caller.members(request) != again:
            raise Nonconformity("the same reply each time", "another one", implementation.sent(request))
        return again

    undisturbed = play(caller, one, actions, seed)
    play(caller, other, actions, seed, step).expect(undisturbed, "what was sent again", "an undisturbed instance")


@each_environment
def test_snapshot(caller: Caller, seed: int, env_id: str) -> None:
    """What follows on a snapshot is the same each time that it is restored, whatever was done in between."""
    instance_id = caller.create_env(env_id)["instance_id"]
    actions = actions_for(caller, instance_id, seed)
    play(caller, instance_id, actions[:3], seed)
    snapshot_id = caller.create_snapshot(instance_id)

    def restored() -> Trajectory:
        return go_on(caller, instance_id, caller.restore_snapshot(instance_id, snapshot_id), actions)

    first = restored()
    restored().expect(first, "the second time", "the first")
    play(caller, instance_id, actions, seed + 1)
    restored().expect(first, "after another episode", "the first")


@each_environment
def test_library(caller: Caller, seed: int, env_id: str) -> None:
    """A trajectory equals that of the environment's library, if the same version is installed here."""
    created = caller.create_env(env_id)
    actions = actions_for(caller, created["instance_id"], seed)
    local = play_locally(created["env_id"], created["library"], actions, seed)
    if isinstance(local, str):
        pytest.skip(local)
    served = play(caller, created["instance_id"], actions, seed)
    served.expect(local, "the trajectory that is served", created["library"], is_close=True)


def recorded_episodes(
    implementation: Implementation, caller: Caller, seed: int, *, kept: bool | str
) -> tuple[dict[str, Any], list[int]]:
    """Record two episodes of CartPole; return what the monitor tells, and the lengths of the episodes."""
    instance_id = caller.create_env("CartPole-v1")["instance_id"]
    caller.start_monitor(instance_id, implementation.ledger.fresh_directory(), trajectories=kept)
    lengths = []
    for number in range(2):
        caller.reset_env(instance_id, seed=seed + number)
        lengths.append(next(count for count in itertools.count(1) if caller.step_env(instance_id, 1)["done"]))
    recorded = caller.get_monitor(instance_id)
    caller.close_monitor(instance_id)
    return recorded, lengths


def test_monitor(implementation: Implementation, caller: Caller, seed: int) -> None:
    """A monitor tells how many episodes there were, and return and length of the last."""
    recorded, lengths = recorded_episodes(implementation, caller, seed, kept=False)
    told = {name: recorded[name] for name in ("episodes", "last_return", "last_length", "mean_length")}
    # CartPole gives 1.0 for each step.
    expected = {
        "episodes": 2,
        "last_return": float(lengths[-1]),
        "last_length": lengths[-1],
        "mean_length": sum(lengths) / 2,
    }
    if told != expected:
        raise Nonconformity(str(expected), str(told))


@pytest.mark.parametrize("kept", ["none", "full", "actions"])
def test_monitor_of_steps(implementation: Implementation, caller: Caller, seed: int, kept: str) -> None:
    """A monitor tells what it keeps of every step, of how many episodes, and in how many bytes; an older one tells nothing."""
    asked: bool | str = {"none": False, "full": True}.get(kept, kept)
    recorded, lengths = recorded_episodes(implementation, caller, seed, kept=asked)
    if "trajectories" not in recorded:
        pytest.skip("its monitors keep no steps: getMonitor tells no trajectories")
    told = {name: recorded.get(name) for name in ("trajectories", "trajectory_episodes", "trajectory_bytes")}
    episodes = len(lengths) if asked else 0
    is_right = (told["trajectories"], told["trajectory_episodes"]) == (kept, episodes)
    size = told["trajectory_bytes"]
    if not is_right or type(size) is not int or (size > 0) != bool(asked):
        sizes = "> 0" if asked else "0"
        raise Nonconformity(f"trajectories {kept}, trajectory_episodes {episodes}, trajectory_bytes {sizes}", str(told))
