"""`LostPlayers`: environments whose connection was lost, which wait for their client to come back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .player import OpenenvPlayer
    from .players import OpenenvPlayers


class LostPlayers:
    """Keeps players by the name of their environment and the id of their episode.

    Args:
        players: ends them.
        seconds: time that one is kept (`--openenv-grace`).
    """

    def __init__(self, players: OpenenvPlayers, seconds: float) -> None:
        self._players = players
        self._seconds = seconds
        self._waiting: dict[tuple[str, str], tuple[OpenenvPlayer, asyncio.TimerHandle]] = {}

    def keep(self, name: str, player: OpenenvPlayer) -> None:
        """Keep a player for its client; without time, or without an episode to come back to, it ends."""
        if not self._seconds or player.episode.episode_id is None or player.session.why_ended is not None:
            self._players.close(player)
            return
        key = name, player.episode.episode_id
        if key in self._waiting:
            self._end(key)
        timer = asyncio.get_running_loop().call_later(self._seconds, self._end, key)
        self._waiting[key] = player, timer

    def has(self, name: str) -> bool:
        """Return whether a player of an environment waits."""
        return any(at == name for at, _ in self._waiting)

    @property
    def count(self) -> int:
        """Number of players that wait."""
        return len(self._waiting)

    def waits(self, name: str, episode_id: Any) -> bool:
        """Return whether the player of an episode waits."""
        return (name, episode_id) in self._waiting

    def take(self, name: str, episode_id: str) -> OpenenvPlayer | None:
        """Return the player of an episode, which waits no more; None if there is none."""
        player, timer = self._waiting.pop((name, episode_id), (None, None))
        if timer is not None:
            timer.cancel()
        return player if player is not None and player.session.why_ended is None else None

    async def make_room(self) -> bool:
        """End the player that waits longest; return whether there was one."""
        if not self._waiting:
            return False
        key = next(iter(self._waiting))
        player, timer = self._waiting.pop(key)
        timer.cancel()
        await player.session.end("its connection was lost, and its room is needed")
        return True

    def stop(self) -> None:
        """Keep no player any more."""
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def _end(self, key: tuple[str, str]) -> None:
        player, timer = self._waiting.pop(key)
        timer.cancel()
        self._players.close(player)
