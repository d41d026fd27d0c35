"""The conformity kit's trajectories of an environment whose actions only the server can draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gym_http_server.conformity.caller import Caller
from gym_http_server.conformity.implementation import Implementation
from gym_http_server.conformity.suite import test_trajectories as suite

from ..conftest import start

HELD = (suite.test_same_seed, suite.test_samples, suite.test_snapshot)
"""The checks that hold any observation; the others want one array of many."""


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with (
        start("inline", "--import", "tests.support.own_spaces") as server,
        Implementation(server.url) as implementation,
        implementation.closing(),
    ):
        yield Caller(implementation)


@pytest.mark.parametrize("check", HELD, ids=lambda check: check.__name__)
def test_spaces_of_a_packages_own_are_held_to_the_rules_of_others(
    caller: Caller, check: Callable[[Caller, int, str], None]
) -> None:
    """Their actions are sampled by asking."""
    check(caller, 0, "tests/Own-v0")
