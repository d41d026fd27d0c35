"""Which lanes of a batch a reset begins, and with which seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidValueError, ResetNeededError
from ..making.vectorize import ENTRY_POINT
from ..recording.trajectories.recorder import drawn_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages import Description


class LaneSeeds:
    """The seeds of a batch's resets: one for the batch, or a list with one or None for each lane.

    Args:
        lanes: number of lanes.
        takes_one: the batch takes no list.
    """

    def __init__(self, lanes: int, *, takes_one: bool) -> None:
        self._lanes = lanes
        self._takes_one = takes_one
        self._is_seeded = np.zeros(lanes, np.bool_)  # lanes of which a reset had a seed

    def asked(
        self, seed: int | str | None, seeds: Sequence[int | str | None] | None, default: int | None
    ) -> int | list[int | None] | None:
        """Return what a client asks for with `seed` or `seeds`; the default if it asks for nothing.

        Raises:
            InvalidValueError: both are given, or `seeds` do not fit the batch.
        """
        if seeds is None:
            return default if seed is None else int(seed)
        if seed is not None:
            raise InvalidValueError("both seed and seeds are given: give one of them")
        if self._takes_one:
            raise InvalidValueError(
                "the environment's own vector implementation takes one seed: give seed, or create the batch with "
                "vectorization_mode 'sync' or 'async'"
            )
        if len(seeds) != self._lanes:
            raise InvalidValueError(f"expected {self._lanes} seeds, one for each lane, got {len(seeds)}")
        return [None if each is None else int(each) for each in seeds]

    def drawn(self, mask: np.ndarray[Any, Any] | None) -> int | list[int | None] | None:
        """Return seeds for lanes that never had one, so that their recording can be replayed; None for none."""
        lanes = np.flatnonzero(~self._is_seeded if mask is None else mask & ~self._is_seeded).tolist()
        if len(lanes) == self._lanes or self._takes_one:
            return drawn_seed() if lanes else None
        first = drawn_seed()
        return [first + lane if lane in lanes else None for lane in range(self._lanes)] if lanes else None

    def given(self, seed: int | list[int | None] | None, lanes: Sequence[int]) -> list[int | None]:
        """Return the seed that each of some lanes was given by a reset with `seed`, and note which had one."""
        if seed is None:
            return [None] * len(lanes)
        seeds: list[int | None]
        if isinstance(seed, list):
            seeds = [seed[lane] for lane in lanes]
        else:
            seeds = [seed if self._takes_one else seed + lane for lane in lanes]
        self._is_seeded[[lane for lane, each in zip(lanes, seeds, strict=True) if each is not None]] = True
        return seeds


def reset_mask_of(
    mask: Any, description: Description, *, has_reset: bool
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Return a client's `reset_mask` as an array; None for None.

    Raises:
        InvalidValueError: it does not fit the batch, or names no lane.
        ResetNeededError: the first reset is missing.
    """
    if mask is None:
        return None
    if description.vectorization_mode == ENTRY_POINT and description.autoreset_mode != "disabled":
        raise InvalidValueError(
            "the environment's own vector implementation resets all lanes together: leave reset_mask out, or create "
            "the batch with vectorization_mode 'sync' or 'async'"
        )
    try:
        given = np.asarray(mask)
    except ValueError:  # lists of different lengths
        given = np.empty(0)
    lanes = description.num_envs
    if given.shape != (lanes,) or given.dtype != np.bool_:
        raise InvalidValueError(f"reset_mask is to be {lanes} booleans, one for each lane")
    if not given.any():
        raise InvalidValueError("reset_mask names no lane: at least one is to be true")
    if not (has_reset or given.all()):
        raise ResetNeededError("the first reset is one of all lanes: call resetBatch without a reset_mask first")
    return given
