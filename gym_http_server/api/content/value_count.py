"""The number of values in a body, counted before the body is parsed.

Every value costs 50 to 100 bytes and interpreter time, however short its text: 16 MB of `[],` are 5.6 million values. A value is
a number, text, boolean, null, array, object, or name of a member. Counting takes 1 s per GB. With 150,000 values, the default
limit, JSON holds a thread for 40 to 70 ms (interruptible), orjson for 17 to 26 ms, MessagePack for 11 to 19 ms.
"""

from __future__ import annotations

import struct
from typing import Final

PIECE_BYTES: Final = 1 << 18
"""Bytes counted in one call: other threads wait no longer than that takes."""


def json_exceeds(body: bytes, limit: int) -> bool:
    """Return whether a JSON text has more than `limit` values; meaningless for a text that is not JSON.

    It counts commas, colons, brackets and braces outside strings. That is exact, except that an empty array or object with
    white space inside counts as two.
    """
    if len(body) <= 2 * limit:  # each value takes at least one character and a separator
        return False
    values, start, in_string = 1, 0, False
    while start < len(body) and values <= limit:
        piece = body[start : start + PIECE_BYTES]
        while (len(piece) - len(piece.rstrip(b"\\"))) % 2 and start + len(piece) < len(body):
            piece += body[start + len(piece) : start + len(piece) + 1]
        start += len(piece)
        if in_string or b'"' in piece:
            parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
            piece = b'"'.join(parts[in_string::2])
            in_string ^= len(parts) % 2 == 0
        values += sum(map(piece.count, (b",", b":", b"[", b"{"))) - piece.count(b"[]") - piece.count(b"{}")
    return values > limit


def msgpack_exceeds(body: bytes, limit: int) -> bool:
    """Return whether a MessagePack announces more than `limit` values; meaningless for other bytes.

    Announced values count even if they are missing, because the parser allocates memory for them at once.
    """
    # Each value is at least a byte, and each announcement allocates at most one value per byte of the body.
    announcements = body.count(b"\xdc") + body.count(b"\xdd")
    if len(body) <= limit and announcements * len(body) <= _MAX_UNFOUNDED_VALUES:
        return False
    values = pending = 1
    position, end = 0, len(body)
    while pending > 0 and position < end:
        form = body[position]
        size, kind, header = _FORMS[form]
        position += 1
        if header is not None:
            if position + header.size > end:
                return False
            size += header.unpack_from(body, position)[0]
            position += header.size
        pending -= 1
        if kind:
            values += size * kind
            pending += size * kind
            if values > limit:
                # More values than bytes left: malformed, which the parser reports.
                return size <= end - position
        else:
            position += size
    return False


_MAX_UNFOUNDED_VALUES: Final = 1 << 20
"""Maximum number of announced but missing values that are allowed to take memory, 8 bytes each."""

_LEAF, _ARRAY, _MAP = 0, 1, 2
"""Kinds of forms; the number is how many values follow per announced item."""

_U8, _U16, _U32 = struct.Struct(">B"), struct.Struct(">H"), struct.Struct(">I")


def _forms() -> list[tuple[int, int, struct.Struct | None]]:
    """Return for each first byte the minimum number of bytes or items that follow, its kind, and the struct of its length."""
    forms: list[tuple[int, int, struct.Struct | None]] = [(0, _LEAF, None)] * 256
    for count in range(16):
        forms[0x80 + count] = count, _MAP, None
        forms[0x90 + count] = count, _ARRAY, None
    for count in range(32):
        forms[0xA0 + count] = count, _LEAF, None
    # bin, ext, which has a byte for its type besides, and str
    for first, size in ((0xC4, 0), (0xC7, 1), (0xD9, 0)):
        for offset, header in enumerate((_U8, _U16, _U32)):
            forms[first + offset] = size, _LEAF, header
    for first, size in (
        (0xCA, 4), (0xCB, 8), (0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8),
        (0xD4, 2), (0xD5, 3), (0xD6, 5), (0xD7, 9), (0xD8, 17),
    ):  # fmt: skip
        forms[first] = size, _LEAF, None
    for first, kind, header in ((0xDC, _ARRAY, _U16), (0xDD, _ARRAY, _U32), (0xDE, _MAP, _U16), (0xDF, _MAP, _U32)):
        forms[first] = 0, kind, header
    return forms


_FORMS: Final = _forms()
