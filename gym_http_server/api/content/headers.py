"""Request headers: single values, lists, and content negotiation by Accept (RFC 9110, 5.3 and 12.5.1)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ...runtime.messages import JSON, MSGPACK
from ..problems import PROBLEM_JSON, HttpProblem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

HTML: Final = "text/html"

SINGLE_VALUE_HEADERS: Final = frozenset(
    (
        *(b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"authorization", b"cookie"),
        *(b"access-control-request-method", b"access-control-request-private-network"),
        *(b"content-type", b"content-length", b"content-encoding", b"idempotency-key"),
        *(b"range", b"if-range", b"if-modified-since", b"if-unmodified-since"),
    )
)
"""Headers that may appear once: of two values, the guard and a handler might read different ones.

`X-Request-Id` is not among them: it decides nothing, and some proxies add another. The first one is used.
"""


def repetition(
    headers: Iterable[tuple[bytes, bytes]], single: Collection[bytes] = SINGLE_VALUE_HEADERS
) -> HttpProblem | None:
    """Return the problem with a single-value header that is repeated, or None."""
    names = [name for name, _ in headers]
    for name in sorted({*single} & {*names}):
        if names.count(name) > 1:
            called = name.decode("latin-1").title()
            return HttpProblem(400, "malformed-request", f"there is more than one {called} header: send one")
    return None


def combined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the lines of a list header joined by commas, or None if it is absent."""
    lines = [value.decode("latin-1") for each, value in headers if each == name]
    return ", ".join(lines) if lines else None


def has_header(scope: Mapping[str, Any], name: bytes) -> bool:
    """Return whether a request has a header; `name` is in lower case."""
    return any(each == name for each, _ in scope["headers"])


def acceptable(accept: str | None, offered: Sequence[str]) -> list[str]:
    """Return the media types of `offered` that `accept` allows, the best first.

    Ties keep the order of `offered`; without the header all are allowed. A header that names only problem details says
    nothing about other replies: generated Python clients send it where the contract declares no other JSON.
    """
    if not accept or not accept.strip():
        return list(offered)
    # Parameters such as charset are ignored: every type has one encoding here.
    parsed = parse_accept_header(accept, MIMEAccept)
    header = MIMEAccept([(media_type.split(";")[0].strip(), quality) for media_type, quality in parsed])
    if header and all(media_type == PROBLEM_JSON for media_type, _ in header):
        return list(offered)
    liked = [media_type for media_type in offered if header.quality(media_type) > 0]
    return sorted(liked, key=header.quality, reverse=True)


@functools.lru_cache(maxsize=256)
def form_of(accept: str | None) -> dict[str, Any]:
    """Return the keyword argument `media_type` for an environment's call; empty for JSON.

    JSON wins ties, because generated clients list every type of the contract, and is the fallback if neither is allowed.
    """
    liked = acceptable(accept, (JSON, MSGPACK))
    return {"media_type": MSGPACK} if liked[:1] == [MSGPACK] else {}


def wants_html_only(accept: str | None) -> bool:
    """Return whether a client accepts HTML but not JSON, as the Haskell client of the v1 contract does."""
    return JSON not in acceptable(accept, [JSON, HTML]) and HTML in acceptable(accept, [HTML])


def mended(accept: str | None, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return an Accept header, corrected for one old client.

    Haskell's client of the v1 contract asks for JSON when it starts a monitor but accepts only HTML. It is recognised by its
    missing User-Agent.
    """
    if path.endswith("/monitor/start/") and accept == JSON and all(name != b"user-agent" for name, _ in headers):
        return HTML
    return accept
