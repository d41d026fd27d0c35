"""Guesses of the key are slowed, for each address and in all; the right key is not."""

from __future__ import annotations

import concurrent.futures
import time
from urllib.parse import urlencode

import pytest

from gym_http_server.api.guard.guesses import MAX_ADDRESSES, MAX_DELAY_SECONDS, Guesses
from tests.support.serving import Server, parse_response, raw

KEY = "correct-horse-battery-staple"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def test_an_address_gets_some_guesses_and_then_one_a_second(guesses: Guesses, clock: Clock) -> None:
    """Who mistypes is not delayed; who goes on guessing is, by one second more each, up to a limit, until a pause."""
    assert [guesses.note("192.0.2.1") for _ in range(5)] == [0] * 5
    assert [guesses.note("192.0.2.1") for _ in range(6)] == [
        1,
        2,
        3,
        MAX_DELAY_SECONDS,
        MAX_DELAY_SECONDS,
        MAX_DELAY_SECONDS,
    ]
    assert guesses.note("192.0.2.2") == 0
    clock.now += 60
    assert guesses.note("192.0.2.1") == 0


def test_an_address_is_a_network_where_one_customer_has_many(guesses: Guesses) -> None:
    """The addresses of one IPv6 network count as one, and so does IPv4 in either form."""
    for last in range(8):
        delay = guesses.note(f"2001:db8::{last}")
    assert delay == 3
    assert guesses.note("2001:db8:0:1::1") == 0
    for _ in range(5):
        guesses.note("192.0.2.1")
    assert guesses.note("::ffff:192.0.2.1") == 1


def test_many_addresses_are_slowed_as_well(guesses: Guesses, clock: Clock) -> None:
    """Each may have few guesses left to it alone: in all there are no more than 20 a second after the first."""
    delays = [guesses.note(f"192.0.{index >> 8}.{index & 255}") for index in range(150)]
    assert delays[:50] == [0] * 50
    assert delays[149] == pytest.approx(MAX_DELAY_SECONDS, abs=1.01)
    clock.now += 60
    assert guesses.note("198.51.100.1") == 0


def test_addresses_are_forgotten(guesses: Guesses) -> None:
    """What is kept of them has a limit."""
    for index in range(MAX_ADDRESSES + 10):
        guesses.note(f"10.0.{index >> 8}.{index & 255}")
    assert len(guesses._by_address) == MAX_ADDRESSES


def guess(server: Server, key: str, *, by_form: bool) -> tuple[int, float]:
    """Send a key; return the status and how long the answer took."""
    began = time.monotonic()
    if by_form:
        body = urlencode({"key": key}).encode()
        lines = (
            "POST /login HTTP/1.1",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        )
    else:
        body, lines = b"", ("GET /v1/envs/ HTTP/1.1", f"Authorization: Bearer {key}")
    head = "\r\n".join((*lines, "Host: localhost", "Connection: close", "", "")).encode()
    return parse_response(raw(server.address, head + body)).status, time.monotonic() - began


def test_guesses_are_slowed_and_the_right_key_is_not() -> None:
    """Guesses by header and form count together, from one address; meanwhile the right key passes there at once."""
    with Server("--api-key", KEY) as server, concurrent.futures.ThreadPoolExecutor(20) as pool:
        guessed = [pool.submit(guess, server, f"guess-{n}", by_form=n % 2 == 0) for n in range(20)]
        right = []
        while not all(each.done() for each in guessed):
            right += [guess(server, KEY, by_form=by_form) for by_form in (False, True)]
        results = [each.result() for each in guessed]
        assert {status for status, _ in results} == {401}
        assert sum(seconds >= MAX_DELAY_SECONDS - 0.5 for _, seconds in results) >= 10
        # A request without a key is no guess, and the health is open.
        began = time.monotonic()
        assert server.get("/v1/envs/", check=False).status == 401
        assert server.get("/v1/health/").status == 200
        assert time.monotonic() - began < MAX_DELAY_SECONDS - 1
    assert len(right) > 4
    assert {status for status, _ in right} == {200, 303}
    assert sorted(seconds for _, seconds in right)[len(right) // 2] < 1
