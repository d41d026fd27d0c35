"""What the router of a cluster asks of a shard to which it brings a WebSocket: to take it on a condition.

A shard that does not take it answers the handshake with a problem, or ends the connection before any message, and the router asks
the next one. Frames are the shard's and the client's: the router reads none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ....api.asgi import BinaryMessageError
from ....api.problems import HttpProblem

if TYPE_CHECKING:
    from ....api.asgi import MessageSocket, Scope
    from ..lost_players import LostPlayers
    from ..players import OpenenvPlayers

ROUTER_ASKS: Final = b"router-asks"
"""The header with one of the next three; without it, the shard takes the WebSocket in any case."""

RESUME: Final = b"resume"
"""Take it if its first message goes on with an episode that is here."""
ROOM: Final = b"room"
"""Take it if there is room."""
LOST_ROOM: Final = b"lost-room"
"""The same, where environments whose connection was lost make room."""


LEFT_TO_NEXT, LEFT_TO_ALL = b"\x8b\x00", b"\x8c\x00"
"""The last bytes of a WebSocket that is left: another shard may have the episode, or the first message names none.

They are frames of opcodes that RFC 6455 keeps for later, and the router's.
"""


def asked_of(scope: Scope) -> bytes:
    """Return what a router asks; empty for nothing."""
    return next((value for name, value in scope["headers"] if name == ROUTER_ASKS), b"")


def check_asked(asked: bytes, name: str, players: OpenenvPlayers, lost: LostPlayers) -> None:
    """Check before the handshake that the shard can do what is asked.

    Raises:
        HttpProblem: 404 where no episode waits, 429 where there is no room.
    """
    if asked == RESUME and not lost.has(name) and not players.is_silent(name):
        raise HttpProblem(404, "not-found", "no episode of this environment waits here for its client")
    if (asked == ROOM and not players.has_room) or (asked == LOST_ROOM and not players.has_room and not lost.count):
        raise HttpProblem(429, "too-many-instances", "the shard is full")


async def first_message(socket: MessageSocket, name: str, players: OpenenvPlayers, lost: LostPlayers) -> bytes | None:
    """Return the first message if it goes on with an episode that is here; None where the WebSocket was left to others."""
    try:
        message = await socket.receive()
    except BinaryMessageError:
        message = b""
    if message is None:
        return None
    episode_id = _episode_in(message)
    if episode_id is not None and (lost.waits(name, episode_id) or players.playing(name, episode_id) is not None):
        return message
    socket.leave(LEFT_TO_ALL if episode_id is None else LEFT_TO_NEXT)
    return None


def _episode_in(message: bytes) -> str | None:
    """Return the id of the episode that a message resets to; None for any other message."""
    try:
        told: Any = orjson.loads(message)
        episode_id = told["data"]["episode_id"] if told["type"] == "reset" else None
    except (ValueError, TypeError, KeyError):
        return None
    return episode_id if isinstance(episode_id, str) else None
