"""`OpenenvPlayers`: the environments of OpenEnv's sessions, which HTTP requests and a WebSocket share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from .player import OpenenvPlayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..sessions import AgentSessions
    from .environments import OpenenvEnvironments


SILENT_SECONDS: Final = 1.0
"""Time without a message after which a connection may be lost without anybody knowing."""


class OpenenvPlayers:
    """The players of live sessions, by session id.

    Args:
        environments: what is made for each name.
        sessions: the sessions.
    """

    def __init__(self, environments: OpenenvEnvironments, sessions: AgentSessions) -> None:
        self._environments = environments
        self._sessions = sessions
        self._players: dict[str, tuple[str, OpenenvPlayer]] = {}

    @property
    def has_room(self) -> bool:
        """Whether another session may begin."""
        return self._sessions.has_room

    def capacity(self) -> dict[str, int]:
        """Return the number of sessions and its maximum, as OpenEnv tells them."""
        return {"active_sessions": len(self._sessions.all()), "max_sessions": self._sessions.max_sessions}

    async def open(self, name: str, client: str | None) -> OpenenvPlayer:
        """Begin a session with an environment of its own.

        Args:
            name: the name of the environment.
            client: the address of the client.

        Raises:
            TooManyInstancesError: there are as many sessions or instances as there may be.
            GymHttpServerError: the environment cannot be made.
            HttpProblem: the same.
        """
        session = self._sessions.open(client)
        try:
            player = await OpenenvPlayer.make(session, self._environments.body(name))
        except BaseException:
            self._sessions.end_soon(session, "its environment was not made")
            raise
        self._players = {each: known for each, known in self._players.items() if known[1].session.why_ended is None}
        self._players[session.session_id] = name, player
        return player

    @contextlib.asynccontextmanager
    async def temporary(self, name: str, client: str | None) -> AsyncIterator[OpenenvPlayer]:
        """Have a session for one request; raises as `open`."""
        player = await self.open(name, client)
        try:
            yield player
        finally:
            await player.session.end("its request is answered")

    def find(self, name: str, session_id: Any) -> OpenenvPlayer | None:
        """Return the player of a live session of an environment; None if there is none with that id."""
        at, player = self._players.get(str(session_id), ("", None))
        return player if player is not None and at == name and player.session.why_ended is None else None

    def playing(self, name: str, episode_id: str) -> OpenenvPlayer | None:
        """Return the player that is in an episode, in a session that belongs to a connection; None if there is none."""
        return next(
            (
                player
                for at, player in self._players.values()
                if at == name and player.episode.has_id(episode_id) and _is_of_connection(player)
            ),
            None,
        )

    @property
    def silent(self) -> int:
        """Number of environments that a client plays over a connection and has not used for a moment."""
        return sum(_is_silent(player) for _, player in self._players.values())

    def is_silent(self, name: str) -> bool:
        """Return whether there is one of them by a name."""
        return any(at == name and _is_silent(player) for at, player in self._players.values())

    def attach(self, player: OpenenvPlayer) -> bool:
        """Give a session its WebSocket; return whether it had none and goes on."""
        if player.is_attached or player.is_closing:
            return False
        player.is_attached = True
        return True

    def detach(self, player: OpenenvPlayer) -> None:
        """Take the WebSocket from a session, which ends if that was asked for meanwhile."""
        player.is_attached = False
        if player.is_closing:
            self.close(player)

    def close(self, player: OpenenvPlayer) -> bool:
        """End a session; return False where it ends later, with its WebSocket."""
        player.is_closing = True
        if player.is_attached:
            return False
        self._players.pop(player.session.session_id, None)
        self._sessions.end_soon(player.session, "its client has closed it")
        return True


def _is_of_connection(player: OpenenvPlayer) -> bool:
    return not player.is_attached and player.session.why_ended is None


def _is_silent(player: OpenenvPlayer) -> bool:
    return (
        _is_of_connection(player)
        and player.episode.episode_id is not None
        and player.session.idle_seconds >= SILENT_SECONDS
    )
