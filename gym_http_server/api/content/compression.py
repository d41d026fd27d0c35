"""Compression of replies: by default for remote clients and off the hot path only, where it saves more than it costs.

The setting `compression` extends it to the hot path and to clients on this machine.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Final

from starlette_compress import CompressMiddleware, add_compress_type

from ...runtime.messages import MSGPACK
from ..asgi import link_of, with_link
from ..problems import PROBLEM_JSON

if TYPE_CHECKING:
    from ..asgi import App, Receive, Scope, Send

MIN_COMPRESSED_BYTES: Final = 1024
"""Minimum bytes of a reply that is compressed."""


for _each in (MSGPACK, PROBLEM_JSON, "application/yaml"):
    add_compress_type(_each)


class Compression:
    """ASGI middleware that compresses replies (gzip or zstd) if the client accepts it.

    Args:
        app: the wrapped app.
        everywhere: also for clients on this machine, and on the hot path.
    """

    def __init__(self, app: App, *, everywhere: bool = False) -> None:
        self._app = app
        self._everywhere = everywhere
        self._compressing = CompressMiddleware(app, minimum_size=MIN_COMPRESSED_BYTES, brotli=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if self._everywhere or not (link_of(scope).is_declined or is_here(scope)):
            await self._compressing(with_link(scope, reply=None), receive, send)
        else:
            await self._app(scope, receive, send)


def compressed(app: App, compression: str) -> App:
    """Return an app off the hot path, compressed as the setting says: `off`, `remote` or `all`."""
    return app if compression == "off" else Compression(app, everywhere=compression == "all")


def is_here(scope: Scope) -> bool:
    """Return whether the client's address is on this machine."""
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
