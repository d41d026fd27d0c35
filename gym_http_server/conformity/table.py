"""`Table`: prints a row for each finished check, then the findings.

It is a plugin of pytest in place of its own reporter.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from .finding import Finding, findings_of
from .plugin import IMPLEMENTATION

if TYPE_CHECKING:
    import pytest
    from rich.console import Console

    from .implementation import Implementation
    from .plugin import ResultRow

MAX_COLUMNS = 100
"""Columns beyond which a row is hard to follow."""

MAX_NAMED_CASES = 4
"""Cases that are told by their names."""

RESULT, REQUESTS, SECONDS = 7, 8, 7

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


class Table:
    """The rows of a run, and what was found.

    Args:
        console: where to print.

    Attributes:
        results: how many rows passed, failed and were skipped.
        requests: how many requests were sent.
        seconds: how long the checks took.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, MAX_COLUMNS)
        self._group = ""
        self._sentence = ""
        self._findings: list[Finding] = []
        self.implementation: Implementation | None = None
        self.results: Counter[str] = Counter()
        self.requests = 0
        self.seconds = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the row of a check that was done."""
        if report.when == "call" or report.outcome != "passed":
            requests = report.requests if report.when == "call" else 0
            self.requests += requests
            self._add(report, report.row, requests)
        self.seconds += report.duration

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a module of the suite that cannot be read."""
        if report.failed:
            self._tell_defect(f"{report.nodeid} cannot be run", str(report.longrepr))

    def pytest_internalerror(self, excrepr: object) -> None:
        """Tell of a defect."""
        self._tell_defect("the kit failed", str(excrepr))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep what is to be said of the implementation."""
        self.implementation = session.config.stash.get(IMPLEMENTATION, None)

    def print_head(self) -> None:
        """Print what the columns are."""
        self._print_row("", "result", "requests", "seconds", "dim")

    def print_findings(self) -> None:
        """Print what was wrong, each kind once."""
        for number, (finding, rows) in enumerate(self._kinds(), 1):
            self._console.print()
            self._print(f"{number}. {_places(rows)}", "bold red")
            self._print(rows[0].sentence, "italic", indent=3)
            for line in finding.text.splitlines():
                self._print(line, indent=3)
            if finding.command:
                # Whole, so that it can be copied; the terminal breaks it.
                self._console.print(Text(finding.command, "cyan"), soft_wrap=True)

    def print_summary(self, seed: int, *, is_whole: bool) -> None:
        """Print what it comes to, and what is left on the implementation's machine.

        Args:
            seed: of the run.
            is_whole: whether it came to its end.
        """
        parts = [f"{self.results[name]} {name}" for name in _STYLES if self.results[name]]
        text = f"{', '.join(parts) or 'nothing was checked'}: {self.requests:,} requests in {self.seconds:.0f} s"
        if not is_whole:
            text = f"stopped before the end: {text}"
        style = _STYLES["passed" if is_whole and not self.results["failed"] else "failed"]
        self._console.print(Text(text, style))
        under_test = self.implementation
        if under_test is not None and under_test.ledger.has_recordings:
            self._print(f"recordings are left there below {under_test.ledger.results}")
        if under_test is not None and under_test.ledger.alive:
            left = ", ".join(sorted(under_test.ledger.alive))
            self._print(f"these instances could not be closed: {left}")
        if under_test is not None and under_test.ledger.unanswered:
            self._print(f"{len(under_test.ledger.unanswered)} creations had no answer: instances of them may be left")
        if self.results["failed"]:
            self._console.print(f"--seed {seed} repeats this run")

    def _kinds(self) -> list[tuple[Finding, list[ResultRow]]]:
        kinds: dict[str, tuple[Finding, list[ResultRow]]] = {}
        for each in self._findings:
            _, rows = kinds.setdefault(each.kind, (each, []))
            if each.row not in rows:
                rows.append(each.row)
        return list(kinds.values())

    def _add(self, report: pytest.TestReport, row: ResultRow, requests: int) -> None:
        self._head_of(row)
        label = f"  {row.case}" if row.case else row.sentence
        self._print_row(label, report.outcome, f"{requests:,}", f"{report.duration:.1f}", _STYLES[report.outcome])
        self.results[report.outcome] += 1
        if report.failed:
            self._findings += findings_of(report.error, row)
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            text = reason.removeprefix("Skipped: ")
            self._print(text, "dim", indent=4)

    def _head_of(self, row: ResultRow) -> None:
        if row.group != self._group:
            self._console.print()
            self._console.print(Text(row.group, "bold"))
            self._group = row.group
        if row.case and row.sentence != self._sentence:
            self._print(row.sentence)
        self._sentence = row.sentence

    def _print_row(self, label: str, result: str, requests: str, seconds: str, style: str = "") -> None:
        indent = " " * (len(label) - len(label.lstrip()))
        width = self._width - RESULT - REQUESTS - SECONDS - 3
        first, *rest = textwrap.wrap(label, width, subsequent_indent=indent) or [""]
        columns = f"{requests:>{REQUESTS}} {seconds:>{SECONDS}}"
        self._console.print(Text.assemble(f"{first:{width}} ", (f"{result:{RESULT}}", style), f" {columns}"))
        for line in rest:
            self._console.print(Text(line))

    def _tell_defect(self, title: str, text: str) -> None:
        self.results["failed"] += 1
        self._console.print(Text(f"{title}:\n{text}", "bold red"), soft_wrap=True)

    def _print(self, text: str, style: str = "", indent: int = 0) -> None:
        for line in textwrap.wrap(text, self._width - indent, break_long_words=True) or [""]:
            self._console.print(Text(" " * indent + line, style), soft_wrap=True)


def _places(rows: list[ResultRow]) -> str:
    """Return where something was found, in few words."""
    cases: dict[str, list[str]] = {}
    for each in rows:
        cases.setdefault(each.group, []).append(each.case)
    return ", ".join(
        f"{group}: {', '.join(found)}"
        if len(found) <= MAX_NAMED_CASES and all(found)
        else f"{group}: {len(found)} of its checks"
        for group, found in cases.items()
    )
