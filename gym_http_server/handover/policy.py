"""Whether connections are handed over, and when. Imports nothing, because that is decided before anything else is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..config import Settings

MIN_SERVED_REQUESTS: Final = 32
"""A hand-over that ends after fewer requests than this costs more than it saves."""

MIN_PATIENCE_REQUESTS: Final = 1
MAX_PATIENCE_REQUESTS: Final = 1 << 12

HOST_MODULE: Final = "gym_http_server.handover.host"
"""The module of environments' processes that take connections."""


def can_hand_over(settings: Settings) -> bool:
    """Return whether a server with these settings hands connections over.

    Not with an access log or compression of all replies: only the server does these, and they cost more than the hand-over
    saves. Not with TLS, whose state is in the server's process, nor with a trusted proxy, whose connections carry many
    clients. With a key only if `handover` is set: the environment, third-party code, could read the key on the connection. In
    a shard of a cluster that is the key of this one instance.
    """
    is_wanted = settings.handover
    if is_wanted is None:
        is_wanted = not settings.api_key or bool(settings.shard)
    is_servers = settings.access_log or settings.compression == "all" or settings.tls_cert or settings.trusted_proxy
    return settings.engine == "process" and is_wanted and not is_servers


class Habit:
    """The recent use of a connection, which decides whether to hand it over.

    Handing over and back takes as long as two requests through the server. A connection moves when it is used repeatedly for
    one instance, and later after each hand-over that did not pay.

    Attributes:
        instance_id: the instance of the last request, or empty.
        run: number of earlier requests in a row for it.
        patience: minimum `run` for a hand-over.
    """

    __slots__ = ("instance_id", "patience", "run")

    def __init__(self) -> None:
        self.instance_id = b""
        self.run = 0
        self.patience = MIN_PATIENCE_REQUESTS

    def is_ripe(self, instance_id: bytes) -> bool:
        """Note a request for an instance; return whether the connection should move there."""
        if instance_id != self.instance_id:
            self.instance_id = instance_id
            self.run = 0
        else:
            self.run += 1
        return self.run >= self.patience

    def came_back(self, served: int) -> None:
        """Note that the connection came back after `served` requests."""
        self.patience = (
            min(self.patience * 2, MAX_PATIENCE_REQUESTS) if served < MIN_SERVED_REQUESTS else MIN_PATIENCE_REQUESTS
        )
        self.run = 0
