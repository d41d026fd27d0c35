"""Content negotiation by the Accept header (RFC 9110, 12.5.1)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ...runtime.messages import JSON, MSGPACK
from ..problems import PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HTML = "text/html"


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
