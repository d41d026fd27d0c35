"""The interface of an engine and of its workers."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..runtime.messages import CreateRequest, Description, Reply
    from ..runtime.shared.traffic import Traffic
    from ..runtime.shared.usage import Usage


class Worker(abc.ABC):
    """A handle on one environment. Its owner makes one call at a time.

    Attributes:
        description: the environment.
        known_space_changes: how many changes of its spaces the description has.
        usage: its use; reading it never waits for the environment.
        traffic: counters of the requests that its process answered; None without a process that does.
        loss: why the environment is lost, in words; None while it lives.
    """

    description: Description
    known_space_changes: int = 0
    usage: Usage
    traffic: Traffic | None = None
    loss: str | None = None

    @abc.abstractmethod
    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Execute an operation of `runtime/operations.py`; its arguments are plain JSON values.

        Raises:
            UsageError, ConflictError: the operation was refused.
            ReplyTooLargeError: the reply is larger than `max_reply`.
            EnvironmentRaisedError: the environment raised an exception.
            EnvironmentDiedError, CallTimeoutError: the environment was lost during this call.
        """

    def hand_over(self, connection: int, data: bytes, lender: Lender) -> bool:  # noqa: ARG002 -- for subclasses
        """Give a client's connection to the environment's process, if there is one that can serve it.

        Args:
            connection: its descriptor, which belongs to the worker afterwards.
            data: received bytes, the beginning of a request.
            lender: gets the connection back.

        Returns:
            Whether the connection was taken.
        """
        return False

    def recall(self) -> None:  # noqa: B027 -- nothing to do without `hand_over`
        """Ask the environment's process to give clients' connections back."""

    @abc.abstractmethod
    async def close(self, *, at_once: bool = False) -> None:
        """Close the environment and release its resources. Never fails; does nothing the second time.

        With `at_once` it does not wait for a request on a client's own connection.
        """


class Lender(Protocol):
    """Whoever handed a client's connection over."""

    @property
    def session(self) -> Mapping[str, Any] | None:
        """What the environment's process has to know of the session of a WebSocket, as plain values; None for HTTP."""

    def is_served_there(self, data: bytes) -> bool:
        """Return whether received bytes begin a request that the environment's process serves."""

    def back(self, returned: Any) -> None:
        """Take the connection back, once.

        Args:
            returned: `handover.lent_connections.Returned`, or None if the connection has ended.
        """


class Engine(abc.ABC):
    """Makes environments and returns their workers.

    Attributes:
        name: its name in the settings.
        caveat: what people should know before they rely on it; None for nothing.
    """

    name: str
    caveat: str | None = None

    @abc.abstractmethod
    async def start(self) -> None:
        """Start the engine.

        Raises:
            ImportFailedError: a module named with `--import` cannot be imported.
        """

    @abc.abstractmethod
    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> Worker:
        """Make an environment; its creation and each later call may take `call_timeout` seconds.

        Raises:
            UsageError: the environment cannot be made as requested.
            EnvironmentDiedError, CallTimeoutError: its process ended or was killed meanwhile.
            OutOfResourcesError: the system has no process or descriptor left.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """End all processes that the engine started. Never fails; does nothing the second time."""
