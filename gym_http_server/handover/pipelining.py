"""Where in some bytes the first requests end: for a pipeline of which some are answered."""

from __future__ import annotations

import bisect
import contextlib

import httptools


def unanswered(data: bytes, answered: int) -> bytes:
    """Return what follows the first so many requests in some bytes; nothing where there are not so many.

    The parser does not tell where a request ends, but how many have ended within a prefix.
    """
    if not answered:
        return data

    def holds(size: int) -> bool:
        counter = _Counter()
        parser = httptools.HttpRequestParser(counter)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        # Whatever that is, it comes after them.
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            parser.feed_data(data[:size])
        return counter.count >= answered

    return data[bisect.bisect_left(range(len(data)), True, key=holds) :]


class _Counter:
    """Counts the requests of a parser."""

    def __init__(self) -> None:
        self.count = 0

    def on_message_complete(self) -> None:
        """Count one."""
        self.count += 1
