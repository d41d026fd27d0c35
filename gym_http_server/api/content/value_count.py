"""How many values a body holds, counted before any of them becomes an object.

An object costs 50 to 100 bytes and a moment of the interpreter, however short its text is: 16 MB of `[],` are 5.6 million of
them. A value is a number, a text, a boolean, null, an array or an object, and the name of a member.
"""

from __future__ import annotations

import struct
from typing import Final

PIECE_BYTES: Final = 1 << 18
"""How much is looked at in one go: other threads of this process wait for no more."""


def json_exceeds(body: bytes, limit: int) -> bool:
    """Return whether a JSON text holds more than `limit` values. Of a text that is not JSON the answer means nothing.

    It counts commas, colons, brackets and braces outside of strings, which is exact but for an empty array or object with white space
    in it: that counts as two.
    """
    if len(body) <= 2 * limit:  # each value takes a character at least, and one that sets it apart from the next
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
    """Return whether a MessagePack announces more than `limit` values. Of bytes that are none the answer means nothing.

    What is announced counts, whether it comes or not, because memory is taken for it at once.
    """
    # Each value is a byte at least, and each announcement has memory taken for as many values as there are bytes at most.
    announcements = body.count(b"\xdc") + body.count(b"\xdd")
    if len(body) <= limit and announcements * len(body) <= _FEW_VALUES:
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
                # More than there are bytes are not announced in earnest: the reader says what is wrong with it.
                return size <= end - position
        else:
            position += size
    return False


_FEW_VALUES: Final = 1 << 20
"""For how many values a body may take memory that never come; 8 bytes each, for the moment."""

_LEAF, _ARRAY, _MAP = 0, 1, 2
"""What a form is; for the others than leaves also how many values follow for each that is announced."""

_U8, _U16, _U32 = struct.Struct(">B"), struct.Struct(">H"), struct.Struct(">I")


def _forms() -> list[tuple[int, int, struct.Struct | None]]:
    """Return for each first byte how many bytes or items follow at least, what it is, and how the rest of that is written."""
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
