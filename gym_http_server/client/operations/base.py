"""`OperationBase`: what the methods of all operations call, and how they build paths and bodies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any
from urllib.parse import quote

MAX_SEED = (1 << 53) - 1
"""The largest seed that the contract has as a number; larger ones are sent as decimal digits."""


class OperationBase(ABC):
    """Sends the request of an operation: to a server with `Client`, to any implementation with the conformity kit."""

    _default_lease: float | None = None

    def _note_lease(self, instance_id: str, lease: float) -> None:  # noqa: B027 -- optional
        """Called when an instance was created with a lease, in seconds."""

    def _note_place(self, instance_id: str, url: str, key: str | None) -> None:  # noqa: B027 -- optional
        """Called when an instance was created that can be reached directly, with the address and the key for it."""

    def _note_end(self, instance_id: str) -> None:  # noqa: B027 -- optional
        """Called when an instance was closed."""

    def _note_hold(self, instance_id: str, token: str | None) -> None:  # noqa: B027 -- optional
        """Called when an instance is held, with the token, and with None when it was given back."""

    @abstractmethod
    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        hot: bool = False,
        repeatable: bool = False,
        keyed: bool = False,
    ) -> dict[str, Any]:
        """Send a request; return the members of the reply.

        Args:
            method: the HTTP method.
            path: the path, percent-encoded.
            body: the members of the body; None sends no body.
            hot: the operation also speaks MessagePack.
            repeatable: the operation is idempotent, so the request may be sent again if no reply came.
            keyed: the operation takes an `Idempotency-Key`, so the request may be sent again with the same key.
        """

    @abstractmethod
    def _file(self, path: str, media_type: str) -> bytes:
        """Return the body of a GET as bytes of a media type."""


def given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None, with large seeds as decimal digits."""
    seed, seeds = members.get("seed"), members.get("seeds")
    if seed is not None and seed > MAX_SEED:
        members |= {"seed": None, "wide_seed": str(int(seed))}
    if seeds is not None and any(seed is not None and seed > MAX_SEED for seed in seeds):
        members |= {"seeds": None, "wide_seeds": [None if seed is None else str(int(seed)) for seed in seeds]}
    return {name: value for name, value in members.items() if value is not None}


@lru_cache(1024)
def instance_path(instance_id: str, rest: str) -> str:
    """Return a path below an instance, percent-encoded."""
    return f"/v1/envs/{quote(instance_id, safe='')}{rest}"
