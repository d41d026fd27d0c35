"""Any wrappers around any environment, in any order: served is what Gymnasium makes, and what it refuses is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gym_http_server.client.values import observation_reader
from gym_http_server.errors import EnvironmentRaisedError, InvalidValueError
from gym_http_server.runtime.making.wrappers import WRAPPERS
from gym_http_server.runtime.messages import MSGPACK, WRAPPER_NAMES, CreateRequest
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.values.codec import encoder
from gym_http_server.runtime.values.packing import unpack
from gym_http_server.runtime.values.spaces import rebuild
from tests.server.operations.test_wrappers import without_times
from tests.support.sample_spaces import same
from tests.support.wrapper_uses import USES, Use

ENVIRONMENTS = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "MountainCar-v0", "tests/Scribe-v0"]

# An observation as an argument fits its own environment, and a wrapper of frames changes nothing else.
ANY = [use for use in USES if not use.renders and use.env_id != "ALE/Pong-v5" and "padding_type" not in use.kwargs]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Whatever odd stacks have numpy and Gymnasium warn of is not what is tested."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def open_both(use: Use) -> tuple[Served, gymnasium.Env] | None:
    """Return both; None where both refuse, in the same words, or it is too large for us."""
    try:
        served = open_served(CreateRequest(use.env_id, wrappers=use.wire))
    except InvalidValueError as error:
        words = error.detail
    else:
        return served, use.make()
    if "too large" not in words:
        with pytest.raises(Exception, match="") as refused:  # noqa: PT011 -- whatever the library raises
            use.make()
        assert str(refused.value) in words
    return None


def take(served: Served, operation: str, arguments: dict[str, Any], step: Any) -> tuple[Any, Any] | None:
    """Return what both answer; None where both raise the same."""
    try:
        one = step()
    except Exception as error:  # noqa: BLE001 -- whatever the library raises
        words = re.escape(f"{type(error).__name__} during {operation}: {error}")
    else:
        return one, unpack(served.call(operation, {**arguments, "media_type": MSGPACK}).body)
    with pytest.raises(EnvironmentRaisedError, match=words):
        served.call(operation, arguments)
    return None


@pytest.mark.full
@given(
    env_id=st.sampled_from(ENVIRONMENTS),
    uses=st.lists(st.sampled_from(ANY), min_size=1, max_size=3),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=100, deadline=None)
def test_a_stack_of_wrappers_is_what_gymnasium_makes_of_it(env_id: str, uses: list[Use], seed: int) -> None:
    """The same spaces and the same trajectory, or the same words why not."""
    before, last = uses[:-1], uses[-1]
    names = {use.name for use in uses}
    if "AddRenderObservation" in names:
        # To look at a frame it resets without a seed, which a running mean within remembers; each pixel's bins take long.
        assume(not names & {"NormalizeObservation", "DiscretizeObservation"})
    with silence():
        opened = open_both(dataclasses.replace(last, env_id=env_id, before=tuple(before), options={}))
        if opened is None:
            return
        served, local = opened
        try:
            assert_same(served, local, seed)
        finally:
            served.close()
            local.close()


def assert_same(served: Served, local: gymnasium.Env, seed: int) -> None:
    space = local.observation_space
    assert rebuild(served.description.observation_space) == space
    assert rebuild(served.description.action_space) == local.action_space
    encode, read, write = encoder(space), observation_reader(space), encoder(local.action_space)
    local.action_space.seed(seed)
    both = take(served, "reset", {"seed": seed}, lambda: local.reset(seed=seed))
    for _ in range(8):
        if both is None:
            return
        one, other = both
        assert same(read(other["observation"]), read(encode(one[0])))
        if len(one) == 5:
            assert same(other["reward"], float(one[1]))
            assert (other["terminated"], other["truncated"]) == (bool(one[2]), bool(one[3]))
            assert without_times(other["info"]) == without_times(one[4])
            if other["done"]:
                both = take(served, "reset", {}, local.reset)
                continue
        action = local.action_space.sample()
        both = take(served, "step", {"action": write(action)}, lambda action=action: local.step(action))


def test_the_names_of_the_wrappers_are_known_without_the_library() -> None:
    """The form that makes an instance lists the table, whose module imports Gymnasium."""
    assert list(WRAPPER_NAMES) == sorted(WRAPPERS)
