"""Content negotiation: which media types `Accept` allows, the best first (RFC 9110, 12.5.1)."""

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
    """Return those of the media types `offered` that `accept` allows, the best first.

    Of those that it likes equally, the order of `offered` holds; without the header all will do. A header that names
    problem details alone says in which form to have an error, and nothing of what else is answered: generated Python
    clients send it where the contract declares no other JSON.
    """
    if not accept or not accept.strip():
        return list(offered)
    # Parameters such as charset say how a type is to be encoded, and nothing here comes in two encodings.
    parsed = parse_accept_header(accept, MIMEAccept)
    header = MIMEAccept([(media_type.split(";")[0].strip(), quality) for media_type, quality in parsed])
    if header and all(media_type == PROBLEM_JSON for media_type, _ in header):
        return list(offered)
    liked = [media_type for media_type in offered if header.quality(media_type) > 0]
    return sorted(liked, key=header.quality, reverse=True)


@functools.lru_cache(maxsize=256)
def form_of(accept: str | None) -> dict[str, Any]:
    """Return the argument that has an environment answer in the form that `accept` asks for: none for JSON.

    JSON wins a tie, because generated clients list every type that the contract declares; and where neither is
    allowed, it is better than nothing.
    """
    liked = acceptable(accept, (JSON, MSGPACK))
    return {"media_type": MSGPACK} if liked[:1] == [MSGPACK] else {}


def wants_html_only(accept: str | None) -> bool:
    """Return whether a client takes HTML and not JSON, as the Haskell binding of the v1 contract does."""
    return JSON not in acceptable(accept, [JSON, HTML]) and HTML in acceptable(accept, [HTML])


def mended(accept: str | None, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return an Accept header as its client means it.

    Haskell's client of the v1 contract asks for JSON where it starts a monitor, and takes HTML alone. What tells it from
    others is that it does not name itself.
    """
    if path.endswith("/monitor/start/") and accept == JSON and all(name != b"user-agent" for name, _ in headers):
        return HTML
    return accept
