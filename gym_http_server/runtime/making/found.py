"""`Found`: what serves an id; and what holds of the ids and packages of all libraries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

LONGEST_ID: Final = 256
"""Characters of an id that can be asked for."""

OWN: Final = ("gymnasium.envs.", "gym.envs.")
"""The packages of the libraries' own environments."""


@dataclass(frozen=True, slots=True)
class Found:
    """What serves an id.

    Attributes:
        env_id: the id really served.
        library: `gymnasium` or `gym`.
        specification: the library's specification of it (`EnvSpec`).
        kwargs: keyword arguments that make a successor what the retired id was.
        notice: that another id is served than the one asked for, or None.
    """

    env_id: str
    library: str
    specification: Any
    kwargs: dict[str, Any] = field(default_factory=dict)
    notice: str | None = None
