"""The listening sockets. Imports little, because the port is bound before anything else is loaded."""

from __future__ import annotations

import socket
import sys

from ..errors import AddressError

BACKLOG = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address that `host` resolves to, all on the same port.

    Raises:
        AddressError: `host` cannot be resolved, or an address cannot be bound.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise AddressError(f"cannot resolve the address {host!r}: {why}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            each = socket.socket(family, kind, protocol)
            sockets.append(each)
            if sys.platform != "win32":
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
            each.listen(BACKLOG)
            each.setblocking(False)
    except OSError as error:
        for each in sockets:
            each.close()
        raise AddressError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --listen or --port"
        ) from None
    return sockets
