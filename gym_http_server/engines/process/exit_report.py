"""How an environment's process ended, in words and as facts of an error."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from ...errors import EnvironmentDiedError

if TYPE_CHECKING:
    from .output import Output


class ExitReport:
    """The end of one process, with the last lines of its output.

    Attributes:
        reported: done when the fork server has reported the end.
        is_expected: the server closes the environment, so its end is no loss.
    """

    def __init__(self, output: Output, max_memory: int) -> None:
        self.output = output
        self._max_memory = max_memory
        self._facts: dict[str, Any] = {}
        self.reported: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_expected = False

    def describe(self, status: int, memory: int | None) -> str:
        """Return why a process that the server did not kill has ended; the arguments are those of `Forked.on_exit`."""
        if memory is not None:
            self._facts = {"memory": memory, "limit": self._max_memory, "setting": "max_memory_per_env"}
            return (
                f"it took {memory} bytes of memory and the limit is {self._max_memory}: "
                "start the server with a larger --max-memory-per-env"
            )
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            self._facts = {"exit_code": code}
            return f"its process ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        self._facts = {"signal": name}
        return f"its process ended with signal {name}"

    def error(self, operation: str, loss: str | None) -> EnvironmentDiedError:
        """Return the error of an operation during which the environment was lost, with the last lines of output."""
        return self.with_output(f"the environment was lost during {operation}: {loss}")

    def with_output(self, detail: str) -> EnvironmentDiedError:
        """Return the error of an environment that was lost, with the last lines of output."""
        facts = dict(self._facts)
        if lines := self.output.lines:
            facts["stderr"] = lines
            detail += f"; the last that it wrote: {lines[-1][:200]}"
        return EnvironmentDiedError(detail, **facts)
