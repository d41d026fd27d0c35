"""`ConsoleView`: what the console asks of the server, and all that it knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One live instance as the console shows it.

    Attributes:
        instance_id: its name, 8 hex digits.
        env_id: the environment really served.
        library: the library it comes from, with its version.
        engine: the engine that runs it.
        state: `ready`, `busy`, `closed` or `lost`.
        steps: steps made since it was created.
        episodes: episodes ended since it was created.
        created_at: when it was created, in UTC.
        last_used_at: when its last call was made, in UTC.
        num_envs: number of lanes of a batch; None for a single environment.
    """

    instance_id: str
    env_id: str
    library: str
    engine: str
    state: str
    steps: int
    episodes: int
    created_at: datetime
    last_used_at: datetime
    num_envs: int | None = None


class ConsoleView(Protocol):
    """The server as the console sees it.

    Flask serves pages on threads of its own: every member is read there, and must be safe to read there.
    """

    @property
    def version(self) -> str:
        """The version of gym-http-server."""

    @property
    def started_at(self) -> datetime:
        """When the server started, in UTC."""

    @property
    def engine(self) -> str:
        """The engine in which instances run: `process` or `inline`."""

    def libraries(self) -> dict[str, str]:
        """Return the version of each library of environments that is installed, by name."""

    def instances(self) -> Sequence[InstanceRow]:
        """Return the live instances, in any order."""
