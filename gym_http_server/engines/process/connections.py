"""Clients' connections in an environment's process, as the process engine sees them: the seam that `handover/` fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...errors import GymHttpServerError
    from ...runtime.shared.memory import Memory
    from ..base import Lender

Send: TypeAlias = "Callable[[bytes, int | None], bool]"
"""Sends a frame, perhaps with a descriptor, over the channel; returns whether it did."""


class Connections:
    """The connections of one process; this class is for processes that serve none.

    Args:
        memory: the memory that the process shares with the server.
    """

    def __init__(self, memory: Memory) -> None:
        """Hold nothing."""

    @property
    def is_held(self) -> bool:
        """Whether the process has a connection."""
        return False

    @property
    def is_executing(self) -> bool:
        """Whether the process executes a request of a connection."""
        return False

    def hand_over(
        self,
        send: Send,  # noqa: ARG002 -- for the subclass
        connection: int,  # noqa: ARG002
        data: bytes,  # noqa: ARG002
        lender: Lender,  # noqa: ARG002
    ) -> bool:
        """Send a connection to the process; otherwise as `engines.base.Worker.hand_over`.

        Args:
            send: sends a frame with a descriptor over the channel and returns whether it did.
            connection: the descriptor.
            data: the received bytes.
            lender: gets the connection back.
        """
        return False

    def begin_call(self) -> None:
        """Note that the server has sent a call, during which the process does not serve its connections."""

    def end_call(self) -> None:
        """Note that this call has ended, or that nobody waits for it any more."""

    def recall(self, send: Send) -> None:
        """Ask for all connections; `send` is as above."""

    async def returned(self) -> None:
        """Wait until the process has no connection."""

    def max_frame_bytes(self, kind: int, max_reply: int) -> int:  # noqa: ARG002
        """Return the maximum size of the body of a frame of the channel; -1 if its kind is not expected."""
        return -1

    def take(self, kind: int, body: bytes) -> None:
        """Take a frame; raise ValueError if it is malformed."""

    def last_sign(self, now: float) -> float:
        """Return since when a request is unread, in seconds of the monotonic clock; now if there is none."""
        return now

    def inherit(self, error: GymHttpServerError, *, is_unread: bool) -> None:
        """Take the connections of a process that has ended; the error answers the request in execution.

        With `is_unread` it answers the requests that the process left unread until it was killed.
        """
