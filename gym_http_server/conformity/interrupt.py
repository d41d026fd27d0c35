"""Handling of Ctrl-C and SIGTERM during a run: creations finish first, and no signal is lost."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Makes both signals a KeyboardInterrupt for as long as it is entered. A plugin of pytest.

    Python loses an exception that is raised while a callback of its garbage collector runs, and hypothesis has one, in
    which one of ten signals arrives: what was lost is raised before the next test.
    """

    def __init__(self) -> None:
        self._came = False
        self._previous: list[Any] = []
        self._complain = sys.unraisablehook

    def __enter__(self) -> Self:
        self._previous = [signal.signal(number, self.interrupt) for number in _NUMBERS]
        self._complain, sys.unraisablehook = sys.unraisablehook, self._complain_of_others
        return self

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._complain
        for number, handler in zip(_NUMBERS, self._previous, strict=True):
            signal.signal(number, handler)

    def interrupt(self, number: int, frame: Any) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: always.
        """
        self._came = True
        signal.default_int_handler(number, frame)

    def _complain_of_others(self, lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            self._complain(lost)

    def pytest_runtest_logstart(self) -> None:
        """Begin no test after a signal.

        Raises:
            KeyboardInterrupt: there was one.
        """
        if self._came:
            raise KeyboardInterrupt


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Have Ctrl-C, and a SIGTERM that is taken for one, wait until this is over; a second one does not wait.

    Raises:
        KeyboardInterrupt: at the end, where one came meanwhile.
    """
    handlers: dict[int, Any] = {
        number: handler for number in _NUMBERS if _interrupts(handler := signal.getsignal(number))
    }
    came: list[int] = []

    def wait(number: int, frame: Any) -> None:
        if came:
            handlers[number](number, frame)
        came.append(number)

    try:
        for each in handlers:
            signal.signal(each, wait)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            handlers[number](number, None)


def _interrupts(handler: Any) -> bool:
    # Only the main thread may set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    is_ours = isinstance(getattr(handler, "__self__", None), Interruption)
    return is_main and (is_ours or handler is signal.default_int_handler)
