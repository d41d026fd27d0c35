"""Many clients at once while environments are made, closed and killed: no reply is lost, doubled or another's."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from ..conftest import IMPORTS, KINDS, start
from ..support.exchange import Connection, Reply, request_bytes
from ..support.serving import Server, eventually

CLIENTS, INSTANCES, ROUNDS = 64, 16, 40
STEP = {"action": ""}
REFUSALS = {400, 409, 410, 502, 504}


@pytest.fixture(params=["at once", "by habit"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that hands every connection over at once, and one that does as usual."""
    with start("handover") if request.param == "at once" else Server(*KINDS["handover"], *IMPORTS) as running:
        yield running


class Lane:
    """An instance, which observes how many steps it took, and what is known of it.

    Args:
        connection: where to have it made.

    Attributes:
        path: its path.
        pid: its process.
        seen: all its observations, as they came.
        unread: how many steps were asked for by clients that did not wait for the reply.
        is_closing: it is being closed, or has been.
        is_killed: its process is being killed, or has been.
    """

    def __init__(self, connection: Connection) -> None:
        made = connection.ask("POST", "/v1/envs/", {"env_id": "tests/Troublemaker-v0"})
        self.path = f"/v1/envs/{made['instance_id']}"
        connection.ask("POST", f"{self.path}/reset/", {})
        first = connection.ask("POST", f"{self.path}/step/", {"action": "pid"})
        self.pid = first["info"]["pid"]
        self.seen: list[int] = [first["observation"]]
        self.unread = 0
        self.is_closing = self.is_killed = False
        self._lock = threading.Lock()

    def note(self, replies: list[Reply | None]) -> None:
        """Note the replies to a pipeline of steps, of which each is to be right."""
        observations = []
        for reply in replies:
            if reply is None or not reply.is_whole:
                assert self.is_killed, f"{self.path}: a reply is lost: {reply}"
            elif reply.status == 200:
                observations.append(json.loads(reply.body)["observation"])
            else:
                assert self.is_closing or self.is_killed, reply
                assert reply.status in REFUSALS, reply
                assert reply.header(b"content-type") == b"application/problem+json"
                assert json.loads(reply.body)["status"] == reply.status
        assert observations == sorted(observations)
        with self._lock:
            self.seen += observations

    def leave_unread(self, count: int) -> None:
        """Note steps whose replies nobody reads."""
        with self._lock:
            self.unread += count

    def check(self, steps: int | None) -> None:
        """Assert that each step was answered to one client.

        Args:
            steps: how many it took; None where it cannot be asked any more.
        """
        assert len(self.seen) == len(set(self.seen)), f"{self.path}: a step was answered twice"
        # The step that a process was killed over is the last.
        taken = max(self.seen) if steps is None else steps
        missing = set(range(1, taken + 1)) - set(self.seen)
        assert len(missing) <= self.unread, f"{self.path}: not answered: {sorted(missing)}"
        assert max(self.seen) <= taken


def be_a_client(server: Server, lanes: list[Lane], number: int) -> None:
    """Step environments, one most of all, on connections that are kept for some time."""
    chance = random.Random(number)
    connection = Connection(server.address)
    for _ in range(ROUNDS):
        lane = lanes[number % INSTANCES if chance.random() < 0.7 else chance.randrange(INSTANCES)]
        count = chance.choice([1, 1, 1, 2, 5])
        sent = request_bytes("POST", f"{lane.path}/step/", STEP) * count
        draw = chance.random()
        if draw < 0.03:
            # The end of the last request is missing: that step is never taken.
            lane.leave_unread(count - 1)
            connection.send(sent[: -chance.randrange(1, 20)])
        elif draw < 0.06:
            lane.leave_unread(count)
            connection.send(sent)
        else:
            connection.send(sent)
            replies = [connection.read("POST") for _ in range(count)]
            lane.note(replies)
            if draw < 0.8 and replies[-1] is not None and replies[-1].is_whole:
                continue
            if draw < 0.9 and replies[-1] is not None and replies[-1].is_whole:
                connection.send(request_bytes("GET", "/v1/health/"))
                reply = connection.read("GET")
                assert reply is not None
                assert reply.status == 200
                continue
        connection.close()
        connection = Connection(server.address)
    connection.close()


def be_unkind(server: Server, lanes: list[Lane], past: list[Lane], places: range, done: threading.Event) -> None:
    """Close environments or kill their processes, and put new ones in their places, until the clients are done."""
    chance = random.Random(places.start)
    with Connection(server.address) as connection:
        while not done.wait(chance.uniform(0, 0.05)):
            place = chance.choice(places)
            lane = lanes[place]
            past.append(lane)
            if chance.random() < 0.5:
                lane.is_killed = True
                os.kill(lane.pid, signal.SIGKILL)
                # Some clients meet the dead one, others its successor.
                if chance.random() < 0.5:
                    lanes[place] = Lane(connection)
            lane.is_closing = True
            connection.ask("DELETE", f"{lane.path}/")
            if lanes[place] is lane:
                lanes[place] = Lane(connection)


@pytest.mark.parametrize("is_unkind", [False, True], ids=["kind", "unkind"])
def test_every_request_of_many_clients_has_its_one_reply(fresh: Server, is_unkind: bool) -> None:
    """Each step is answered once and in its turn, or refused where its instance goes; nothing is left of all that."""
    fresh.request("DELETE", fresh.create())
    seen = psutil.Process(fresh.process.pid)
    children, descriptors = fresh.pids(), seen.num_fds()
    done = threading.Event()
    past: list[Lane] = []
    with Connection(fresh.address) as connection:
        lanes = [Lane(connection) for _ in range(INSTANCES)]
    with ThreadPoolExecutor(CLIENTS + 2) as pool:
        halves = [range(INSTANCES // 2), range(INSTANCES // 2, INSTANCES)] if is_unkind else []
        unkind = [pool.submit(be_unkind, fresh, lanes, past, places, done) for places in halves]
        clients = [pool.submit(be_a_client, fresh, lanes, number) for number in range(CLIENTS)]
        try:
            for each in clients:
                each.result()
        finally:
            done.set()
        for each in unkind:
            each.result()
    assert bool(past) == is_unkind
    for lane in past:
        lane.check(None)
    with Connection(fresh.address) as connection:
        for lane in lanes:
            connection.ask("POST", f"{lane.path}/reset/", {})
            lane.check(connection.ask("GET", f"{lane.path}/")["steps"])
            connection.ask("DELETE", f"{lane.path}/")
        assert connection.ask("GET", "/v1/health/")["instances"] == 0
    eventually(lambda: fresh.pids() == children)
    eventually(lambda: seen.num_fds() <= descriptors)
    assert not [line for line in fresh.stderr if "Traceback" in line], "".join(fresh.stderr)[-4000:]
