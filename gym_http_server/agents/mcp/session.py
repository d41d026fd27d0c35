"""What owns the instances of one client: the interface between tools and operations, here or on another server."""

from __future__ import annotations

from typing import Any, Protocol


class Session(Protocol):
    """What owns the instances of one client, here or on another server. `AgentSession` executes operations in this process.

    Attributes:
        session_id: its id.
    """

    session_id: str

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make an instance, as createEnv does."""

    async def call(self, operation_id: str, body: Any = None, **parameters: Any) -> Any:
        """Execute an operation of the contract; see `InProcessOperations.call`."""

    async def close(self, instance_id: str) -> None:
        """Close an instance of the session."""

    async def end(self, why: str) -> None:
        """Close all instances of the session."""
