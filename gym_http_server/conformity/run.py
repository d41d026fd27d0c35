"""Runs the suite in this process, isolated from local pytest configuration, and prints the results."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from rich.text import Text

from ..contract import load_contract
from .interrupt import Interruption
from .options import CANNOT_CHECK
from .output import ClosedOutput, TerminalOutput
from .plugin import SUITE
from .presence import Presence
from .table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .options import Options

FAILED, INTERRUPTED, UNREAD = 1, 130, 141
"""Statuses to exit with; those of an end by a signal are what a shell makes of SIGINT and SIGPIPE."""

_HERE = Path(__file__).parent
_PLUGINS = ("_hypothesis_pytestplugin", "schemathesis.pytest.plugin", "gym_http_server.conformity.plugin")


def run(options: Options, health: str) -> int:
    """Run the checks, print a row for each, and return the status to exit with.

    Args:
        options: what to check, and how.
        health: what the implementation says of itself.
    """
    output = TerminalOutput()
    try:
        return _run(options, health, output)
    except ClosedOutput:
        return UNREAD


def _run(options: Options, health: str, output: TerminalOutput) -> int:
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    version = load_contract().document["info"]["version"]
    output.print(Text.assemble((options.url, "bold"), f" against the contract {version}"), soft_wrap=True)
    output.print(f"{health}; seed {seed}")
    table, presence = Table(output), Presence()
    table.print_head()
    with _alone(), Interruption() as interruption:
        status = pytest.main(_arguments(options, seed), plugins=[table, presence, interruption])
    if output.is_closed:
        return UNREAD
    table.print_findings()
    output.print()
    is_whole = status != pytest.ExitCode.INTERRUPTED
    table.print_summary(seed, is_whole=is_whole)
    if presence.lost is not None:
        click.echo(
            f"gym-http-server: {options.url} stopped answering before the checks were done: {presence.lost}; "
            "is the server still running, and what does its log say?",
            err=True,
        )
        return CANNOT_CHECK
    if not is_whole:
        return INTERRUPTED
    if status != pytest.ExitCode.OK:
        return FAILED
    # All was skipped: nothing is known.
    return 0 if table.results["passed"] else CANNOT_CHECK


def _arguments(options: Options, seed: int) -> list[str]:
    configuration = ["-c", str(_HERE / "suite" / "pytest.ini"), "--rootdir", str(_HERE / "suite"), "--noconftest"]
    plugins = ["--disable-plugin-autoload", *(word for name in _PLUGINS for word in ("-p", name))]
    # Nothing is written where the command is called, `Table` is the reporter, `Interruption` knows what is no error.
    without = ["--assert=plain", *(f"-pno:{name}" for name in ("cacheprovider", "terminal", "unraisableexception"))]
    given = [
        f"--gym-url={options.url}",
        f"--gym-examples={options.examples}",
        f"--gym-timeout={options.timeout}",
        f"--gym-seed={seed}",
        f"--hypothesis-seed={seed}",
    ]
    given += [f"--gym-api-key={options.api_key}"] if options.api_key else []
    given += ["--gym-with-uploads"] if options.with_uploads else []
    suite = ["--pyargs", *(f"{SUITE}.test_{group}" for group in options.groups)]
    return [*configuration, *plugins, *without, *given, *suite]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep away what is meant for other runs of pytest."""
    kept = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    try:
        with tempfile.TemporaryDirectory() as home:
            set_hypothesis_home_dir(home)
            yield
    finally:
        os.environ.update(kept)
