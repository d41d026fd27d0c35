"""Trajectories of environments as plain values, and their comparison."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from ...runtime.values.codec import decode, encode
from ...runtime.values.spaces import rebuild
from ..exchange import Nonconformity, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..caller import Caller

STEPS = 40


@dataclass(slots=True)
class Trajectory:
    """A row for each reset and each step of an environment, with its outcome."""

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def reset(self, observation: Any) -> None:
        """Add a reset."""
        self.rows.append(("reset", {"observation": plain(observation)}))

    def step(self, reply: dict[str, Any]) -> None:
        """Add a step, by the members of its reply."""
        members = {name: plain(reply[name]) for name in ("observation", "reward", "terminated", "truncated")}
        self.rows.append(("step", members))

    @classmethod
    def of_rollout(cls, reply: dict[str, Any], steps: int) -> Trajectory:
        """Return the trajectory of a rollout that began with a reset, as steps one at a time have it."""
        made = cls()
        observations = _rows(reply, "observations", steps + 1)
        rewards, terminated, truncated = (_rows(reply, name, steps) for name in ("rewards", "terminated", "truncated"))
        ends = sum(any(flags) for flags in zip(terminated, truncated, strict=True))
        final = iter(_rows(reply, "final_observations", ends))
        made.reset(observations[0])
        for number in range(steps):
            is_over = terminated[number] or truncated[number]
            made.step(
                {
                    "observation": next(final) if is_over else observations[number + 1],
                    "reward": rewards[number],
                    "terminated": terminated[number],
                    "truncated": truncated[number],
                }
            )
            if is_over and number + 1 < steps:
                made.reset(observations[number + 1])
        return made

    def first_episode(self) -> Trajectory:
        """Return its first episode."""
        ends = (number for number, (_, row) in enumerate(self.rows) if row.get("terminated") or row.get("truncated"))
        return Trajectory(self.rows[: next(ends, len(self.rows)) + 1])

    def expect(self, other: Trajectory, here: str, there: str, *, is_close: bool = False) -> None:
        """Hold it against another one, which is to be the same.

        Args:
            other: the other one, which is right.
            here: what this one is.
            there: what the other one is.
            is_close: take numbers for the same that differ in their last digits.

        Raises:
            Nonconformity: they differ.
        """
        for number, (mine, its) in enumerate(itertools.zip_longest(self.rows, other.rows)):
            if mine is None or its is None or mine[0] != its[0]:
                raise Nonconformity(f"{_row(its)} ({there})", f"{_row(mine)} (row {number} of {here})")
            for name, value in its[1].items():
                if not _is_same(mine[1][name], value, is_close=is_close):
                    raise Nonconformity(
                        f"{name} {shown(value)} ({there})", f"{name} {shown(mine[1][name])} (row {number} of {here})"
                    )

    def expect_another(self, other: Trajectory, here: str, there: str) -> None:
        """Hold it against another one, which is not to be the same.

        Raises:
            Nonconformity: they are the same.
        """
        if self.rows == other.rows:
            raise Nonconformity(f"{here} and {there} differ", f"the same {len(self.rows)} rows")


def play_batch(caller: Caller, instance_id: str, actions: list[list[Any]], seed: int) -> list[Trajectory]:
    """Reset a batch, take a row of actions after another, and return the trajectory of each lane.

    Args:
        caller: whom to ask.
        instance_id: the batch.
        actions: what to take, a list for each lane.
        seed: of the reset.
    """
    lanes = [Trajectory() for _ in actions]
    first = _rows(caller.reset_batch(instance_id, seed=seed), "observations", len(lanes))
    for lane, observation in zip(lanes, first, strict=True):
        lane.reset(observation)
    for row in zip(*actions, strict=True):
        reply = caller.step_batch(instance_id, list(row))
        columns = {name: _rows(reply, f"{name}s", len(lanes)) for name in ("observation", "reward")}
        columns |= {name: _rows(reply, name, len(lanes)) for name in ("terminated", "truncated")}
        for number, lane in enumerate(lanes):
            lane.step({name: column[number] for name, column in columns.items()})
    return lanes


def play(
    caller: Caller,
    instance_id: str,
    actions: list[Any],
    seed: int | None = None,
    step: Callable[[Any], dict[str, Any]] | None = None,
) -> Trajectory:
    """Reset an instance, take the actions, and reset it again where an episode ends and more are to come.

    Args:
        caller: whom to ask.
        instance_id: the instance.
        actions: what to take.
        seed: of the first reset; None for none.
        step: takes an action and returns the members of the reply; stepEnv where it is None.
    """
    first = caller.reset_env(instance_id, seed=seed)["observation"]
    return go_on(caller, instance_id, first, actions, step)


def go_on(
    caller: Caller,
    instance_id: str,
    observation: Any,
    actions: list[Any],
    step: Callable[[Any], dict[str, Any]] | None = None,
) -> Trajectory:
    """Take actions from where an instance is, and reset it where an episode ends and more are to come.

    Args:
        caller: whom to ask.
        instance_id: the instance.
        observation: what it was last seen as.
        actions: what to take.
        step: takes an action and returns the members of the reply; stepEnv where it is None.
    """
    step = step or functools.partial(caller.step_env, instance_id)
    trajectory = Trajectory()
    trajectory.reset(observation)
    for number, action in enumerate(actions, 1):
        reply = step(action)
        trajectory.step(reply)
        if reply["done"] and number < len(actions):
            trajectory.reset(caller.reset_env(instance_id)["observation"])
    return trajectory


def play_locally(env_id: str, library: str, actions: list[Any], seed: int) -> Trajectory | str:
    """Do the same in this process, or say why that cannot be.

    Args:
        env_id: what to play.
        library: what it is to be made by, as createEnv tells: name and version.
        actions: what to take.
        seed: of the first reset.
    """
    here = f"gymnasium {gymnasium.__version__}"
    if here != library:
        return f"{library} there, {here} here"
    env: gymnasium.Env[Any, Any] = gymnasium.make(env_id)
    trajectory = Trajectory()
    trajectory.reset(encode(env.observation_space, env.reset(seed=seed)[0]))
    for number, action in enumerate(actions, 1):
        observation, reward, terminated, truncated, _ = env.step(decode(env.action_space, action))
        trajectory.step(
            {
                "observation": encode(env.observation_space, observation),
                "reward": float(reward),
                "terminated": bool(terminated),
                "truncated": bool(truncated),
            }
        )
        if (terminated or truncated) and number < len(actions):
            trajectory.reset(encode(env.observation_space, env.reset()[0]))
    env.close()
    return trajectory


def actions_for(caller: Caller, instance_id: str, seed: int, steps: int = STEPS) -> list[Any]:
    """Return actions of an instance's action space, the same for the same seed."""
    descriptor = caller.get_action_space(instance_id)
    try:
        space = rebuild(descriptor)
    except ValueError as error:
        raise Nonconformity("an action space that can be rebuilt", f"{shown(descriptor)} ({error})") from None
    space.seed(seed)
    return [plain(encode(space, space.sample())) for _ in range(steps)]


def plain(value: Any) -> Any:
    """Return a value with lists where it has arrays; float32 numbers as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        # The shortest digits that give the same number back, which is how the contract has float32 in JSON.
        return plain(_digits(value).tolist()) if value.dtype == np.float32 else plain(value.tolist())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _rows(reply: dict[str, Any], name: str, count: int) -> list[Any]:
    rows = plain(reply[name])
    if not isinstance(rows, list) or len(rows) != count:
        raise Nonconformity(f"{count} {name}", shown(rows))
    return rows


def _digits(value: Any) -> np.ndarray[Any, Any]:
    return np.array([float(str(each)) for each in np.ravel(value)], np.float64).reshape(np.shape(value))


def _is_same(mine: Any, its: Any, *, is_close: bool) -> bool:
    if not is_close:
        return bool(mine == its)
    try:
        return np.allclose(np.asarray(mine, float), np.asarray(its, float), rtol=1e-5, atol=1e-6)
    except (TypeError, ValueError):
        return bool(mine == its)


def _row(row: tuple[str, dict[str, Any]] | None) -> str:
    return "nothing more" if row is None else f"{row[0]} {shown(row[1])}"
