"""Parsing the requests of a client's connection in an environment's process, and splitting them after the answered ones."""

from __future__ import annotations

import bisect
import collections
import contextlib
from typing import Any, Final
from urllib.parse import unquote

import httptools

from ..http1.arrival import BODY, HEAD, MAX_HEAD_BYTES, NOTHING, head_size

MAX_PART_BYTES: Final = MAX_HEAD_BYTES + (1 << 12)
"""Maximum bytes of an incomplete head, and of a chunked body without its data. It is more than the server's limit, because the
server does not count the first piece when it parses the bytes again."""


class ServersRequest(Exception):
    """Stops the parser at a request that only the server serves."""


class ParsedRequest:
    """A request.

    Attributes:
        method: its method.
        version: `1.0` or `1.1`.
        target: its target, as sent.
        headers: its headers, with names in lower case.
        keep_alive: whether the connection stays open after the reply.
        body: its body.
    """

    __slots__ = ("_parts", "headers", "keep_alive", "method", "target", "version")

    def __init__(self) -> None:
        self.method = self.version = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = True
        self._parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        """Its body."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def add_body(self, part: bytes) -> None:
        """Add a part of the body."""
        self._parts.append(part)

    def scope(self, client: tuple[str, int] | None) -> dict[str, Any]:
        """Return the members of an ASGI scope that the guard, the hot path and the log of refusals read.

        Raises:
            ValueError, httptools.HttpParserError: the target is no URL.
        """
        path = (httptools.parse_url(self.target).path or b"").decode("ascii")
        return {
            "type": "http",
            "method": self.method,
            "path": unquote(path) if "%" in path else path,
            "headers": self.headers,
            "http_version": self.version,
            "scheme": "http",
            "client": client,
        }


class RequestParser:
    """Parses the bytes of one connection.

    Attributes:
        complete: complete requests, in order.
        part: `NOTHING`, `HEAD` or `BODY`: what is arriving.
        part_count: number of parts that have begun.
        is_stopped: what follows the complete requests is the server's: malformed, too long, an upgrade, or `Expect`.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._request = ParsedRequest()
        self._headers: list[tuple[bytes, bytes]] = []
        self._may_be_long = False
        self._part_bytes = 0
        self.complete: collections.deque[ParsedRequest] = collections.deque()
        self.part = NOTHING
        self.part_count = 0
        self.is_stopped = False

    def feed(self, data: bytes) -> None:
        """Parse received bytes; nothing after `is_stopped`."""
        if self.is_stopped:
            return
        if self.part:
            self._part_bytes += len(data)
        self._may_be_long = self.part == HEAD or len(data) > MAX_HEAD_BYTES
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserCallbackError, httptools.HttpParserUpgrade):
            self.is_stopped = True
        except httptools.HttpParserError:
            self.is_stopped = True
            if self.complete:
                # A reply to the malformed bytes would be taken for one of theirs: the connection ends instead.
                self.complete[-1].keep_alive = False
        if self.part and self._part_bytes > MAX_PART_BYTES:
            self.is_stopped = True

    def _begin(self, part: int) -> None:
        self.part = part
        self.part_count += 1
        self._part_bytes = 0

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = ParsedRequest()
        self._headers = self._request.headers
        self._begin(HEAD)

    def on_url(self, url: bytes) -> None:
        """Receive a part of the target."""
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End the head, or stop at one that is the server's."""
        request, parser = self._request, self._parser
        is_expecting = any(name == b"expect" for name, _ in request.headers)
        is_long = self._may_be_long and head_size(request.target, request.headers) > MAX_HEAD_BYTES
        if is_expecting or is_long or parser.should_upgrade():
            raise ServersRequest
        request.method = parser.get_method().decode("ascii")
        request.version = parser.get_http_version()
        request.keep_alive = request.version != "1.0" and parser.should_keep_alive()
        self._begin(BODY)

    def on_chunk_header(self) -> None:
        """Drop trailers that may follow: they are not headers of the request (RFC 9110, 6.5)."""
        self._headers = []

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._part_bytes = 0
        self._request.add_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self.part = NOTHING
        self.complete.append(self._request)


def unanswered(data: bytes, answered: int) -> bytes:
    """Return the bytes after the first `answered` requests; empty if there are fewer.

    The parser does not report where a request ends, so the shortest prefix with that many complete requests is searched.
    """
    if not answered:
        return data

    def holds(size: int) -> bool:
        counter = _Counter()
        parser = httptools.HttpRequestParser(counter)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        # An error belongs to a later request.
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            parser.feed_data(data[:size])
        return counter.count >= answered

    return data[bisect.bisect_left(range(len(data)), True, key=holds) :]


class _Counter:
    """Counts complete requests."""

    def __init__(self) -> None:
        self.count = 0

    def on_message_complete(self) -> None:
        """Count one."""
        self.count += 1
