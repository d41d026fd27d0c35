"""Splitting a pipeline of requests after the answered ones."""

from __future__ import annotations

import bisect
import contextlib

import httptools


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
