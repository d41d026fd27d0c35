"""What the operator allows a session: seeds and snapshots or not, how many steps, and where its episodes are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ...config import Settings


class Rules(NamedTuple):
    """The rules of all sessions.

    Attributes:
        is_play: there are no seeds, snapshots and restores, and nothing that changes an environment, so that a model cannot replay its
            way to a score.
        max_steps: maximum number of steps that a session takes; 0 for any.
        record: directory below which episodes are recorded; empty for none.
    """

    is_play: bool = False
    max_steps: int = 0
    record: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Return the rules of these settings."""
        return cls(settings.mcp_mode == "play", settings.mcp_max_steps, settings.mcp_record)
