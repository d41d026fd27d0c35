"""`Presence`: ends a run when the implementation stops answering, instead of reporting every later check as failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .exchange import NoAnswer, Request
from .plugin import IMPLEMENTATION

if TYPE_CHECKING:
    from collections.abc import Generator


class Presence:
    """Ends a run when the implementation has stopped answering. A plugin of pytest.

    Attributes:
        lost: why there was no answer, or None as long as there are some.
    """

    def __init__(self) -> None:
        self.lost: str | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """After a check that failed ask whether anybody is there.

        Raises:
            Exit: nobody is; then that is no report of the check.
        """
        report = yield
        implementation = item.config.stash.get(IMPLEMENTATION, None)
        if report.failed and implementation is not None and self.lost is None:
            try:
                implementation.ask(Request.of("GET", "/v1/health/"))
            except NoAnswer as error:
                self.lost = error.came
                implementation.has_gone = True
                pytest.exit(f"it stopped answering while {call.when} of {item.name}")
        return report
