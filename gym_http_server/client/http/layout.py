"""`LayoutReader`: reads replies in MessagePack that are like an earlier one by one match of a pattern.

The replies to the steps of an instance differ in the elements of arrays, in numbers and booleans, and in what stands last,
the info. The parser of MessagePack and its calls back into Python take three times as long.
"""

from __future__ import annotations

import re
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from ...runtime.values.packing import array_head, pack, unpack
from .body import msgpack_value

if TYPE_CHECKING:
    from collections.abc import Callable

_DOUBLE = struct.Struct(">d")
_BOOLEANS = {b"\xc2": False, b"\xc3": True}
_MAX_MEMBERS = 15  # of a map with a head of one byte
_LEARNED_MISSES = frozenset((2, 20, 200))
"""Replies that the layout did not fit, after which that of the latest is learned: a pattern takes 0.3 ms to compile."""


class LayoutReader:
    """Reads the replies of one operation of one instance."""

    def __init__(self) -> None:
        self._layout: _Layout | None = None
        self._misses = 0

    def read(self, content: bytes | bytearray) -> Any:
        """Return the value of a MessagePack as `msgpack_value` does.

        Raises:
            ValueError: `content` is not MessagePack.
        """
        # A large reply is in a buffer, of which its array becomes a view.
        if self._layout is not None and type(content) is bytes:
            match = self._layout.match(content)
            if match is not None:
                return {
                    name: read(part) for (name, read), part in zip(self._layout.members, match.groups(), strict=True)
                }
        value = msgpack_value(content)
        self._misses += 1
        if self._misses in _LEARNED_MISSES and type(value) is dict and 0 < len(value) <= _MAX_MEMBERS:
            self._layout = _layout_of(value)
        return value


class _Layout:
    """The pattern of a reply, and the name and the reader of each member."""

    def __init__(self, pattern: bytes, members: list[tuple[str, Callable[[bytes], Any]]]) -> None:
        self.match = re.compile(pattern, re.DOTALL).fullmatch
        self.members = members


def _layout_of(members: dict[str, Any]) -> _Layout | None:
    """Return the layout; None if another member than the last is no array, float, boolean or empty dict."""
    pattern = re.escape(bytes((0x80 | len(members),)))
    readers: list[tuple[str, Callable[[bytes], Any]]] = []
    for name, member in members.items():
        part, read = (b"(.+)", _other) if len(readers) == len(members) - 1 else _part(member)
        if not part:
            return None
        pattern += re.escape(pack(name)) + part
        readers.append((name, read))
    return _Layout(pattern, readers)


def _part(member: Any) -> tuple[bytes, Callable[[bytes], Any]]:
    head = array_head(member)
    if head is not None:
        array: Any = type(member)
        return re.escape(head) + b"(.{%d})" % member.nbytes, partial(array, member.shape, member.dtype)
    if type(member) is float:
        return b"\\xcb(.{8})", lambda part: _DOUBLE.unpack(part)[0]
    if type(member) is bool:
        return b"([\\xc2\\xc3])", _BOOLEANS.__getitem__
    return b"(\\x80)" if member == {} else b"(\\xc0)" if member is None else b"", _other


def _other(part: bytes) -> Any:
    return {} if part == b"\x80" else unpack(part)
