"""`HostedSession`: a session whose plain messages are answered in its environment's process, without the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ....api.content.bodies import parse_plain
from ....api.hot_operations import NotPlainError
from ....api.problems import HttpProblem
from ....errors import GymHttpServerError, InvalidActionError
from ....runtime.messages import JSON
from .. import frames
from ..episode import OpenenvEpisode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ....runtime.messages import Reply


class Execute(Protocol):
    """Executes an operation of the hot path with the environment, as if a client had sent it."""

    def __call__(self, operation_id: str, body: Mapping[str, Any], received: int, /) -> Reply:
        """Return the reply to a request of `received` bytes.

        Raises:
            NotPlainError: the body is not valid; nothing is executed.
            GymHttpServerError: the error with which a client would have been answered.
            HttpProblem: the same.
        """


class HostedSession:
    """Answers steps, resets, questions for the state and the close. Whatever else comes is the server's.

    Args:
        told: the session, from `told`.
        execute: executes operations.
        max_values: maximum number of values in a message.

    Attributes:
        is_over: the client has closed the session, or the environment has ended, which the latest answer tells.
    """

    def __init__(self, told: Mapping[str, Any], execute: Execute, max_values: int) -> None:
        self.is_over = False
        self._resets = 0
        self._instance_id = told["instance_id"]
        self._episode = OpenenvEpisode.from_wire(told["episode"])
        self._execute = execute
        self._max_values = max_values

    @staticmethod
    def told(instance_id: str, episode: OpenenvEpisode) -> dict[str, Any]:
        """Return what the environment's process has to know of a session, as plain values."""
        return {"instance_id": instance_id, "episode": episode.to_wire()}

    def note(self) -> bytes:
        """Return what the server has to know afterwards; see `OpenenvEpisode.take`."""
        return self._episode.note()

    def answer(self, message: bytes) -> bytes | None:
        """Return the answer to a message, empty for none; None where the server answers, and nothing is executed."""
        try:
            told = parse_plain(JSON, message, self._max_values)
        except ValueError:
            return None
        if type(told) is not dict or len(told) > 1 + ("data" in told):
            return None
        kind, data = told.get("type"), told.get("data")
        try:
            if kind == "step" and "data" in told:
                return self._step(data, len(message))
            if kind == "reset":
                return self._reset(data if isinstance(data, dict) else {}, len(message))
            if kind == "close":
                self.is_over = True
                return b""
            if kind == "state":
                return frames.state_frame(self._episode.state(), self._instance_id)
        except NotPlainError:
            pass
        except frames.ENDING as error:
            self.is_over = True
            return frames.ended(error).frame
        except (GymHttpServerError, HttpProblem, frames.InvalidMessage) as error:
            return frames.failure_frame(error)
        return None

    def _step(self, data: Any, received: int) -> bytes:
        episode = self._episode
        if isinstance(data, dict) and frames.is_more_than_action(data, episode.action_space):
            raise NotPlainError
        try:
            reply = self._execute("stepEnv", episode.step_body(data), received)
        except InvalidActionError as error:
            raise frames.explained(episode.action_space, data, error) from None
        return frames.observation_frame(episode.stepped(reply.body))

    def _reset(self, data: Mapping[str, Any], received: int) -> bytes:
        # The id may be that of an episode that waits for its client.
        if data.get("episode_id") is not None or frames.asks_for_frame(data, {}):
            raise NotPlainError
        self._resets += 1
        episode, given = self._episode, {**data, "episode_id": f"{self._episode.series}{self._resets}"}
        reply = self._execute("resetEnv", episode.reset_body(given), received)
        episode.began(given)
        return frames.observation_frame(episode.observed(reply.body))
