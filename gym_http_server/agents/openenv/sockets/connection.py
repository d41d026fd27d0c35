"""OpenEnv's WebSocket: a connection is a session is an instance. Messages and codes are those of `openenv` 0.10."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson

from ....api.asgi import BinaryMessageError, link_of
from ....api.content.bodies import MAX_LOOP_BODY_BYTES, READERS, parse, parse_plain
from ....api.normalizer import send_problem
from ....api.problems import HttpProblem, problem_of
from ....api.refusals import client_of
from ....errors import GymHttpServerError, InvalidActionError, TooManyInstancesError
from ....runtime.messages import JSON
from ....runtime.shared.traffic import NONE
from .. import frames
from ..frames import ENDING, InvalidMessage, OutOfSession
from ..tools import call_tool, tools_of
from .hosted import HostedSession
from .placing import RESUME, asked_of, check_asked, first_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ....api.asgi import MessageSocket, Receive, Scope, Send
    from ....instances.census import Totals
    from ...sessions import AgentSession
    from ..lost_players import LostPlayers
    from ..player import OpenenvPlayer
    from ..players import OpenenvPlayers

logger = logging.getLogger(__name__)

PATH: Final = re.compile(r"/openenv/(.+)/(ws|mcp)/?")
GOING_AWAY: Final = 1001
PROBE_SECONDS: Final = 2.0
"""Time in which a client answers a ping where another one wants its session."""

UPGRADE_HEADERS: Final = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}


class OpenenvSockets:
    """Serves the WebSockets of all environments.

    Args:
        players: the environments of live sessions.
        lost: those whose connection was lost.
        answer: answers a request of OpenEnv's JSON-RPC (see `Dialect.answer`).
        max_values: maximum number of values in a message.
        totals: counts connections and messages.
        is_shard: whether a router brings them (see `placing`).
    """

    def __init__(
        self,
        players: OpenenvPlayers,
        lost: LostPlayers,
        answer: Callable[[str, Any, str | None], Awaitable[dict[str, Any]]],
        max_values: int,
        totals: Totals,
        *,
        is_shard: bool = False,
    ) -> None:
        self.players = players
        self.lost = lost
        self.answer = answer
        self.max_values = max_values
        self.totals = totals
        self.is_shard = is_shard
        self._by_session: dict[str, OpenenvConnection] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Serve a request for a WebSocket, to the end of its connection."""
        upgrade = link_of(scope).upgrade
        match = PATH.fullmatch(scope["path"])
        try:
            if upgrade is None or match is None:
                detail = f"a WebSocket is served at {scope['path']!r}: connect to it with the client of OpenEnv, or another one"
                raise HttpProblem(426, "upgrade-required", detail, headers=UPGRADE_HEADERS)  # noqa: TRY301 -- answered below
            asked = asked_of(scope) if self.is_shard else b""
            check_asked(asked, match[1], self.players, self.lost)
            socket = upgrade()
        except HttpProblem as problem:
            answer = problem_of(problem)
            self.totals.traffic.count(NONE, answer.status, 0.0, 0, len(answer.body))
            await send_problem(answer, send)
            return
        self.totals.traffic.count(NONE, 101, 0.0, 0, 0)
        self.totals.open_websockets += 1
        connection = OpenenvConnection(self, socket, match[1], client_of(scope))
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            first = await first_message(socket, match[1], self.players, self.lost) if asked == RESUME else None
            if asked != RESUME or first is not None:
                self.totals.websockets += 1
                await connection.serve(match[2] == "mcp", query.get("session_id", [None])[0], first)
        finally:
            self.totals.open_websockets -= 1
            # For the access log; the protocol sends nothing.
            sizes = {"received_bytes": socket.received_bytes, "sent_bytes": socket.sent_bytes}
            await send({"type": "gym_http_server.websocket", "status": 101, **sizes})

    def note(self, session_id: str, connection: OpenenvConnection | None) -> None:
        """Note the connection that plays a session; None for none."""
        if connection is None:
            self._by_session.pop(session_id, None)
        else:
            self._by_session[session_id] = connection

    async def leave_dead(self, session_id: str) -> bool:
        """End the connection that plays a session if its client answers no ping; return whether it has ended.

        A step that is under way ends first.
        """
        connection = self._by_session.get(session_id)
        if connection is None or await connection.socket.probe(PROBE_SECONDS):
            return False
        await connection.ended.wait()
        return True

    async def find_lost(self, name: str, episode_id: str) -> OpenenvPlayer | None:
        """Return the player of an episode whose client has lost its connection, whether that is known yet or not."""
        found = self.lost.take(name, episode_id)
        if found is None:
            playing = self.players.playing(name, episode_id)
            if playing is not None and await self.leave_dead(playing.session.session_id):
                found = self.lost.take(name, episode_id)
        return found

    def tell_end(self, session: AgentSession) -> None:
        """Close the connection of a session that has ended."""
        connection = self._by_session.get(session.session_id)
        if connection is not None:
            connection.tell_end(session.why_ended or "")


class _ClientMayBeBack(Exception):
    """There is no room, and the first message tells whether the client needs any."""


class OpenenvConnection:
    """One WebSocket.

    Args:
        sockets: what all connections share.
        socket: the messages.
        name: the name of the environment.
        client: the address of the client.

    Attributes:
        socket: the messages.
        ended: set at its end, when it has left its session.
    """

    def __init__(self, sockets: OpenenvSockets, socket: MessageSocket, name: str, client: str | None) -> None:
        self._sockets = sockets
        self.socket = socket
        self._name = name
        self._client = client
        self._player: OpenenvPlayer | None = None
        self._created: list[str] = []
        self._is_attached = self._is_over = False
        self._telling: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._kinds: dict[str, Callable[[dict[str, Any], int], Awaitable[bytes | None]]] = {
            "step": self._step,
            "reset": self._reset,
            "state": self._state,
            "mcp": self._mcp,
            "close": self._close,
        }

    async def serve(self, is_rpc: bool, session_id: str | None, first: bytes | None = None) -> None:
        """Serve messages to the end of the connection; `first` is one that was received before."""
        answer = self._answer_rpc if is_rpc else self._answer
        try:
            # A first message finds the environment that it goes on with.
            if not is_rpc and first is None:
                await self._begin(session_id)
            await self._serve(answer, first)
        except OutOfSession as error:
            self._is_over = True
            await self.socket.send(error.frame)
        except BinaryMessageError:
            self._is_over = True
            await self.socket.send(frames.error_frame("SESSION_ERROR", "a binary message: send texts with JSON"))
        except asyncio.CancelledError:
            # The time of the stop is over.
            self.socket.close(GOING_AWAY, "the server stops")
            raise
        finally:
            self._end()
            self.socket.close()
            self.ended.set()

    async def _serve(self, answer: Callable[[bytes], Awaitable[bytes | None]], first: bytes | None) -> None:
        socket, totals = self.socket, self._sockets.totals
        while not self._is_over and (message := first or await socket.receive()) is not None:
            first = None
            totals.websocket_messages += 1
            socket.is_serving = True
            reply = await answer(message)
            if reply is not None:
                await socket.send(reply)
            socket.is_serving = False
            if socket.is_ending:
                socket.close(GOING_AWAY, "the server stops")
            elif reply is not None and reply.startswith(frames.OBSERVATION) and b'"reset"' not in message:
                await self._lend()
        if self._telling is not None:
            await self._telling

    async def _lend(self) -> None:
        """Have the environment's process serve the connection for as long as it can, if that pays."""
        player = self._player
        if player is None or self._is_attached:
            return  # requests over HTTP play an attached one, too
        session, episode = player.session, player.episode
        try:
            with session.in_use():
                stay = await self.socket.lend(
                    player.instance_id, lambda: HostedSession.told(player.instance_id, episode)
                )
        except ENDING as error:
            raise frames.ended(error) from None
        if stay is None:
            return
        self._is_over = self._is_over or stay.is_over
        session.touch(stay.idle_since)
        try:
            if stay.note:
                episode.take(stay.note)
        except ValueError as error:
            raise OutOfSession(f"the environment's process has lost the session: {error}") from None

    # The session

    async def _begin(self, session_id: str | None) -> None:
        players = self._sockets.players
        if session_id is not None:
            player = players.find(self._name, session_id)
            if player is None:
                raise OutOfSession(f"Unknown session_id: {session_id}")
            if not players.attach(player) and not (
                await self._sockets.leave_dead(session_id) and players.attach(player)
            ):
                raise OutOfSession(f"the session {session_id} has a WebSocket already, or is being closed")
            self._is_attached = True
            self._take(player)
        elif not self._sockets.lost.has(self._name):
            with contextlib.suppress(_ClientMayBeBack):
                await self._open(is_first=True)
        # Else the first message tells whether the client comes back to an environment that waits for it.

    async def _open(self, *, is_first: bool = False) -> OpenenvPlayer:
        players = self._sockets.players
        while True:
            try:
                player = await players.open(self._name, self._client)
                break
            except TooManyInstancesError:
                if is_first and self._sockets.lost.has(self._name):
                    raise _ClientMayBeBack from None  # its old connection was found to be lost meanwhile
                if await self._sockets.lost.make_room():
                    continue
                room = players.capacity()
                words = (
                    f"Server at capacity: {room['active_sessions']}/{room['max_sessions']} sessions active. "
                    "Cannot accept new connections. More are allowed by a larger --max-envs."
                )
                raise OutOfSession(words, "CAPACITY_REACHED", **room) from None
            except (GymHttpServerError, HttpProblem) as error:
                raise OutOfSession(error.detail, "FACTORY_ERROR", factory_name=self._name) from None
        self._take(player)
        return player

    def _take(self, player: OpenenvPlayer) -> None:
        self._player = player
        self._sockets.note(player.session.session_id, self)

    def _end(self) -> None:
        players = self._sockets.players
        for session_id in self._created:
            if (created := players.find(self._name, session_id)) is not None:
                players.close(created)
        player, self._player = self._player, None
        if player is None:
            return
        self._sockets.note(player.session.session_id, None)
        if self._is_attached:
            players.detach(player)
        elif self._is_over or self.socket.is_clean or any(map(frames.is_close, self.socket.unread)):
            players.close(player)
        else:
            self._sockets.lost.keep(self._name, player)

    def tell_end(self, why: str) -> None:
        """Tell a client that its session has ended, unless a message is being served, whose reply tells it."""
        if not self.socket.is_serving and self._telling is None:
            self._is_over = True
            self._telling = asyncio.get_running_loop().create_task(self._tell_end(why))

    async def _tell_end(self, why: str) -> None:
        await self.socket.send(frames.error_frame("SESSION_ERROR", f"the session has ended: {why}"))
        self.socket.close()

    # Messages

    async def _read(self, message: bytes) -> Any:
        """Return the value of a message.

        Raises:
            HttpProblem: it is no JSON, or too large.
        """
        most = self._sockets.max_values
        if len(message) > MAX_LOOP_BODY_BYTES:
            return await asyncio.get_running_loop().run_in_executor(READERS, parse, JSON, message, most)
        try:
            return parse_plain(JSON, message, most)
        except ValueError:
            return parse(JSON, message, most)

    async def _answer(self, message: bytes) -> bytes | None:
        try:
            told = await self._read(message)
        except HttpProblem as error:
            return frames.unread_frame(error)
        if not isinstance(told, dict):
            raise OutOfSession(f"the message is {type(told).__name__}: send an object with type and data")
        kind = told.get("type", "")
        serve = self._kinds.get(kind) if isinstance(kind, str) else None
        if serve is None:
            known = ", ".join(self._kinds)
            return frames.error_frame(
                "UNKNOWN_TYPE", f"Unknown message type: {kind}" + (f" (there are {known})" if kind else "")
            )
        try:
            if len(told) > 1 + ("data" in told):
                name = next(each for each in told if each not in ("type", "data"))
                raise InvalidMessage("extra_forbidden", (name,), "Extra inputs are not permitted", told[name])  # noqa: TRY301 -- answered below
            return await serve(told, len(message))
        except ENDING as error:
            raise frames.ended(error) from None
        except (GymHttpServerError, HttpProblem, InvalidMessage) as error:
            return frames.failure_frame(error)

    async def _step(self, told: dict[str, Any], received: int) -> bytes:
        player = self._player or await self._open()
        try:
            data = told["data"]
        except KeyError:
            raise InvalidMessage("missing", ("data",), "Field required", told) from None
        space = player.facts.action_space
        if frames.is_tool_use(data, space):
            return await _use_tool(player, data)
        with_frame = isinstance(data, dict) and frames.asks_for_frame(data, space)
        try:
            return frames.observation_frame(await player.step_encoded(data, received, with_frame=with_frame))
        except InvalidActionError as error:
            raise frames.explained(space, data, error) from None

    async def _reset(self, told: dict[str, Any], received: int) -> bytes:
        data = told.get("data")
        if not isinstance(data, dict):
            data = {}
        episode_id = data.get("episode_id")
        if episode_id is not None:
            if not isinstance(episode_id, str) or len(episode_id) > 255:
                raise InvalidMessage("string_type", ("episode_id",), "a text of at most 255 characters", episode_id)
            is_own = self._player is not None and self._player.episode.episode_id == episode_id
            found = None if is_own else await self._sockets.find_lost(self._name, episode_id)
            if found is not None:
                self._change(found)
                if data.get("seed") in (None, found.episode.seed):
                    return frames.observation_frame(found.resumed())
        player = self._player or await self._open()
        given = {**data, "episode_id": episode_id or str(uuid.uuid4())}
        with_frame = frames.asks_for_frame(data, {})
        return frames.observation_frame(await player.reset_encoded(given, received, with_frame=with_frame))

    def _change(self, player: OpenenvPlayer) -> None:
        """Play an environment that has waited, instead of the one of this connection."""
        before = self._player
        if before is not None:
            self._sockets.note(before.session.session_id, None)
            if self._is_attached:
                self._sockets.players.detach(before)
            else:
                self._sockets.players.close(before)
        self._is_attached = False
        self._take(player)

    async def _state(self, told: dict[str, Any], received: int) -> bytes:  # noqa: ARG002 -- as the other kinds
        player = self._player
        if player is None:
            return frames.frame("state", {"episode_id": None, "step_count": 0})
        player.session.touch()
        return frames.state_frame(player.episode.state(), player.instance_id)

    async def _close(self, told: dict[str, Any], received: int) -> None:  # noqa: ARG002
        self._is_over = True

    async def _mcp(self, told: dict[str, Any], received: int) -> bytes:  # noqa: ARG002
        player = self._player or await self._open()
        if not isinstance(told.get("data"), dict):
            raise InvalidMessage("missing", ("data",), "Field required", told)
        return frames.frame("mcp", await self._rpc(told["data"], player))

    async def _answer_rpc(self, message: bytes) -> bytes | None:
        try:
            request = await self._read(message)
        except HttpProblem as problem:
            request = problem
        if not isinstance(request, dict):
            return orjson.dumps(await self._sockets.answer(self._name, request, self._client))
        if request.get("method") == "tools/call" and self._player is None:
            with contextlib.suppress(OutOfSession):
                await self._open()
        answer = await self._rpc(request, self._player)
        if request.get("method") == "openenv/session/create" and "result" in answer:
            self._created.append(answer["result"]["session_id"])
        return orjson.dumps(answer)

    async def _rpc(self, request: dict[str, Any], player: OpenenvPlayer | None) -> dict[str, Any]:
        params = request.get("params") or {}
        is_own = player is not None and isinstance(params, dict) and "session_id" not in params
        if is_own and player is not None and str(request.get("method")).startswith("tools/"):
            request = {**request, "params": {**params, "session_id": player.session.session_id}}
        return await self._sockets.answer(self._name, request, self._client)


async def _use_tool(player: OpenenvPlayer, data: dict[str, Any]) -> bytes:
    if data["type"] == "list_tools":
        tools = [
            {"name": each["name"], "description": each["description"], "input_schema": each["inputSchema"]}
            for each in tools_of(player.facts)
        ]
        observation: dict[str, Any] = {"metadata": {}, "tools": tools}
    else:
        name, arguments = data.get("tool_name"), data.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise InvalidMessage("missing", ("tool_name",), "Field required", data)
        observation = {"metadata": {}, "tool_name": name, "result": None, "error": None}
        try:
            observation["result"] = await call_tool(player, name, arguments)
        except ENDING:
            raise
        except (GymHttpServerError, HttpProblem) as error:
            observation["error"] = {"error_type": "execution_error", "message": error.detail}
    return frames.frame("observation", {"observation": observation, "reward": None, "done": False})
