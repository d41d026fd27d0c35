"""Whether connections are handed over. It imports nothing: that is decided before all else is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..config import Settings

OWNER_MODULE: Final = "gym_http_server.handover.owner"
"""What an environment's process runs to be handed connections."""


def can_hand_over(settings: Settings) -> bool:
    """Return whether a server with these settings hands connections over.

    Not where each request is logged or each reply compressed: only the server does that, and it costs more than a pipe.
    Neither where the connection is encrypted, for the server's process has the state of that, nor where it is a proxy's,
    which carries many clients. And where a key is required only by request: the environment, third-party code, could read
    it on the connection.
    """
    is_wanted = not settings.api_key if settings.handover is None else settings.handover
    is_servers = settings.access_log or settings.compression == "all" or settings.tls_cert or settings.trusted_proxy
    return settings.engine == "process" and is_wanted and not is_servers
