"""The main loop of an environment's process: serves one request of the server at a time until it closes the socket."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ..errors import EnvironmentRaisedError, GymHttpServerError, RuntimeDefectError
from .frames import CLOSE, CREATE, RequestReader, pack_description, pack_error, pack_reply
from .messages import JSON, MSGPACK, CreateRequest
from .served.opening import open_served

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from .served.base import Served
    from .shared.memory import Memory

logger = logging.getLogger(__name__)


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

    Attributes:
        environment: the environment, once it is made.
        max_reply: maximum bytes of a reply.
    """

    def __init__(self, channel: socket.socket, memory: Memory) -> None:
        self.channel = channel
        self.memory = memory
        self.requests = RequestReader(channel)
        self.environment: Served | None = None
        self.max_reply = 0

    def run(self) -> None:
        """Serve until the server asks for the end or closes the socket."""
        try:
            while self.turn():
                pass
        finally:
            self.end()

    def turn(self) -> bool:
        """Wait for a request of the server and serve it; return whether the loop goes on."""
        request = self.requests.next()
        if request is None or request[0] == CLOSE:
            return False
        if not self.control(*request):
            self.channel.sendall(self._answer(*request))
        return self.environment is not None and not self.environment.is_broken

    def control(self, operation: str, arguments: dict[str, Any]) -> bool:  # noqa: ARG002 -- for subclasses
        """Serve a request to the loop itself; return False for one to the environment."""
        return False

    def end(self) -> None:
        """Close the environment."""
        if self.environment is not None:
            self.environment.close()

    def _answer(self, operation: str, arguments: dict[str, Any]) -> bytes:
        try:
            if self.environment is not None:
                return pack_reply(self.environment.call(operation, arguments).within(self.max_reply))
            if operation != CREATE:
                raise EnvironmentRaisedError(f"{operation} before the environment was made")  # noqa: TRY301 -- answered like other errors
            self.max_reply = arguments["max_reply"]
            request = CreateRequest.from_wire(arguments["request"])
            self.environment = open_served(request, usage=self.memory.usage)
            return pack_description(self.environment.description)
        except GymHttpServerError as error:
            return pack_error(error)
        except (Exception, SystemExit) as error:
            logger.exception("unexpected error in %s", operation)
            return pack_error(RuntimeDefectError.of(operation, f"{type(error).__name__}: {error}"))
