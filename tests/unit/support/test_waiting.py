"""When a process stays awake for what it waits for, and when it sleeps."""

from __future__ import annotations

import concurrent.futures
import itertools
import select
import socket
import sys
import threading
from pathlib import Path

import pytest

from gym_http_server.support import waiting
from gym_http_server.support.waiting import (
    MAX_DELAY_SHARE,
    MAX_PAUSE_WAITS,
    MAX_SLEEP_SECONDS,
    MIN_PAUSE_WAITS,
    READABLE,
    Processors,
    Waiter,
)

AWAKE_SECONDS = 200e-6
READY = [(7, READABLE)]


class Clock:
    """A clock, and a poll object that takes its time: requests come when they are due."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1.0
        self.due = 0.0
        self.looks = self.sleeps = 0
        monkeypatch.setattr(waiting.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(waiting.select, "poll", lambda: self)

    def poll(self, milliseconds: float | None) -> list[tuple[int, int]]:
        if milliseconds == 0:
            self.looks += 1
            self.now += 1e-6
            return READY if self.now >= self.due else []
        self.sleeps += 1
        end = float("inf") if milliseconds is None else self.now + milliseconds / 1e3
        self.now = min(end, max(self.now, self.due))
        return READY if self.now >= self.due else []

    def register(self, *_: object) -> None: ...

    def unregister(self, *_: object) -> None: ...

    def wait(self, waiter: Waiter, seconds: float, limit: float | None = None) -> tuple[int, int]:
        """Wait for a request that comes after so many seconds; return how often it looked and how often it slept."""
        self.due = self.now + seconds
        self.looks = self.sleeps = 0
        assert waiter.wait(lambda: limit) == (READY if limit is None or seconds <= limit else [])
        return self.looks, self.sleeps


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(Processors, "are_free", lambda _: True)
    return Clock(monkeypatch)


def test_it_stays_awake_only_after_a_request_that_came_quickly(clock: Clock) -> None:
    """The first wait sleeps; after a quick request it looks again and again, up to the limit, and then sleeps."""
    waiter = Waiter(AWAKE_SECONDS)
    quick, slow = AWAKE_SECONDS / 2, AWAKE_SECONDS * 5
    assert clock.wait(waiter, quick) == (0, 1)
    looks, sleeps = clock.wait(waiter, quick)
    assert (looks > 10, sleeps) == (True, 0)
    looks, sleeps = clock.wait(waiter, slow)
    assert (looks > 10, sleeps) == (True, 1)
    assert clock.wait(waiter, slow) == (0, 1)
    assert clock.wait(waiter, quick) == (0, 1)
    assert clock.wait(waiter, quick)[1] == 0


def test_it_sleeps_after_a_look_that_took_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread held the interpreter's lock meanwhile."""
    waiter = Waiter(AWAKE_SECONDS)
    clock.wait(waiter, AWAKE_SECONDS / 2)
    look = clock.poll

    def slow_look(milliseconds: float | None) -> list[tuple[int, int]]:
        clock.now += 5e-3
        return look(milliseconds)

    with monkeypatch.context() as patch:
        patch.setattr(clock, "poll", slow_look)
        assert clock.wait(waiter, AWAKE_SECONDS / 2) == (1, 0)
    assert clock.wait(waiter, AWAKE_SECONDS / 2) == (0, 1)


def test_it_sleeps_where_processors_are_scarce(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However quick the client is."""
    waiter = Waiter(AWAKE_SECONDS)
    monkeypatch.setattr(Processors, "are_free", lambda _: False)
    assert [clock.wait(waiter, AWAKE_SECONDS / 2) for _ in range(5)] == [(0, 1)] * 5


def test_it_sleeps_no_longer_than_a_client_has(clock: Clock) -> None:
    """Nothing is ready then."""
    waiter = Waiter(AWAKE_SECONDS)
    began = clock.now
    clock.wait(waiter, 10.0, limit=0.5)
    assert clock.now - began == pytest.approx(0.5, abs=0.002)
    clock.wait(waiter, 10.0, limit=-1.0)
    assert clock.now - began == pytest.approx(0.5, abs=0.002)
    clock.wait(waiter, 1e12, limit=1e11)
    assert clock.now - began == pytest.approx(MAX_SLEEP_SECONDS, abs=1.0)


def test_sockets_that_are_ready_are_returned() -> None:
    """With the real poll, of sockets that are watched, until they are forgotten."""
    waiter = Waiter(AWAKE_SECONDS)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waiter.watch(ours, READABLE)
        assert waiter.ready() == []
        assert waiter.wait(lambda: 0.001) == []
        theirs.send(b"x")
        assert waiter.ready() == waiter.wait(lambda: None) == [(ours.fileno(), select.POLLIN)]
        waiter.forget(ours)
        assert waiter.ready() == []


def asked(processors: Processors, delays: list[float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return after how many waits it looks at each delay; a second passes between two looks."""
    looked: list[int] = []
    waits = 0

    def read(_: Processors) -> float:
        looked.append(waits)
        clock["now"] += 1.0
        return delays[len(looked) - 1]

    clock = {"now": 1.0}
    monkeypatch.setattr(Processors, "_read", read)
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: clock["now"])
    while len(looked) < len(delays):
        processors.are_free()
        waits += 1
    return looked


def test_processors_are_scarce_while_the_process_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of the time is allowed; the pauses between looks double while it is exceeded, and are short again after."""
    little, much = MAX_DELAY_SHARE / 2, MAX_DELAY_SHARE * 2
    processors = Processors()
    looked = asked(processors, [0.0, little, 2 * little], monkeypatch)
    assert processors.are_free()
    assert [b - a for a, b in itertools.pairwise(looked)] == [MIN_PAUSE_WAITS + 1] * 2
    processors = Processors()
    looked = asked(processors, [count * much for count in range(12)], monkeypatch)
    assert not processors.are_free()
    pauses = [b - a - 1 for a, b in itertools.pairwise(looked)]
    assert pauses[:3] == [MIN_PAUSE_WAITS, MIN_PAUSE_WAITS * 2, MIN_PAUSE_WAITS * 4]
    assert pauses[-1] == MAX_PAUSE_WAITS
    processors = Processors()
    asked(processors, [0.0, much, much], monkeypatch)
    assert processors.are_free()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread waited for a processor")
def test_processors_are_looked_at_for_the_thread_that_waits() -> None:
    """A client's connection may be used by any thread of its program."""

    def waited() -> float:
        return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_bytes().split()[1]) / 1e9

    def look() -> list[float]:
        return [waited(), Processors()._read(), waited()]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        looked = pool.submit(look).result()
    assert looked == sorted(looked)


def test_the_time_that_a_process_waited_for_a_processor_never_shrinks() -> None:
    """Where the system does not tell it, it is zero."""
    processors = Processors()
    first, second = processors._read(), processors._read()
    assert 0.0 <= first <= second
