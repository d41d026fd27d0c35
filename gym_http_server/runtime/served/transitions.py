"""The tabular model of an environment, read from the attribute `P` that environments of toy text have.

`P[state][action]` is a list of `(probability, next_state, reward, terminated)`; `initial_state_distrib` is the distribution of
first states. https://gymnasium.farama.org/environments/toy_text/frozen_lake/
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...errors import NoTransitionModelError

_NONE: Final = object()


def transition_model(environment: Any) -> dict[str, Any]:
    """Return the model in the form of the contract's `TransitionModel`.

    Args:
        environment: the environment; its wrappers are ignored.

    Raises:
        NoTransitionModelError: it has no `P`, or one of another form.
    """
    inner = environment.unwrapped
    table = getattr(inner, "P", _NONE)
    if table is _NONE:
        raise NoTransitionModelError(
            f"{type(inner).__name__} has no tabular model: environments of toy text have one, such as FrozenLake-v1, "
            "Taxi and CliffWalking"
        )
    try:
        transitions = [[_rows(cell) for cell in _rows(row)] for row in _rows(table)]
        states, actions = len(transitions), len(transitions[0])
        if any(len(row) != actions for row in transitions) or not actions:
            raise ValueError("its states have different numbers of actions")  # noqa: TRY301 -- one way to refuse
        told = [[[_transition(each, states) for each in cell] for cell in row] for row in transitions]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise NoTransitionModelError(
            f"the P of {type(inner).__name__} is no tabular model, P[state][action] a list of "
            f"(probability, next_state, reward, terminated): {error}"
        ) from None
    return {
        "states": states,
        "actions": actions,
        "transitions": told,
        "initial_distribution": _distribution(getattr(inner, "initial_state_distrib", None), states),
    }


def _rows(value: Any) -> list[Any]:
    """Return the items of a list, or of a mapping whose keys are 0, 1, 2, …, in order."""
    if isinstance(value, Mapping):
        if not all(index in value for index in range(len(value))):
            raise ValueError("there is a dict whose keys are not the integers from 0")
        return [value[index] for index in range(len(value))]
    if isinstance(value, np.ndarray | Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise TypeError(f"there is a {type(value).__name__} where a list or a dict is expected")


def _transition(value: Any, states: int) -> dict[str, Any]:
    probability, next_state, reward, terminated = value
    probability, next_state, reward = float(probability), operator.index(next_state), float(reward)
    if not 0.0 <= probability <= 1.0 or not 0 <= next_state < states or not math.isfinite(reward):
        raise ValueError(f"there is a transition {(probability, next_state, reward)} in it")
    return {"probability": probability, "next_state": next_state, "reward": reward, "terminated": bool(terminated)}


def _distribution(value: Any, states: int) -> list[float] | None:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return array.tolist() if array.shape == (states,) and np.isfinite(array).all() else None
