"""Heads that a client sends again and again, and how to recognise them by their bytes."""

from __future__ import annotations

from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
KEY_LINE: Final = b"\r\nidempotency-key: "

MAX_KNOWN_HEADS: Final = 32
"""Maximum number of heads of a connection that are remembered."""


def end_of_known(data: bytes) -> tuple[int, bytes]:
    """Return the size of the part of a head that a client repeats, and its Idempotency-Key, which is another each time.

    A key in the last line of the head ends that part; without one there, it is the whole head and the key is empty.
    """
    end = data.find(END_OF_HEAD)
    line = data.rfind(b"\r\n", 0, max(end, 0))
    start = line + len(KEY_LINE)
    if start < end and data[line:start].lower() == KEY_LINE:
        return start, data[start:end]
    return end + len(END_OF_HEAD), b""
