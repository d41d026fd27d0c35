"""The seam between the server and the place where environments run."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..runtime.messages import CreateRequest, Description, Reply


class Worker(abc.ABC):
    """A handle on one running environment. Its owner makes one call at a time.

    Attributes:
        description: what was made.
        loss: why the environment can serve no more, in words, or None while it lives.
    """

    description: Description
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

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the environment and give back all that it holds. Never fails, and does nothing the second time."""


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
