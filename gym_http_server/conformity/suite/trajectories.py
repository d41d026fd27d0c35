"""`Trajectory`: observations, rewards and ends of steps as plain values, and functions that record one."""

from __future__ import annotations

import contextlib
import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from ...runtime.values.codec import decode, encode
from ...runtime.values.opaque import opaque_parts
from ...runtime.values.spaces import rebuild
from ..exchange import Nonconformity, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..caller import Caller

DEFAULT_STEPS = 40


@dataclass(slots=True)
class Trajectory:
    """A row for each reset and each step."""

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def reset(self, observation: Any) -> None:
        """Add a reset."""
        self.rows.append(("reset", {"observation": plain(observation)}))

    def step(self, reply: dict[str, Any]) -> None:
        """Add a step by its reply."""
        members = {name: plain(reply[name]) for name in ("observation", "reward", "terminated", "truncated")}
        self.rows.append(("step", members))

    @classmethod
    def of_rollout(cls, reply: dict[str, Any], steps: int) -> Trajectory:
        """Return the trajectory of a rollout that began with a reset, as single steps have it."""
        trajectory = cls()
        observations = _rows(reply, "observations", steps + 1)
        rewards, terminated, truncated = (_rows(reply, name, steps) for name in ("rewards", "terminated", "truncated"))
        ends = sum(any(flags) for flags in zip(terminated, truncated, strict=True))
        final = iter(_rows(reply, "final_observations", ends))
        trajectory.reset(observations[0])
        for number in range(steps):
            is_over = terminated[number] or truncated[number]
            trajectory.step(
                {
                    "observation": next(final) if is_over else observations[number + 1],
                    "reward": rewards[number],
                    "terminated": terminated[number],
                    "truncated": truncated[number],
                }
            )
            if is_over and number + 1 < steps:
                trajectory.reset(observations[number + 1])
        return trajectory

    def first_episode(self) -> Trajectory:
        """Return the first episode."""
        ends = (number for number, (_, row) in enumerate(self.rows) if row.get("terminated") or row.get("truncated"))
        return Trajectory(self.rows[: next(ends, len(self.rows)) + 1])

    def expect(self, other: Trajectory, here: str, there: str, *, is_close: bool = False) -> None:
        """Compare with a trajectory that has to be equal.

        Args:
            other: the expected trajectory.
            here: the name of this one.
            there: the name of the other.
            is_close: ignore differences in the last digits.

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
        """Compare with a trajectory that has to differ.

        Raises:
            Nonconformity: they are equal.
        """
        if self.rows == other.rows:
            raise Nonconformity(f"{here} and {there} differ", f"the same {len(self.rows)} rows")


def play_batch(caller: Caller, instance_id: str, actions: list[list[Any]], seed: int) -> list[Trajectory]:
    """Reset a batch and take a list of actions for each lane; return the trajectory of each lane."""
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
    """Reset an instance and take actions, by stepEnv if `step` is None."""
    observation = caller.reset_env(instance_id, seed=seed)["observation"]
    return go_on(caller, instance_id, observation, actions, step)


def go_on(
    caller: Caller,
    instance_id: str,
    observation: Any,
    actions: list[Any],
    step: Callable[[Any], dict[str, Any]] | None = None,
) -> Trajectory:
    """Take actions from an instance's current state, of which `observation` is the last one."""
    step = step or functools.partial(caller.step_env, instance_id)
    return _steps(observation, actions, step, lambda: caller.reset_env(instance_id)["observation"])


def play_locally(env_id: str, library: str, actions: list[Any], seed: int) -> Trajectory | str:
    """Play an environment in this process, or return why that is not possible.

    Args:
        env_id: the environment.
        library: its library's name and version, as createEnv replies.
        actions: the actions to take.
        seed: the seed of the first reset.
    """
    here = f"gymnasium {gymnasium.__version__}"
    if here != library:
        return f"{library} there, {here} here"
    env: gymnasium.Env[Any, Any] = gymnasium.make(env_id)

    def reset(seed: int | None = None) -> Any:
        return encode(env.observation_space, env.reset(seed=seed)[0])

    def step(action: Any) -> dict[str, Any]:
        observation, reward, terminated, truncated, _ = env.step(decode(env.action_space, action))
        return {
            "observation": encode(env.observation_space, observation),
            "reward": float(reward),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "done": bool(terminated or truncated),
        }

    with contextlib.closing(env):
        return _steps(reset(seed), actions, step, reset)


def _steps(
    observation: Any, actions: list[Any], step: Callable[[Any], dict[str, Any]], reset: Callable[[], Any]
) -> Trajectory:
    """Take actions, with a reset after each episode but the last."""
    trajectory = Trajectory()
    trajectory.reset(observation)
    for number, action in enumerate(actions, 1):
        reply = step(action)
        trajectory.step(reply)
        if reply["done"] and number < len(actions):
            trajectory.reset(reset())
    return trajectory


def actions_for(caller: Caller, instance_id: str, seed: int, steps: int = DEFAULT_STEPS) -> list[Any]:
    """Return actions of an instance's action space, equal for equal seeds unless only the server can sample it."""
    descriptor = caller.get_action_space(instance_id)
    try:
        space = rebuild(descriptor)
    except ValueError as error:
        raise Nonconformity("an action space that can be rebuilt", f"{shown(descriptor)} ({error})") from None
    if next(opaque_parts(space), None) is not None:
        return [caller.sample_action(instance_id) for _ in range(steps)]
    space.seed(seed)
    return [plain(encode(space, space.sample())) for _ in range(steps)]


def plain(value: Any) -> Any:
    """Return a value with lists for arrays, and float32 numbers as in JSON."""
    if isinstance(value, np.ndarray | np.generic):
        # The contract has the shortest digits that give the same float32.
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
    return np.array([float(str(number)) for number in np.ravel(value)], np.float64).reshape(np.shape(value))


def _is_same(mine: Any, its: Any, *, is_close: bool) -> bool:
    if not is_close:
        return bool(mine == its)
    try:
        return np.allclose(np.asarray(mine, float), np.asarray(its, float), rtol=1e-5, atol=1e-6)
    except (TypeError, ValueError):
        return bool(mine == its)


def _row(row: tuple[str, dict[str, Any]] | None) -> str:
    return "nothing more" if row is None else f"{row[0]} {shown(row[1])}"
