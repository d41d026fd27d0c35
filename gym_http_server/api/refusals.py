"""The log of refused requests: at most a few lines a second; the others are only counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ..engines.process.output import OWN_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .asgi import Scope

logger = logging.getLogger(__name__)

LINES_A_SECOND: Final = 5
MAX_REASON_CHARS: Final = 300
"""Maximum characters of a reason in the log; the reply has the whole text."""

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class Refusals:
    """Logs refused requests. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._second = float("-inf")
        self._lines = self._left_out = 0
        self._telling: asyncio.TimerHandle | None = None

    def note(self, status: int, reason: str, scope: Scope | None) -> None:
        """Log a refused request with the detail of its reply, or count it if the limit is reached."""
        if not logger.isEnabledFor(logging.INFO):
            return
        with self._lock:
            now = self._clock()
            if now - self._second >= 1.0:
                self._second, self._lines = now, 0
            if self._lines >= LINES_A_SECOND:
                self._left_out += 1
                if self._telling is None:
                    # Without a loop, the next line or the stop logs the count.
                    with contextlib.suppress(RuntimeError):
                        self._telling = asyncio.get_running_loop().call_later(1.0, self.flush)
                return
            self._lines += 1
        self.flush()
        fields = _fields(status, scope)
        logger.info(
            "refused: %s %s by %s: %d %s",
            fields["method"] or "a request",
            fields["path"] or "",
            fields["client"] or "an unknown client",
            status,
            _one_line(reason),
            extra=fields,
        )

    def flush(self) -> None:
        """Log how many were left out."""
        with self._lock:
            count, self._left_out = self._left_out, 0
            self._telling = None
        if count:
            text = "refused: %d more, of which no more than %d lines a second are logged"
            logger.info(text, count, LINES_A_SECOND, extra={"count": count})


REFUSALS: Final = Refusals()
"""The log of this process."""


def client_of(scope: Scope | None) -> str | None:
    """Return the address of a request's client."""
    client = None if scope is None else scope.get("client")
    return str(client[0]) if client else None


def tell_on_stderr() -> None:
    """Log to stderr, in an environment's process: the server logs its lines, and knows these from the environment's."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{OWN_LINE}%(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


def _fields(status: int, scope: Scope | None) -> dict[str, Any]:
    path = None if scope is None else scope.get("path")
    method = None if scope is None else scope.get("method")
    return {"method": method, "path": _one_line(path) if path else path, "client": client_of(scope), "status": status}


def _one_line(text: str) -> str:
    text = " ".join(text.split()).translate(_CONTROL)
    return text if len(text) <= MAX_REASON_CHARS else f"{text[:MAX_REASON_CHARS]}…"
