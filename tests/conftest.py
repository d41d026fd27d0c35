"""Fixtures: one server for each engine, shared by all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .serving import Server

IMPORTS = ("--import", "ale_py", "--import", "tests.troublemakers")


@pytest.fixture(scope="session", params=["process", "inline"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each engine."""
    with Server("--engine", request.param, *IMPORTS) as running:
        yield running


@pytest.fixture(scope="session")
def process_server() -> Iterator[Server]:
    """A server of the `process` engine, for environments that misbehave."""
    with Server("--engine", "process", *IMPORTS) as running:
        yield running
