"""`HttpReply`, and `ReplyReader`, an incremental parser of HTTP/1.1 replies.

The client does not use httptools, so that it needs only numpy, msgpack and Gymnasium. Nearly every reply is one read with a
`Content-Length` and a head that came before, which is looked up. A longer body is received into a buffer of its size.

ConnectionError
├── EndedError      the connection ended before the reply
└── BrokenError     it ended in the middle of the reply, or the reply is not HTTP
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 1 << 18
"""Maximum bytes before the body, interim replies included, and in a line of the trailer after it."""
MAX_CHUNK_LINE_BYTES = 1 << 12
MAX_BUFFER_BYTES = 1 << 28
"""Maximum bytes that are allocated because a reply announces them."""
_MAX_KNOWN_HEADS, _MAX_KNOWN_HEAD_BYTES = 1024, 1024

_VERSION_PREFIX = b"HTTP/1."
_OTHER_FIELDS = rb"(?:(?!content-length:|transfer-encoding:|connection:)[^\r\n]+\r\n)*+"
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (200|[45][0-9]{2}) ([^\r\n]*)\r\n"
    + _OTHER_FIELDS
    + rb"content-length: ([0-9]{1,15})\r\n"
    + _OTHER_FIELDS
    + rb"\r\n",
    re.IGNORECASE,
)
"""The head of nearly every reply, read by one match and noted; any other head is read field by field."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?", re.DOTALL)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_FIRST_FINAL_STATUS = 200
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = frozenset((204, 304))


class EndedError(ConnectionError):
    """The connection ended before the reply."""


class BrokenError(ConnectionError):
    """The connection ended in the middle of the reply, or the reply is not HTTP."""


class HttpReply(NamedTuple):
    """A reply: status, reason phrase, body, and whether the connection can be reused."""

    status: int
    reason: str
    body: bytes | bytearray
    is_kept: bool


_new = tuple.__new__  # as the constructor of a named tuple, in less than half of its time


class ReplyReader:
    """Reads one reply after another."""

    def __init__(self) -> None:
        self._known_heads: dict[bytes, tuple[int, str, int]] = {}
        self._begin()

    def _begin(self) -> None:
        self.has_begun = False
        self._head_bytes = 0
        self._status = 0
        self._pieces: list[bytes] = []
        self._left = 0
        self._buffer: bytearray | None = None
        self._chunks: _ChunkReader | None = None
        self._until_end = False

    def first(self, data: bytes) -> HttpReply | None:
        """Take the first bytes of a reply; then as `feed`."""
        end = data.find(b"\r\n\r\n") + 4
        known = self._known_heads.get(data[:end]) or self._noted(data)
        if known is not None and len(data) - end == known[2]:
            return _new(HttpReply, (known[0], known[1], data[end:], True))
        self._begin()
        if known is None or len(data) - end > known[2]:
            return self.feed(data)
        self.has_begun = self._is_kept = True
        self._status, self._reason, self._left = known
        return self._collect(data[end:])

    def _noted(self, data: bytes) -> tuple[int, str, int] | None:
        """Note a plain head; return its status, its reason and the length of the body."""
        plain = _PLAIN_HEAD.match(data)
        if plain is None:
            return None
        if len(self._known_heads) >= _MAX_KNOWN_HEADS:
            self._known_heads.clear()
        known = int(plain[1]), plain[2].decode("latin-1"), int(plain[3])
        if plain.end() <= _MAX_KNOWN_HEAD_BYTES:
            self._known_heads[plain[0]] = known
        return known

    def room(self) -> memoryview | None:
        """Return where the rest of the body is to be received, with `fill`; None if its length is not known."""
        return None if self._buffer is None else memoryview(self._buffer)[-self._left :]

    def fill(self, size: int) -> HttpReply | None:
        """Note how many bytes were received into the room; then as `feed`."""
        if not size or self._buffer is None:
            return self._end()
        self._left -= size
        return None if self._left else self._whole(self._buffer, b"")

    def feed(self, data: bytes) -> HttpReply | None:
        """Take what was received, b"" for the end of the connection; return the reply once it is whole.

        Raises:
            EndedError, BrokenError: as drawn above.
        """
        if not data:
            return self._end()
        self.has_begun = True
        if not self._status:
            rest = self._read_heads(data)
            if rest is None:
                return None
            data = rest
        if self._chunks is not None:
            surplus = self._chunks.feed(data)
            return None if surplus is None else self._whole(self._chunks.body, surplus)
        if self._until_end:
            self._pieces.append(data)
            return None
        return self._collect(data)

    def _collect(self, data: bytes) -> HttpReply | None:
        """Take a part of a body whose length is known."""
        if len(data) < self._left:
            if self._left > MAX_BUFFER_BYTES or self._pieces:
                self._pieces.append(data)
            else:
                self._buffer = bytearray(self._left)
                self._buffer[: len(data)] = data
            self._left -= len(data)
            return None
        body, surplus = (data, b"") if len(data) == self._left else (data[: self._left], data[self._left :])
        if self._pieces:
            body = b"".join((*self._pieces, body))
        return self._whole(body, surplus)

    def _read_heads(self, data: bytes) -> bytes | None:
        """Read heads up to that of the final reply; return the bytes after it, or None if it is not complete."""
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces = []
        while (end := data.find(b"\r\n\r\n")) >= 0:
            self._head_bytes += end + 4
            self._check_head_bytes(0)
            self._read_head(data[:end])
            data = data[end + 4 :]
            if self._status >= _FIRST_FINAL_STATUS:
                return data
            if self._status == _SWITCHING_PROTOCOLS:
                raise _no_http("101 Switching Protocols")
            self._status = 0
        if not data.startswith(_VERSION_PREFIX[: len(data)]):
            raise _no_http(repr(data[:20]))
        self._check_head_bytes(len(data))
        if data:
            self._pieces = [data]
        return None

    def _check_head_bytes(self, more: int) -> None:
        if self._head_bytes + more > MAX_HEAD_BYTES:
            raise BrokenError(f"the head of the answer has more than {MAX_HEAD_BYTES} bytes")

    def _read_head(self, head: bytes) -> None:
        first, _, fields = head.partition(b"\r\n")
        status_line = _STATUS_LINE.fullmatch(first)
        if status_line is None:
            raise _no_http(repr(first[:20]))
        minor, status, reason = status_line.groups()
        self._status, self._reason = int(status), (reason or b"").decode("latin-1")
        fields = b"\r\n%b\r\n" % fields.lower()
        connection = _values(fields, b"\r\nconnection:")
        options = {option.strip() for value in connection for option in value.split(b",")} if connection else ()
        self._is_kept = b"close" not in options if minor == b"1" else b"keep-alive" in options
        if self._status in _WITHOUT_BODY or self._status < _FIRST_FINAL_STATUS:
            return
        lengths, codings = _values(fields, b"\r\ncontent-length:"), _values(fields, b"\r\ntransfer-encoding:")
        if codings:
            if lengths or codings != [b"chunked"]:
                raise _no_http(f"its Transfer-Encoding is {codings!r}")
            self._chunks = _ChunkReader()
        elif lengths:
            if len(lengths) > 1 or not lengths[0].isdigit():
                raise _no_http("its Content-Length is no number, or there are two")
            self._left = int(lengths[0])
        else:
            self._until_end = True
            self._is_kept = False

    def _whole(self, body: bytes | bytearray, surplus: bytes) -> HttpReply:
        self.has_begun = False
        # Bytes after a reply are the answer to no request: the connection is not reused.
        return HttpReply(self._status, self._reason, body, self._is_kept and not surplus)

    def _end(self) -> HttpReply:
        if not self.has_begun:
            raise EndedError("the connection ended without an answer")
        if not self._until_end:
            raise BrokenError("the connection ended in the middle of the answer")
        return self._whole(b"".join(self._pieces), b"")


class _ChunkReader:
    """Reads a chunked body."""

    def __init__(self) -> None:
        self._data = bytearray()  # unread bytes
        self._chunks: list[bytes] = []
        self._size: int | None = None
        self._in_trailer = False

    @property
    def body(self) -> bytes:
        return b"".join(self._chunks)

    def feed(self, data: bytes) -> bytes | None:
        """Take what was received; return the bytes after the body once that is whole."""
        self._data += data
        while not self._in_trailer:
            if self._size is None:
                line = self._line(MAX_CHUNK_LINE_BYTES)
                if line is None:
                    return None
                size_line = _CHUNK_LINE.fullmatch(line)
                if size_line is None:
                    raise _no_http(f"{line[:20]!r} is not the size of a chunk")
                self._size = int(size_line[1], 16)
                self._in_trailer = self._size == 0
            elif len(self._data) < self._size + 2:
                return None
            else:
                if self._data[self._size : self._size + 2] != b"\r\n":
                    raise _no_http("a chunk is longer than its size")
                self._chunks.append(bytes(self._data[: self._size]))
                del self._data[: self._size + 2]
                self._size = None
        while (line := self._line(MAX_HEAD_BYTES)) is not None:
            if not line:
                return bytes(self._data)
        return None

    def _line(self, max_bytes: int) -> bytes | None:
        end = self._data.find(b"\r\n", 0, max_bytes)
        if end < 0:
            if len(self._data) >= max_bytes:
                raise BrokenError(f"a line between the chunks of the answer has more than {max_bytes} bytes")
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line


def _values(fields: bytes, name: bytes) -> list[bytes]:
    """Return the values of a field. To search for one field takes a third of the time of reading all."""
    values = []
    start = fields.find(name)
    while start >= 0:
        end = fields.index(b"\r\n", start + 2)
        values.append(fields[start + len(name) : end].strip())
        start = fields.find(name, end)
    return values


def _no_http(what: str) -> BrokenError:
    return BrokenError(f"what answers there does not speak HTTP ({what})")
