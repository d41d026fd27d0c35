"""The seam between the server and the place where environments run."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..errors import GymHttpServerError
    from ..runtime.messages import CreateRequest, Description, Reply
    from ..runtime.shared.traffic import Traffic
    from ..runtime.shared.usage import Usage


class Returned(NamedTuple):
    """A client's connection that comes back from the process that served it.

    Attributes:
        connection: its descriptor, for the receiver to close.
        rest: what is to be written to it: the end of a reply.
        closes: it is to be closed then.
        data: what came on it since all before was answered.
        answered: how many of the requests in `data` are answered.
        served: how many requests were answered since it was handed over.
        error: what the first of the others is to be answered with, where the process died over it.
        waits_since: since when the client is waited for, in seconds of the monotonic clock; 0 for not known.
    """

    connection: int
    rest: bytes
    closes: bool
    data: bytes
    answered: int
    served: int
    error: GymHttpServerError | None
    waits_since: float = 0.0


class Worker(abc.ABC):
    """A handle on one running environment. Its owner makes one call at a time.

    Attributes:
        description: what was made.
        usage: how much it has been used; never waits for the environment.
        traffic: how its own process answered clients, where it has one that does.
        loss: why the environment can serve no more, in words, or None while it lives.
    """

    description: Description
    usage: Usage
    traffic: Traffic | None = None
    loss: str | None = None

    @abc.abstractmethod
    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Have the environment serve an operation (a name in `runtime.environment.OPERATIONS`).

        Args:
            operation: the operation.
            arguments: its arguments, plain JSON values.

        Raises:
            UsageError, ConflictError: what the environment's side refuses.
            ReplyTooLargeError: the reply is over `max_reply`.
            EnvironmentRaisedError: the environment raised an exception.
            EnvironmentDiedError, CallTimeoutError: the environment is lost by this very call.
        """

    def hand_over(self, connection: int, data: bytes, back: Callable[[Returned | None], None]) -> bool:  # noqa: ARG002 -- the seam's signature
        """Give a client's connection to the environment's own process, where there is one that can take it.

        Args:
            connection: descriptor of the connection, which belongs to the worker if it is taken.
            data: what has come on it: the beginning of a request, at least.
            back: told once when the connection is given back, or with None when it has ended.

        Returns:
            Whether it was taken.
        """
        return False

    def recall(self) -> None:  # noqa: B027 -- who takes none has none to give back
        """Have the connection that was handed over given back as soon as the environment can."""

    @abc.abstractmethod
    async def close(self, *, at_once: bool = False) -> None:
        """Close the environment and give back all that it holds. Never fails, and does nothing the second time.

        Args:
            at_once: do not wait for a call that came on a client's own connection.
        """


class Engine(abc.ABC):
    """Makes workers.

    Attributes:
        name: as in the settings.
        caveat: what a person should know before relying on it, or None.
    """

    name: str
    caveat: str | None = None

    @abc.abstractmethod
    async def start(self) -> None:
        """Make the engine ready.

        Raises:
            ImportFailedError: a module named with `--import` cannot be imported.
        """

    @abc.abstractmethod
    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> Worker:
        """Make an environment.

        Args:
            instance_id: the name that the environment's output is logged under.
            request: what to make.
            call_timeout: seconds that its making, and each call later, may take.

        Raises:
            UsageError: the environment cannot be made as asked.
            EnvironmentDiedError, CallTimeoutError: its process ended or was killed while it was being made.
            OutOfResourcesError: the system gives no process or descriptor for it.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """End everything that the engine started. Never fails, and does nothing the second time."""
