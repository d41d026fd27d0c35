"""Somebody who steps an environment of their own while others attack the server: how long the server keeps them waiting."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from .handing import HEALTH, Client, post, step
from .serving import Server

MAX_WAIT_SECONDS = 0.1
MAX_STILL_SECONDS = 2.0
ATTEMPTS = 5
"""An attack that stalls the server does so each time; a busy machine does not."""


class Stopwatch:
    """How long a server keeps somebody waiting, on a machine that may be busy with other things.

    What counts of a wait is the processor's time that the server takes meanwhile, and what is longer than `MAX_STILL_SECONDS`.
    """

    def __init__(self, server: Server) -> None:
        self._process = psutil.Process(server.process.pid)
        self._begun, self._busy = time.monotonic(), self._processor_seconds()

    @property
    def seconds(self) -> float:
        lasted, busy = time.monotonic() - self._begun, self._processor_seconds() - self._busy
        return max(min(lasted, busy), lasted - MAX_STILL_SECONDS)

    def _processor_seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def bystander(server: Server) -> Iterator[list[float]]:
    """Have somebody step and ask for the health until the end; yield the seconds that each request waited."""
    waits: list[float] = []
    is_over = threading.Event()

    def go_on() -> None:
        with Client(server) as client:
            env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': 'CartPole-v1'})).json['instance_id']}"
            client.ask(post(f"{env}/reset/", {}))
            is_ready.set()
            while not is_over.is_set():
                for request in (step(env, 0), HEALTH):
                    watch = Stopwatch(server)
                    assert client.ask(request).status == 200
                    waits.append(watch.seconds)
                time.sleep(0.001)
            client.ask(post(f"{env}/close/", {}))

    is_ready = threading.Event()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        assert is_ready.wait(20)
        yield waits
    finally:
        is_over.set()
        thread.join(20)


def assert_nobody_waits(server: Server, attack: Callable[[Server], None]) -> None:
    """Attack a server, again where a bystander waited too long, and fail where that is so each time."""
    longest = []
    for _ in range(ATTEMPTS):
        with bystander(server) as waits:
            attack(server)
        assert waits
        longest.append(max(waits))
        if longest[-1] <= MAX_WAIT_SECONDS:
            return
    raise AssertionError(f"a bystander waited {longest} s")
