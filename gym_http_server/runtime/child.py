"""The main loop of an environment's process: serves one request at a time until the server closes the socket."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import EnvironmentRaisedError, GymHttpServerError, RuntimeDefectError
from .frames import ADOPT, CLOSE, CREATE, RECALL, RequestReader, pack_description, pack_error, pack_reply
from .messages import JSON, MSGPACK, CreateRequest
from .opening import open_served

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from .served import Served
    from .shared.memory import Memory

logger = logging.getLogger(__name__)


class Adopter(Protocol):
    """Serves a client's connection with an environment."""

    def adopt(self, descriptor: int, environment: Served) -> None:
        """Serve a connection until it ends, is returned, or the server sends a frame.

        If the environment is broken, its last words are sent to the server.
        """


def prepare(arguments: Mapping[str, Any]) -> None:
    """Do nothing: the fork server has already loaded all that this loop needs."""


def serve(channel: socket.socket, memory: Memory, instance_id: str) -> None:  # noqa: ARG001 -- the signature of every entry
    """Serve the requests on a blocking socket."""
    OperationLoop(channel, memory).run()


def rehearse() -> None:
    """Make an environment, take a few steps and close it.

    Forked processes share the loaded modules, which halves their creation time and private memory.
    """
    with contextlib.suppress(GymHttpServerError):
        environment = open_served(CreateRequest("CartPole-v1", library="gymnasium"))
        for media_type in (JSON, MSGPACK):
            environment.call("reset", {"media_type": media_type})
            for _ in range(8):
                environment.call("step", {"action": 0, "media_type": media_type})
        environment.close()


class OperationLoop:
    """The loop: first `create`, then operations, then `close` or the socket's end.

    Args:
        channel: the blocking socket to the server.
        memory: the memory shared with the server.
        adopter: serves clients' connections.
    """

    def __init__(self, channel: socket.socket, memory: Memory, adopter: Adopter | None = None) -> None:
        self._channel = channel
        self._memory = memory
        self._adopter = adopter
        self._environment: Served | None = None
        self._max_reply = 0

    def run(self) -> None:
        """Serve until the socket is closed."""
        try:
            requests = RequestReader(self._channel)
            while (request := requests.next()) is not None:
                operation, arguments = request
                if operation == CLOSE:
                    break
                if operation == RECALL:
                    continue  # the connection has already been returned
                if operation == ADOPT and self._adopter is not None and self._environment is not None:
                    self._adopter.adopt(requests.next_descriptor(), self._environment)
                else:
                    self._channel.sendall(self._answer(operation, arguments))
                if self._environment is None or self._environment.is_broken:
                    break
        finally:
            if self._environment is not None:
                self._environment.close()

    def _answer(self, operation: str, arguments: dict[str, Any]) -> bytes:
        try:
            if self._environment is not None:
                return pack_reply(self._environment.call(operation, arguments).within(self._max_reply))
            if operation != CREATE:
                raise EnvironmentRaisedError(f"{operation} before the environment was made")  # noqa: TRY301 -- answered like other errors
            self._max_reply = arguments["max_reply"]
            request = CreateRequest.from_wire(arguments["request"])
            self._environment = open_served(request, usage=self._memory.usage)
            return pack_description(self._environment.description)
        except GymHttpServerError as error:
            return pack_error(error)
        except (Exception, SystemExit) as error:
            logger.exception("unexpected error in %s", operation)
            return pack_error(RuntimeDefectError.of(operation, f"{type(error).__name__}: {error}"))
