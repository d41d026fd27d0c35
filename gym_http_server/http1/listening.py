"""The listening sockets. Imports little, because the port is bound before anything else is loaded."""

from __future__ import annotations

import socket
import sys

from ..errors import AddressError

BACKLOG = 2048
"""Maximum connections that wait for the server, such as those that come while it starts."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address that `host` resolves to, all on the same port.

    Raises:
        AddressError: `host` cannot be resolved, or an address cannot be bound.
    """
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise AddressError(f"cannot resolve the address {host!r}: {why}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise AddressError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --listen or --port"
        ) from None
    return sockets
