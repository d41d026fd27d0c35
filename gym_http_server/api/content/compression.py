"""Compression of replies, where it saves more than it costs: by default for clients on other machines, off the hot path.

A step on loopback is not made faster by compressing what never leaves the machine, and a training loop elsewhere that
wants it asks for it by the setting `compression`.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Final

from starlette_compress import CompressMiddleware, add_compress_type

from ...runtime.messages import MSGPACK
from ..problems import PROBLEM_JSON

if TYPE_CHECKING:
    from ..normalizer import App, Receive, Scope, Send

LEAST: Final = 1024
"""Replies under so many bytes are sent as they are."""

HOT: Final = "gym_http_server.hot"
"""Set in the scope of a request for an operation of the hot path that has fallen through."""

for _each in (MSGPACK, PROBLEM_JSON, "application/yaml"):
    add_compress_type(_each)


class Compression:
    """An ASGI app that compresses another one's replies (gzip or zstd) where the client accepts it.

    Args:
        app: the other one.
        everywhere: also for clients on this machine, and on the hot path.
    """

    def __init__(self, app: App, *, everywhere: bool = False) -> None:
        self._app = app
        self._everywhere = everywhere
        self._compressing = CompressMiddleware(app, minimum_size=LEAST, brotli=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if self._everywhere or not (HOT in scope or is_here(scope)):
            # Without the extensions of the HTTP protocol, one of which sends a reply past the compression.
            await self._compressing({**scope, "extensions": {}}, receive, send)
        else:
            await self._app(scope, receive, send)


def is_here(scope: Scope) -> bool:
    """Return whether the client is on this machine, by the address that it connects from."""
    client = scope.get("client")
    return client is None or _is_loopback(client[0])


@functools.lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
