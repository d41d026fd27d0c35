"""Heads of requests and replies, as they pass through a router."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..api.call import LOOKUP_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOP_BY_HOP: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
    )
)
"""Headers of one connection (RFC 9110, 7.6.1)."""

_ROUTERS_OWN: Final = frozenset(
    (
        *(b"host", b"authorization", b"cookie", b"content-length", b"expect", b"accept-encoding"),
        *(b"origin", b"forwarded", b"via", LOOKUP_NAME),
        *(b"access-control-request-method", b"access-control-request-headers"),
        *(b"access-control-request-private-network",),
    )
)
"""Headers that the router has acted on: access, framing, compression."""

_OF_SERVER: Final = frozenset((b"date", b"server"))
"""Headers of a reply that the router's own protocol adds."""

INSTANCE_PATH: Final = re.compile(r"/v1/envs/([0-9a-f]{8})/.*")


def request_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a client's request that its shard is sent; an Idempotency-Key is the last."""
    passed = [(name, value) for name, value in headers if _passes(name)]
    return sorted(passed, key=lambda header: header[0] == b"idempotency-key")


def reply_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a shard's reply that its client is sent."""
    return [(name, value) for name, value in headers if name not in _HOP_BY_HOP and name not in _OF_SERVER]


def head_bytes(
    method: bytes, target: bytes, authority: bytes, key: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return a request head without its last line.

    Args:
        method: its method.
        target: path and query.
        authority: host and port of the shard.
        key: the key that the shard accepts; empty for none.
        headers: further headers.
    """
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority)]
    if key:
        lines.append(b"authorization: Bearer %b\r\n" % key)
    lines += [b"%b: %b\r\n" % header for header in headers]
    return b"".join(lines)


def _passes(name: bytes) -> bool:
    return not (
        name in _HOP_BY_HOP or name in _ROUTERS_OWN or name.startswith((b"x-forwarded-", b"sec-fetch-", b"proxy-"))
    )
