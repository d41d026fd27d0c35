"""How requests are counted: beside the environment and in the server, together, whatever the environment writes there."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.conformity.contract import DOCUMENT, inlined
from gym_http_server.runtime.operations import HOT
from gym_http_server.runtime.shared import memory, usage
from gym_http_server.runtime.shared.traffic import BOUNDS, CELLS, STATUSES, Tally, Traffic, tallies
from tests.support.serving import Server, eventually, threads

MARKED = [
    operation
    for item in inlined(DOCUMENT["paths"]).values()
    for operation in item.values()
    if isinstance(operation, dict) and operation.get("x-hot-path")
]


def test_every_marked_operation_and_every_status_it_declares_is_told_apart() -> None:
    """What is inside a training loop is counted, and no status that it may have is lost among others."""
    assert sorted(HOT) == sorted(operation["operationId"] for operation in MARKED)
    declared = {int(status) for operation in MARKED for status in operation["responses"] if status.isdigit()}
    assert declared <= set(STATUSES)


def test_all_that_is_counted_has_room_in_the_first_page() -> None:
    """The parts of the shared memory do not overlap."""
    assert 8 * (usage.CELLS + memory.CONNECTION_CELLS + CELLS) <= memory._HEAD_BYTES


@given(
    st.lists(
        st.tuples(
            st.sampled_from(HOT),
            st.sampled_from((*STATUSES, 418)),
            st.floats(0, 1000),
            st.integers(0, 1 << 20),
            st.integers(0, 1 << 30),
            st.booleans(),
        )
    )
)
def test_counts_of_several_places_add_up(requests: list[tuple[str, int, float, int, int, bool]]) -> None:
    """Each request is in the tally of its operation exactly once, wherever it was served."""
    places = Traffic(), Traffic()
    for operation, status, seconds, received, sent, place in requests:
        places[place].count(operation, status, seconds, received, sent)
    found = {tally.operation: tally for tally in tallies(places)}
    assert found.keys() == {each[0] for each in requests}
    for operation, tally in found.items():
        mine = [each for each in requests if each[0] == operation]
        names = [str(status) if status in STATUSES else "other" for _, status, *_ in mine]
        assert tally.statuses == {name: names.count(name) for name in names}
        assert tally.received == sum(each[3] for each in mine)
        assert tally.sent == sum(each[4] for each in mine)
        assert math.isclose(tally.seconds, sum(each[2] for each in mine), abs_tol=1e-9)
        assert sum(tally.buckets) == len(mine)


@given(st.lists(st.floats(1e-6, 40), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds: list[float], share: float) -> None:
    """The estimate is never further off than its bucket is wide."""
    counted = Traffic()
    for each in seconds:
        counted.count("stepEnv", 200, each, 0, 0)
    [tally] = tallies([counted])
    true = sorted(seconds)[max(0, math.ceil(share * len(seconds) - 1e-9) - 1)]
    bucket = next(index for index, bound in enumerate(BOUNDS) if true <= bound)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert low <= tally.quantile(share) <= BOUNDS[bucket] * (1 + 1e-9)
    assert math.isclose(tally.mean, statistics.fmean(seconds), rel_tol=1e-9)


def test_a_quantile_is_read_off_as_if_a_bucket_were_filled_evenly() -> None:
    """As Prometheus does; the first bucket begins at nothing."""
    counted = Traffic()
    for seconds in (0.0015, 0.0015, 0.0015, 0.0015):
        counted.count("stepEnv", 200, seconds, 0, 0)
    counted.count("resetEnv", 200, 0.0, 0, 0)
    step, reset = sorted(tallies([counted]), key=lambda each: each.operation, reverse=True)
    assert [step.quantile(share) for share in (0.25, 0.5, 1.0)] == pytest.approx([0.00125, 0.0015, 0.002])
    assert reset.quantile(0.5) == pytest.approx(BOUNDS[0] / 2)


def test_an_operation_that_took_no_time_that_is_known_has_quantiles_all_the_same() -> None:
    """Requests beyond the last bound count as it, and no requests as nothing."""
    nothing = Tally("stepEnv", {}, 0, 0, 0.0, (0,) * (len(BOUNDS) + 1))
    assert nothing.mean == nothing.quantile(0.5) == 0.0
    counted = Traffic()
    counted.count("stepEnv", 200, 1e9, 0, 0)
    [tally] = tallies([counted])
    assert tally.quantile(0.5) == BOUNDS[-1]


@given(
    st.binary(min_size=8 * CELLS, max_size=8 * CELLS)
    | st.integers(0).map(lambda n: random.Random(n).randbytes(8 * CELLS))
)
def test_whatever_an_environment_writes_there_is_read(garbage: bytes) -> None:
    """Any bits are a count, for the process that writes them runs third-party code."""
    for tally in tallies([Traffic(memoryview(bytearray(garbage)).cast("d")), Traffic()]):
        assert all(0.0 <= each < math.inf for each in (tally.mean, tally.quantile(0.5), tally.quantile(0.99)))


def test_getenv_tells_how_requests_were_answered(server: Server) -> None:
    """Counts by status, bytes and times are there at once, wherever the requests were served."""
    env = server.create("CartPole-v1")
    answers = [server.post(f"{env}/reset/", {"seed": 1})]
    bodies = [b'{"action": 1}', b'{"action": 0}', b'{"action": 7}', b'{"acton": 1}', b"{", b'{"action": 1}']
    answers += [server.post(f"{env}/step/", body, headers={"Content-Type": "application/json"}) for body in bodies]
    assert [each.status for each in answers] == [200, 200, 200, 400, 400, 400, 200]
    server.get("/v1/health/")
    reset, step = server.get(f"{env}/").json["traffic"]
    assert reset["operation"] == "resetEnv"
    assert reset["statuses"] == {"200": 1}
    assert step["operation"] == "stepEnv"
    assert step["statuses"] == {"200": 3, "400": 3}
    assert step["received_bytes"] == sum(map(len, bodies))
    assert step["sent_bytes"] == sum(len(each.body) for each in answers[1:])
    assert 0 < step["p50_seconds"] <= step["p99_seconds"]
    assert step["mean_seconds"] > 0


def test_getenv_tells_since_when_an_environment_is_busy(process_server: Server) -> None:
    """While a call is under way its beginning is told without waiting for it; afterwards there is none."""
    env = process_server.create("tests/Troublemaker-v0")
    process_server.post(f"{env}/reset/")
    assert process_server.get(f"{env}/").json["busy_since"] is None

    def sleep() -> None:
        assert process_server.post(f"{env}/step/", {"action": "sleep 1"}).status == 200

    with threads(sleep):
        found = eventually(lambda: (told := process_server.get(f"{env}/").json)["busy_since"] and told)
        assert found["state"] == "busy"
        assert found["created_at"] <= found["busy_since"]
    assert process_server.get(f"{env}/").json["busy_since"] is None
    [_, step] = process_server.get(f"{env}/").json["traffic"]
    assert step["p50_seconds"] >= 0.9


def test_a_death_is_counted_where_its_reply_is_sent(process_server: Server) -> None:
    """The 502 of the call that it died in and the 410s after it are in the tally."""
    env = process_server.create("tests/Troublemaker-v0")
    process_server.post(f"{env}/reset/")
    statuses = [process_server.post(f"{env}/step/", {"action": action}).status for action in ("exit 3", "x")]
    assert statuses == [502, 410]
    [_, step] = process_server.get(f"{env}/").json["traffic"]
    assert step["statuses"] == {"410": 1, "502": 1}
