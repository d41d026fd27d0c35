"""What the router of a cluster asks of a shard to which it brings a WebSocket: to take it on a condition.

A shard that does not take it answers the handshake with a problem, or ends the connection before any message, and the router asks
the next one. Frames are the shard's and the client's: the router reads none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ...api.problems import HttpProblem

if TYPE_CHECKING:
    from ...api.asgi import Scope
    from .lost_players import LostPlayers
    from .players import OpenenvPlayers

ROUTER_ASKS: Final = b"router-asks"
"""The header with one of the next three; without it, the shard takes the WebSocket in any case."""

RESUME: Final = b"resume"
"""Take it if its first message goes on with an episode that waits here."""
ROOM: Final = b"room"
"""Take it if there is room."""
LOST_ROOM: Final = b"lost-room"
"""The same, where environments whose connection was lost make room."""


def asked_of(scope: Scope) -> bytes:
    """Return what a router asks; empty for nothing."""
    return next((value for name, value in scope["headers"] if name == ROUTER_ASKS), b"")


def check_asked(asked: bytes, name: str, players: OpenenvPlayers, lost: LostPlayers) -> None:
    """Check before the handshake that the shard can do what is asked.

    Raises:
        HttpProblem: 404 where no episode waits, 429 where there is no room.
    """
    if asked == RESUME and not lost.has(name):
        raise HttpProblem(404, "not-found", "no episode of this environment waits here for its client")
    if (asked == ROOM and not players.has_room) or (asked == LOST_ROOM and not players.has_room and not lost.count):
        raise HttpProblem(429, "too-many-instances", "the shard is full")


def resumes(message: bytes, name: str, lost: LostPlayers) -> bool:
    """Return whether a message is a reset that goes on with an episode that waits here."""
    try:
        told: Any = orjson.loads(message)
        return told["type"] == "reset" and lost.waits(name, told["data"]["episode_id"])
    except (ValueError, TypeError, KeyError):
        return False
