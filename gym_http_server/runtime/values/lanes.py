"""What a batch returns, taken apart by lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from gymnasium.vector.utils import iterate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gymnasium import Space

    from .outcomes import Parts


def lane_values(space: Space[Any], values: Any, lanes: int) -> Sequence[Any]:
    """Return the value of each lane, out of the values of a batch; all of them for each lane if they cannot be taken apart."""
    try:
        found = list(iterate(space, values))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        found = []
    return found if len(found) == lanes else [values] * lanes


def lane_info(infos: Any, lane: int) -> dict[str, Any]:
    """Return the info of one lane, out of the arrays and masks that Gymnasium makes of those of all lanes."""
    if not infos or not isinstance(infos, dict):
        return {}
    info = {}
    for name, value in infos.items():
        if isinstance(name, str) and name.startswith("_") and name[1:] in infos:
            continue
        if _item(infos.get(f"_{name}"), lane) is not np.False_:
            info[name] = lane_info(value, lane) if isinstance(value, dict) else _item(value, lane)
    return info


def _item(values: Any, lane: int) -> Any:
    """Return the value of one lane, or that of all if there are not several."""
    is_row = isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim > 0)
    return values[lane] if is_row and len(values) > lane else values


def lane_outcomes(
    rewards: Any, terminated: Any, truncated: Any, parts: Sequence[Parts | None] | None
) -> list[tuple[Any, Any, Any]]:
    """Return reward and ends of each lane, as its environment returned them."""
    outcomes = list(zip(rewards, terminated.tolist(), truncated.tolist(), strict=True))
    for lane, given in enumerate(parts or ()):
        if given:
            reward, *ends = outcomes[lane]
            outcomes[lane] = (
                given.get("rewards", reward),
                given.get("terminations", ends[0]),
                given.get("truncations", ends[1]),
            )
    return outcomes


def is_of_lanes(values: Any) -> TypeGuard[np.ndarray[Any, Any]]:
    """Return whether values are an array of objects, one for each lane, as Gymnasium makes of what fits in no other."""
    return isinstance(values, np.ndarray) and values.dtype == object


def object_array(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return an array of objects with one for each lane."""
    array = np.empty(len(values), object)
    for lane, value in enumerate(values):
        array[lane] = value
    return array
