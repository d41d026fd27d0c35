"""Fixtures: a server of each kind, shared by all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .serving import Server

IMPORTS = ("--import", "ale_py", "--import", "tests.troublemakers")

KINDS = {
    "handover": ("--engine", "process"),
    "process": ("--engine", "process", "--no-handover"),
    "inline": ("--engine", "inline"),
}
"""Where environments run, and how requests come to them: on connections handed over, through a pipe, or by a call."""


def start(kind: str, *arguments: str) -> Server:
    """Return a server of a kind; one with hand-over hands every connection over at once."""
    module = "tests.eager" if kind == "handover" else "gym_http_server"
    return Server(*KINDS[kind], *arguments, *IMPORTS, module=module)


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind."""
    with start(request.param) as running:
        yield running


@pytest.fixture(scope="session", params=["handover", "process"])
def process_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the `process` engine, for environments that misbehave."""
    with start(request.param) as running:
        yield running
