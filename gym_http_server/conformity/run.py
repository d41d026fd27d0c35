"""Runs the suite with pytest in this process, isolated from local pytest configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from ..contract import load_contract
from .exchange import NoAnswer, Request
from .plugin import IMPLEMENTATION, SUITE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

FAILED, CANNOT_CHECK = 1, 2
INTERRUPTED, UNREAD = 130, 141
"""The exit statuses that a shell gives to SIGINT and SIGPIPE."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INI = Path(__file__).parent / "suite" / "pytest.ini"


class Ending:
    """How a run ends. A plugin of pytest.

    Attributes:
        has_passed: whether a check passed.
        is_interrupted: whether a signal ended the run.
        lost: why the implementation stopped answering, or None.
    """

    def __init__(self) -> None:
        self.has_passed = False
        self.is_interrupted = False
        self.lost: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Stop between two requests on SIGINT and SIGTERM, so that every instance is known."""
        for number in _SIGNALS:
            signal.signal(number, config.stash[IMPLEMENTATION].interrupt)
        # Names of tests are printed relative to this directory.
        config.invocation_params = dataclasses.replace(config.invocation_params, dir=config.rootpath)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """After a failure, end the run if the implementation stopped answering: later checks would all fail.

        Raises:
            Exit: the implementation does not answer.
        """
        report = yield
        self.has_passed |= report.passed and report.when == "call"
        implementation = item.config.stash[IMPLEMENTATION]
        if report.failed and not implementation.has_gone:
            try:
                implementation.ask(Request.of("GET", "/v1/health/"))
            except NoAnswer as error:
                self.lost = error.came
                implementation.has_gone = True
                pytest.exit(f"it stopped answering in {call.when} of {item.name}")
        return report

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run did not reach its end."""
        self.is_interrupted = True


def run(url: str, seed: int | None, groups: Sequence[str], options: Sequence[str], health: str) -> int:
    """Run groups of checks with further options of the plugin, and return the exit status; None is a random seed."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    ending = Ending()
    arguments = ["-c", str(_INI), "--rootdir", str(_INI.parent), f"--gym-url={url}", f"--gym-seed={seed}"]
    arguments += [f"--hypothesis-seed={seed}", *options, "--pyargs", *(f"{SUITE}.test_{group}" for group in groups)]
    try:
        click.echo(f"{url} against the contract {load_contract().document['info']['version']}")
        click.echo(f"{health}; seed {seed}")
        with _isolated():
            status = pytest.main(arguments, plugins=[ending])
        if status == pytest.ExitCode.TESTS_FAILED:
            click.echo(f"--seed {seed} repeats this run")
    except BrokenPipeError:
        # Nobody reads the output any more, and Python flushes it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    if ending.lost is not None:
        click.echo(
            f"gym-http-server: {url} stopped answering before the checks were done: {ending.lost}; "
            "is the server still running, and what does its log say?",
            err=True,
        )
        return CANNOT_CHECK
    if ending.is_interrupted:
        return INTERRUPTED
    if status != pytest.ExitCode.OK:
        return FAILED
    return 0 if ending.has_passed else CANNOT_CHECK


@contextlib.contextmanager
def _isolated() -> Iterator[None]:
    """Hide what is meant for other runs of pytest, and restore it and the signal handlers."""
    variables = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        with tempfile.TemporaryDirectory() as home:
            # Its tables of Unicode take seconds to compute.
            set_hypothesis_home_dir(os.environ.get("HYPOTHESIS_STORAGE_DIRECTORY", home))
            yield
    finally:
        os.environ.update(variables)
        for number, handler in handlers.items():
            signal.signal(number, handler)
