"""What a driver is told: which cluster its router joins, and how shards are started."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any, Final

from ...config import default_engine
from ...support.surroundings import working_directory

if TYPE_CHECKING:
    from ...config import Settings

KEPT_BACK: Final = frozenset(
    [
        "listen",
        "port",
        "engine",
        "api_key",
        "api_key_file",
        "auth",
        "cors_origin",
        "allowed_host",
        "tls_cert",
        "tls_key",
        "trusted_proxy",
        "max_envs",
        "shard",
    ]
)
"""Settings that are the router's: what clients reach, and how many instances there are. Shards have the others from it."""


def plan_of(settings: Settings) -> dict[str, Any]:
    """Return what the driver is told: who the router is, which cluster it joins, and how its shards are started."""
    shards: dict[str, Any] | None = None
    if not settings.router_only:
        own = {
            each.name for each in dataclasses.fields(settings) if each.name.startswith(("ray_", "shard_", "router_"))
        }
        options = {
            each.name: getattr(settings, each.name)
            for each in dataclasses.fields(settings)
            if each.name not in KEPT_BACK | own | {"direct"}
        }
        shards = {
            "options": {**options, "engine": default_engine(), "max_envs": settings.shard_envs},
            "envs": settings.shard_envs,
            "cpus": settings.shard_cpus,
            "gpus": settings.shard_gpus,
            "resources": resources_of(settings.shard_resources),
            "idle": settings.shard_idle,
            "directory": working_directory() or "/",
        }
    return {"router": secrets.token_hex(8), "address": settings.ray_address, "shards": shards}


def resources_of(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the resources that a shard reserves, of texts such as `licence=1`."""
    return {name: float(number) for name, _, number in (text.partition("=") for text in texts)}
