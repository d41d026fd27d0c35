"""Pages: a WSGI app behind ASGI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gym_http_server.api.pages import Pages

SCOPE = {
    "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/",
    "query_string": b"", "headers": [], "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
}  # fmt: skip


class Parts:
    """The parts of a page, and whether they were closed."""

    def __init__(self) -> None:
        self.times_closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter((b"a", b"b"))

    def close(self) -> None:
        self.times_closed += 1


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("goes_away", [False, True])
async def test_the_parts_of_a_page_are_closed(goes_away: bool) -> None:
    """Once, when all are sent and when the client goes away before that, as WSGI says (PEP 3333)."""
    parts, sent = Parts(), b""

    def app(environ: Any, start_response: Any) -> Parts:  # noqa: ARG001 -- WSGI's signature
        start_response("200 OK", [("Content-Type", "text/plain")])
        return parts

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += message.get("body", b"")
        if goes_away and sent:
            raise ConnectionResetError

    pages = Pages(app, 1000)
    try:
        await pages(SCOPE, receive, send)
    except ConnectionResetError:
        assert goes_away
    finally:
        pages.stop()
    assert (sent, parts.times_closed) == (b"a" if goes_away else b"ab", 1)
