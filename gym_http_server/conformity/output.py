"""`TerminalOutput`: standard output of a run, which ends when its reader closes the pipe."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console


class ClosedOutput(KeyboardInterrupt):
    """Whoever read the output has closed it, as `head` does. To pytest it is what Ctrl-C is: the run ends in order."""


class TerminalOutput(Console):
    """Standard output.

    Attributes:
        is_closed: nobody reads it any more; then nothing is printed.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False)
        self.is_closed = False

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `Console` does.

        Raises:
            ClosedOutput: nobody reads it, for the first time that this is met.
        """
        try:
            super().print(*objects, **options)
        except BrokenPipeError:
            # Versions of rich that do not know of it.
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """End the run.

        Raises:
            ClosedOutput: always.
        """
        self.quiet = self.is_closed = True
        # Python flushes it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ClosedOutput
