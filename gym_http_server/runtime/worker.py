"""The loop of an environment's own process: one request after another, until the server closes the socket."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from ..errors import EnvironmentRaisedError, GymHttpServerError
from .messages import JSON, MSGPACK, CreateRequest
from .served import Served, open_served
from .wire import CLOSE, CREATE, RequestReader, pack_description, pack_error, pack_reply

if TYPE_CHECKING:
    import socket

logger = logging.getLogger(__name__)


def rehearse() -> None:
    """Make an environment, take a few steps in it and close it.

    For a process that others are forked from: what this loads, they share, and it halves what each takes in time to be
    made and in memory of its own.
    """
    from . import batch  # noqa: F401 -- for what it loads

    with contextlib.suppress(GymHttpServerError):
        environment = open_served(CreateRequest("CartPole-v1", library="gymnasium"))
        for media_type in (JSON, MSGPACK):
            environment.call("reset", {"media_type": media_type})
            for _ in range(8):
                environment.call("step", {"action": 0, "media_type": media_type})
        environment.close()


def serve(connection: socket.socket) -> None:
    """Serve the requests on a blocking socket: first `create`, then operations, then `close` or the socket's end."""
    environment: Served | None = None
    max_reply = 0
    try:
        requests = RequestReader(connection)
        while (request := requests.next()) is not None:
            operation, arguments = request
            if operation == CLOSE:
                break
            try:
                if environment is None:
                    if operation != CREATE:
                        raise EnvironmentRaisedError(f"{operation} before the environment was made")  # noqa: TRY301 -- answered like every other error
                    max_reply = arguments["max_reply"]
                    environment = open_served(CreateRequest.from_wire(arguments["request"]))
                    answer = pack_description(environment.description)
                else:
                    answer = pack_reply(environment.call(operation, arguments).within(max_reply))
            except GymHttpServerError as error:
                answer = pack_error(error)
            except (Exception, SystemExit) as error:
                logger.exception("unexpected error in %s", operation)
                answer = pack_error(EnvironmentRaisedError(f"{operation} failed with {type(error).__name__}: {error}"))
            connection.sendall(answer)
            if environment is None or environment.is_broken:
                break
    finally:
        if environment is not None:
            environment.close()
