"""Which libraries of environments are installed. It imports none of them, so the server need not wait for one at its start."""

from __future__ import annotations

import contextlib
import importlib.metadata

PACKAGES = ("gymnasium", "gym", "ale-py", "box2d", "mujoco", "minigrid", "pettingzoo", "highway-env")
"""The distributions that the home page looks for."""


def installed() -> dict[str, str]:
    """Return the version of each known package of environments that is installed."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
