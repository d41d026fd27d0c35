"""Outcomes of steps: a reward and two ends, each a single value, or one for each component or agent.

The contract has single values: `reward` is null where there are several, which are not added, because what they weigh is not
known here; `terminated` and `truncated` then speak of all agents. The several ones are `Parts` beside them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

Parts: TypeAlias = dict[str, Any]
"""What a step gave several of, as it gave them: `rewards`, `terminations` and `truncations`, those that there are."""

PARTS: Final = {"reward": "rewards", "terminated": "terminations", "truncated": "truncations"}
"""The member with several values, by that with the single one."""

FLAGS: Final = frozenset((bool, np.bool_))
NUMBERS: Final = FLAGS | {float, int, np.float64, np.float32, np.float16, np.int64, np.int32}
"""Types of nearly all ends and rewards. `reduced` takes every other."""

ALL_AGENTS: Final = "__all__"
"""RLlib's key for the end of all agents."""


def reduced(reward: Any, terminated: Any, truncated: Any) -> tuple[float | None, bool, bool, Parts]:
    """Return the single values of an outcome, and its parts.

    Returns:
        The reward; None if there is none, or several. Whether all agents have terminated. Whether all have ended, and one of
        them by truncation. Arrays and lists of one value are single values.

    Raises:
        ValueError, TypeError: the reward is no number, or there is no telling whether the episode has ended.
    """
    parts: Parts = {}
    number = None
    if reward is not None:
        number = _number(reward)
        if number is None:
            parts["rewards"] = reward
    ends = _by_agent(terminated), _by_agent(truncated)
    if ends == (None, None):
        return number, bool(terminated), bool(truncated), parts
    for name, value, end in zip(("terminations", "truncations"), (terminated, truncated), ends, strict=True):
        if end is not None:
            parts[name] = value
    rewarded: Any = reward if isinstance(reward, Mapping) else {}
    agents = {*(ends[0] or {}), *(ends[1] or {}), *rewarded} - {ALL_AGENTS}
    by_termination = [_has_ended(terminated, ends[0], agent) for agent in agents]
    by_truncation = [_has_ended(truncated, ends[1], agent) for agent in agents]
    has_terminated = _has_ended(terminated, ends[0], ALL_AGENTS, default=all(by_termination))
    is_over = all(map(bool.__or__, by_termination, by_truncation))
    has_been_cut = _has_ended(truncated, ends[1], ALL_AGENTS, default=is_over and any(by_truncation))
    return number, has_terminated, has_been_cut, parts


def _number(reward: Any) -> float | None:
    """Return a reward as a float; None if it is several."""
    if isinstance(reward, float | int | np.generic):
        return float(reward)
    if isinstance(reward, Mapping):
        return None
    is_row = isinstance(reward, list | tuple)
    try:
        array = np.asarray(reward)
        if array.size == 1:
            return float(array.item())
    except (ValueError, TypeError):
        if not is_row:
            raise
        return None
    if not is_row and array.dtype.kind not in "biufO":
        raise TypeError(f"the reward is no number: {reward!r}")
    return None


def _by_agent(end: Any) -> dict[Any, Any] | None:
    """Return the ends of agents by name or position; None for a single end."""
    if type(end) in FLAGS:
        return None
    if isinstance(end, Mapping):
        return dict(end)
    if isinstance(end, list | tuple) or (isinstance(end, np.ndarray) and end.size > 1):
        return dict(enumerate(end))
    return None


def _has_ended(given: Any, by_agent: dict[Any, Any] | None, agent: Any, *, default: bool = False) -> bool:
    return bool(given) if by_agent is None else bool(by_agent.get(agent, default))


def several(outcomes: Sequence[Parts | None], single: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the parts of many outcomes, of steps or lanes: `component_rewards`, `terminations` and `truncations`.

    Each has an element for each outcome, and is left out where no outcome has the part. Arrays and rows of numbers of one shape
    become one array.

    Args:
        outcomes: the parts of each outcome, or None.
        single: the single values, by the name of the part, which stand for outcomes without the part; NaN for none.
    """
    members = {}
    for name, values in single.items() if any(outcomes) else ():
        if any(parts and name in parts for parts in outcomes):
            given = [
                parts[name] if parts and name in parts else value for parts, value in zip(outcomes, values, strict=True)
            ]
            members["component_rewards" if name == "rewards" else name] = _joined(given)
    return members


def _joined(values: list[Any]) -> Any:
    try:
        array = np.array(values)
    except ValueError:  # of several shapes
        array = np.empty(0, object)
    return array if array.dtype.kind in "biuf" else values


def components(rewards: Any) -> dict[str, float]:
    """Return the numbers in `rewards` by name: the keys and positions that lead to each, with `/` between them."""
    return dict(_components(rewards, ""))


def _components(rewards: Any, prefix: str) -> Iterator[tuple[str, float]]:
    if isinstance(rewards, Mapping):
        items: Any = rewards.items()
    elif isinstance(rewards, list | tuple) or getattr(rewards, "ndim", 0) > 0:
        items = enumerate(rewards)
    else:
        with contextlib.suppress(TypeError, ValueError):  # what is no number has no sum
            yield prefix, float(rewards)
        return
    for key, item in items:
        yield from _components(item, f"{prefix}/{key}" if prefix else str(key))
