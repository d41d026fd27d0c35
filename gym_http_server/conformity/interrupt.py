"""`whole`: something that is not interrupted half-way."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Have Ctrl-C, and a SIGTERM that is taken for one, wait until this is over; a second one does not wait.

    Raises:
        KeyboardInterrupt: at the end, where one came meanwhile.
    """
    numbers = [each for each in (signal.SIGINT, signal.SIGTERM) if _interrupts(each)]
    came: list[int] = []

    def wait(number: int, frame: Any) -> None:
        if came:
            signal.default_int_handler(number, frame)
        came.append(number)

    try:
        for each in numbers:
            signal.signal(each, wait)
        yield
    finally:
        for each in numbers:
            signal.signal(each, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def _interrupts(number: int) -> bool:
    # Only the main thread may set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(number) is signal.default_int_handler
