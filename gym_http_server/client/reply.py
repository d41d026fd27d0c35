"""`Reply`: what a server answered, and how it is read from the bytes that arrive.

ConnectionError
├── EndedError      the connection ended before a byte of the answer came
└── BrokenError     it ended in the middle of the answer, or what came is not HTTP
"""

from __future__ import annotations

from typing import NamedTuple

import httptools

LONGEST_HEAD = 1 << 18
"""Bytes that a reply may have before its body, interim replies included."""


_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_SWITCHING_PROTOCOLS = 101
_OK = 200


class EndedError(ConnectionError):
    """The connection ended before a byte of the answer came."""


class BrokenError(ConnectionError):
    """The connection ended in the middle of the answer, or what came is not HTTP."""


class Reply(NamedTuple):
    """A reply: its status, the words beside it, its body, and whether the connection may be used again."""

    status: int
    reason: str
    body: bytes
    is_kept: bool


class Arriving:
    """A reply that is arriving, as httptools' parser tells of it; the parser goes on from one reply to the next."""

    def __init__(self) -> None:
        # A cycle, which close() breaks: the connection of a thread that ended is to be closed at once.
        self.parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect a new reply."""
        self.has_begun = False
        self._head_size = 0
        self._reply: Reply | None = None
        self._surplus = False
        self._expect_head()

    def _expect_head(self) -> None:
        self._has_head = self._is_sized = self._is_kept = False
        self._reason = b""
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> Reply | None:
        """Take what came, nothing for the end of the connection; return the reply once it is whole."""
        if not data:
            return self._end()
        self.has_begun = True
        if self.parser is None:
            raise BrokenError("the client was closed meanwhile")
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # After a whole reply that ends the connection, what else comes is nobody's.
            if self._reply is None:
                raise BrokenError(f"what answers there does not speak HTTP ({error})") from error
            self._surplus = True
        if self._reply is not None:
            return self._reply._replace(is_kept=False) if self._surplus else self._reply
        if not self._has_head:
            self._head_size += len(data)
            if self._head_size > LONGEST_HEAD:
                raise BrokenError(f"the head of the answer has more than {LONGEST_HEAD} bytes")
        return None

    def _end(self) -> Reply:
        if not self.has_begun:
            raise EndedError("the connection ended without an answer")
        if not self._has_head or self._is_sized:
            raise BrokenError("the connection ended in the middle of the answer")
        return self._whole(is_kept=False)

    def _whole(self, *, is_kept: bool) -> Reply:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Reply(self._status, self._reason.decode("latin-1"), body, is_kept)

    def on_message_begin(self) -> None:
        """Note a reply that nobody asked for."""
        if self._reply is not None:
            self._surplus = True

    def on_status(self, reason: bytes) -> None:
        """Take the words beside the status, or a part of them."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 -- httptools' signature
        """Note a header that says where the body ends."""
        if name.lower() in _FRAMING:
            self._is_sized = True

    def on_headers_complete(self) -> None:
        """Take what only the parser knows, and only now."""
        if self.parser is not None and self._reply is None:
            self._has_head = True
            self._status: int = self.parser.get_status_code()
            self._is_kept = self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Keep the reply, or forget an interim one."""
        if self._reply is None:
            if self._status >= _OK:
                self._reply = self._whole(is_kept=self._is_kept)
            elif self._status != _SWITCHING_PROTOCOLS:
                self._expect_head()
