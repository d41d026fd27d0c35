"""Specs, metadata and seeds of remote environments."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from .copies import KEY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gymnasium.envs.registration import EnvSpec


def key_for(api_key: str | None) -> str | None:
    """Return the API key, or that of the variable where none is given."""
    return os.environ.get(KEY_VARIABLE) or None if api_key is None else api_key


def mode_name(mode: AutoresetMode | str) -> str:
    """Return the contract's name of an autoreset mode."""
    return mode.name.lower() if isinstance(mode, AutoresetMode) else mode


def metadata_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `metadata` of what `getEnv` describes, as the library has it."""
    metadata = dict(described["metadata"])
    mode = described["autoreset_mode"] or (None if described["num_envs"] is None else "next_step")
    if mode is not None:
        metadata["autoreset_mode"] = AutoresetMode[mode.upper()]
    return metadata


def completed(spec: EnvSpec | None, specification: Mapping[str, Any]) -> EnvSpec | None:
    """Return a spec without the API key, with what the environment's own registration says where it says nothing.

    Specs go into the metadata of data sets; what is made of one takes the key from the variable.
    """
    if spec is None:
        return None
    spec = copy.copy(spec)
    spec.kwargs = {name: value for name, value in spec.kwargs.items() if name != "api_key"}
    for name in ("max_episode_steps", "reward_threshold"):
        if getattr(spec, name) is None:
            setattr(spec, name, specification[name])
    spec.nondeterministic = spec.nondeterministic or specification["nondeterministic"]
    return spec


class Seeds:
    """What the random generators of an instance were seeded with last, and generators that start from there.

    Args:
        told: by the server, one for each lane or one of all.
        created_with: the seed of the creation, which the first reset takes where it has none of its own.
    """

    def __init__(self, told: Sequence[str | None], created_with: int | None) -> None:
        self.values: list[int | None] = [None if each is None else int(each) for each in told]
        self._first = created_with
        self._generators: list[np.random.Generator | None] = [None] * len(self.values)

    def reset(self, seed: int | Sequence[int | None] | None, mask: np.ndarray[Any, Any] | None = None) -> None:
        """Note a reset: with a seed, of which lane i takes `seed + i`, or with one for each lane; of the lanes of `mask`."""
        if seed is None:
            seed = self._first
        self._first = None
        if seed is None:
            return
        seeds = [seed + lane for lane in range(len(self.values))] if isinstance(seed, int | np.integer) else seed
        for lane, each in enumerate(seeds):
            if each is not None and (mask is None or mask[lane]):
                self.values[lane], self._generators[lane] = int(each), None

    def generator(self, lane: int) -> np.random.Generator:
        """Return the generator of a lane."""
        made = self._generators[lane]
        if made is None:
            made, seed = seeding.np_random(self.values[lane])
            self._generators[lane] = made
            if self.values[lane] is None:
                self.values[lane] = seed
        return made

    def use(self, generator: np.random.Generator) -> None:
        """Take a generator of the caller's, whose seed is unknown."""
        self.values[0], self._generators[0] = None, generator
