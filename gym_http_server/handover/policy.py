"""Whether connections are handed over. Imports nothing, because that is decided before anything else is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..config import Settings

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
