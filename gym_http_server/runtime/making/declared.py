"""What an environment declares: metadata, specification, and the seeds of its random generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from gymnasium.vector import AsyncVectorEnv

from ..values.encoding import json_bytes
from ..values.spaces import describe

if TYPE_CHECKING:
    from ..messages import CreateRequest

MAX_METADATA_BYTES: Final = 1 << 16


def declared(environment: Any, env_id: str, request: CreateRequest) -> dict[str, Any]:
    """Return what an environment or a batch declares, as plain JSON values. Never raises.

    Returns:
        `metadata`: the environment's; beyond `MAX_METADATA_BYTES` only render modes and frame rate. `specification`: `id`,
        `max_episode_steps`, `reward_threshold` and `nondeterministic` of its registration. `np_random_seeds`: the seed of
        each random generator in decimal digits, or None if it is unknown; one for a single environment or a vector entry
        point, otherwise one per lane.
    """
    return {
        "metadata": _metadata(environment),
        "specification": _specification(environment, env_id, request),
        "np_random_seeds": _seeds(environment),
        **_reward_space(environment),
    }


def _metadata(environment: Any) -> dict[str, Any]:
    try:
        metadata = dict(environment.metadata)
        encoded = json_bytes(metadata)
        if len(encoded) > MAX_METADATA_BYTES:
            encoded = json_bytes({name: metadata[name] for name in ("render_modes", "render_fps") if name in metadata})
        plain = orjson.loads(encoded)
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return {}
    return plain if isinstance(plain, dict) and len(encoded) <= MAX_METADATA_BYTES else {}


def _specification(environment: Any, env_id: str, request: CreateRequest) -> dict[str, Any]:
    try:
        spec = environment.spec
    except Exception:  # noqa: BLE001 -- Gymnasium's wrappers copy the specification, whose arguments may raise
        spec = getattr(getattr(environment, "unwrapped", None), "spec", None)
    limits = [getattr(spec, "max_episode_steps", None), request.max_episode_steps]
    if request.num_envs is not None:
        limits.reverse()  # the specification of a batch has the registration's limit, not the requested one
    limit = limits[0] or limits[1]
    threshold = getattr(spec, "reward_threshold", None)
    return {
        "id": env_id,
        "max_episode_steps": limit if type(limit) is int and limit > 0 else None,
        "reward_threshold": float(threshold) if isinstance(threshold, int | float) else None,
        "nondeterministic": bool(getattr(spec, "nondeterministic", False)),
    }


def _seeds(environment: Any) -> list[str | None]:
    try:
        # Reading the seed makes the generator if there is none yet, as its first use would.
        seeds = environment.unwrapped.np_random_seed
    except Exception:  # noqa: BLE001 -- gym's environments have none, and third-party code may raise anything
        return [None]
    return [_digits(seed) for seed in seeds] if isinstance(seeds, tuple | list) else [_digits(seeds)]


def _reward_space(environment: Any) -> dict[str, Any]:
    holder = getattr(environment.unwrapped, "envs", [environment])[0]
    try:
        if isinstance(environment.unwrapped, AsyncVectorEnv):
            described = environment.unwrapped.call("described_reward_space")[0]
            return {} if described is None else {"reward_space": described}
        space = holder.get_wrapper_attr("reward_space") if hasattr(holder, "get_wrapper_attr") else holder.reward_space
        return {"reward_space": describe(space)}
    except Exception:  # noqa: BLE001 -- nearly all have none, and third-party code may raise anything
        return {}


def _digits(seed: Any) -> str | None:
    return str(int(seed)) if isinstance(seed, int | np.integer) and seed >= 0 else None
