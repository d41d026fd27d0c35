"""Trials of packages: what differs between a server and a local run is found, wherever it is."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..conftest import KINDS
from ..support.serving import Server
from . import results
from .compare import value_of
from .local import plain
from .table import Package
from .trial import Local, run_locally, run_served

PACKAGE = Package("gymnasium", "1.0", ids=("CartPole-v1",), steps=12)

pytestmark = pytest.mark.parametrize("server", [next(iter(KINDS))], indirect=True)


@pytest.fixture(scope="module")
def recorded() -> Local:
    """What a CartPole does without a server."""
    return run_locally(PACKAGE, "CartPole-v1", sys.executable)


def other(value: dict[str, Any]) -> dict[str, Any]:
    """Return the plain form of an array of which one bit is another."""
    data = np.frombuffer(value_of(value).tobytes(), np.uint8).copy()
    data[-1] ^= 1
    return plain(data.view(value["dtype"]).reshape(value["shape"]))


def last_observation(local: Local) -> None:
    local["steps"][-1]["values"][0] = other(local["steps"][-1]["values"][0])


def reward(local: Local) -> None:
    local["steps"][5]["values"][1] = plain(2.0)


def end(local: Local) -> None:
    local["steps"][3]["again"] = local["observation"]


def frame(local: Local) -> None:
    local["frame"] = other(local["frame"])


def last_lane(local: Local) -> None:
    local["lanes"][-1]["values"][0] = other(local["lanes"][-1]["values"][0])


def test_what_is_equal_is_well(server: Server, recorded: Local) -> None:
    """A CartPole on a server is the same as without one in every part."""
    outcome = run_served(PACKAGE, "CartPole-v1", server.url, recorded)
    assert outcome == {**dict.fromkeys(("steps", "frame", "batch"), "equal"), "check_env": "passed", "close": "closed"}


@pytest.mark.parametrize(
    ("parts", "change"),
    [
        (["steps"], last_observation),
        (["steps"], reward),
        (["steps", "frame"], end),  # there is no last frame then
        (["frame"], frame),
        (["batch"], last_lane),
    ],
)
def test_one_other_bit_is_found(
    server: Server, recorded: Local, parts: list[str], change: Callable[[Local], None]
) -> None:
    """A value that differs in the last step, the frame or the last lane is an outcome other than the kept one."""
    changed = copy.deepcopy(recorded)
    change(changed)
    outcome = run_served(PACKAGE, "CartPole-v1", server.url, changed)
    assert [name for name, found in outcome.items() if found not in (*results.WELL, "closed")] == parts
