"""`FastPath`: which requests take the fast path, and to which shard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httptools

from ...api.problems import HttpProblem
from ...contract import load_contract
from ...errors import GymHttpServerError
from ...http1.arrival import MAX_HEAD_BYTES
from ...http1.known_heads import END_OF_HEAD, KEY_LINE, MAX_KNOWN_HEADS, end_of_known
from ..exchanges import INSTANCE_PATH, head_bytes, request_headers
from .protocol import KnownHead, RouterProtocol

if TYPE_CHECKING:
    from ...api.guard.security import Guard
    from ...config import Settings
    from ..cluster import Cluster


_KEY: Final = re.compile(rb"[!-~]{1,255}")
_NOT_PLAIN: Final = frozenset(
    (
        *(b"expect", b"upgrade", b"transfer-encoding", b"origin", b"cookie", b"x-request-id"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"),
    )
)
"""Headers of requests that the application serves."""


class FastPath:
    """Decides which requests take the fast path.

    Args:
        settings: the router's settings.
        cluster: the cluster.
        guard: decides which requests are refused.

    Attributes:
        cluster: the cluster.
        pending: the connections that wait for a reply.
    """

    def __init__(self, settings: Settings, cluster: Cluster, guard: Guard) -> None:
        self.cluster = cluster
        self.pending: set[RouterProtocol] = set()
        self._guard = guard
        self._max_body = settings.max_body
        self._contract = load_contract()
        # Only the application does these, and they cost more than the fast path saves.
        self._is_off = settings.access_log or settings.compression == "all"

    def protocol(self, **options: Any) -> RouterProtocol:
        """Return the protocol of a new connection."""
        return RouterProtocol(take=self.take, report=self.cluster.report, pending=self.pending, **options)

    def take(self, protocol: RouterProtocol, data: bytes) -> bool:
        """Begin to serve a whole request; return False for one that is the application's."""
        end, key = end_of_known(data)
        known = protocol.known.get(data[:end])
        if known is None:
            known = None if self._is_off else self._learn(protocol, data, end, key)
            if known is None:
                return False
        head = known.head
        if key:
            if _KEY.fullmatch(key) is None:
                return False
            head = b"%b%b%b\r\n" % (head, KEY_LINE[2:], key)
            end += len(key) + len(END_OF_HEAD)
        if len(data) - end != known.size:
            return False
        try:
            pool = self.cluster.pool_of(known.instance_id)
        except GymHttpServerError:
            return False
        request = b"%b\r\n%b" % (head, data[end:])
        protocol.forward(pool, known.instance_id, request, is_repeatable=known.is_repeatable or bool(key))
        return True

    def stop(self) -> None:
        """Answer the requests that wait for a reply, because the router stops."""
        detail = "the router is stopping and has ended this request; whether it was executed is not known: send it to the next one"
        for protocol in list(self.pending):
            protocol.refuse(HttpProblem(503, "server-stopping", detail, setting="shutdown_timeout"))

    def _learn(self, protocol: RouterProtocol, data: bytes, end: int, key: bytes) -> KnownHead | None:
        """Parse a head, and remember it; None for one that is not plain, or that the guard refuses."""
        size = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        if size < len(END_OF_HEAD) or size > MAX_HEAD_BYTES:
            return None
        head = _ParsedHead()
        parser = head.parser = httptools.HttpRequestParser(head)
        try:
            parser.feed_data(data[:size])
            method, target = parser.get_method().decode("ascii"), httptools.parse_url(head.target)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            return None
        names = [name for name, _ in head.headers]
        if parser.get_http_version() != "1.1" or not head.keeps_alive:
            return None
        if _NOT_PLAIN.intersection(names) or (b"idempotency-key" in names) != bool(key):
            return None
        path = (target.path or b"").decode("latin-1")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": head.headers,
            "http_version": "1.1",
            "scheme": protocol.scheme,
            "client": protocol.client,
        }
        match = INSTANCE_PATH.fullmatch(path)
        if match is None or method == "HEAD" or not self._is_hot(method, path):
            return None
        length = dict(head.headers).get(b"content-length", b"0")
        if self._guard.refusal(scope) is not None or not length.isdigit() or int(length) > self._max_body:
            return None
        headers = [header for header in request_headers(head.headers) if header[0] != b"idempotency-key"]
        if b"content-length" in names:
            headers.append((b"content-length", length))
        try:
            authority = self.cluster.pool_of(match[1]).authority
        except GymHttpServerError:
            return None
        sent = head_bytes(method.encode(), head.target, authority, self.cluster.key_of(match[1]), headers)
        known = KnownHead(match[1], sent, int(length), method == "GET")
        if len(protocol.known) >= MAX_KNOWN_HEADS:
            protocol.known.clear()
        protocol.known[data[:end]] = known
        return known

    def _is_hot(self, method: str, path: str) -> bool:
        found = self._contract.match(path) if "%" not in path else None
        operation = None if found is None else found[0].operation(method)
        return operation is not None and bool(operation.get("x-hot-path"))


class _ParsedHead:
    """The head of a request, as its parser tells it.

    Attributes:
        parser: its parser.
        target: path and query.
        headers: its headers, with names in lower case.
        keeps_alive: whether it is complete, and leaves the connection open.
    """

    parser: httptools.HttpRequestParser

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keeps_alive = False

    def on_url(self, url: bytes) -> None:
        """Receive a part of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End the head; after a request without a body, which ends here, the parser has forgotten what it said."""
        self.keeps_alive = self.parser.should_keep_alive()
