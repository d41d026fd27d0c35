"""A client whose way to an instance is cut: no end of a connection tells it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time

import pytest

from gym_http_server.client import Client, ServerProblem
from gym_http_server.client.http import direct

from ..support.network import Network, require
from ..support.reverse_proxy import ReverseProxy
from ..support.serving import SECONDS

pytestmark = pytest.mark.full

LOST = {"type": "urn:gym-http-server:problem:environment-lost", "title": "lost", "detail": "node seven was lost"}
SLOW = "import time, gymnasium\nclass Slow(gymnasium.Env):\n    action_space = observation_space = gymnasium.spaces.Discrete(2)\n    def reset(self, *, seed=None, options=None): return 0, {}\n    def step(self, action):\n        time.sleep(60 * action)\n        return 0, 0.0, False, False, {}\n"


@pytest.fixture
def network():
    require()
    with Network(1) as network:
        yield network


@pytest.fixture
def address(network, tmp_path):
    """Of a server on the machine."""
    (tmp_path / "slow.py").write_text(SLOW)
    server = [
        sys.executable,
        "-m",
        "gym_http_server",
        "--port",
        "0",
        "-l",
        network.addresses[0],
        "--no-auth",
        "--shutdown-timeout",
        "1",
        "--env",
        "Slow-v0=slow:Slow",
    ]
    process = subprocess.Popen(network.command(0, *server), stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        yield network.addresses[0], int(re.search(r"listening on http://[\d.]+:(\d+)", process.stdout.readline())[1])
    finally:
        process.terminate()
        process.wait(SECONDS)
        process.stdout.close()


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_cable_that_is_pulled_is_noticed_and_the_router_is_asked(network, address, moment):
    """Whether the step is sent then or under way; long before the client's own time-out."""
    pulled = threading.Event()

    def answer_itself(passing):
        if pulled.is_set():
            passing.status, passing.reply = 410, json.dumps(LOST).encode()
            passing.reply_headers = {"content-type": "application/problem+json"}

    def tell(passing):
        if (passing.method, passing.path, passing.status) == ("POST", "/v1/envs/", 200):
            url = "http://{}:{}".format(*address)
            passing.reply = json.dumps({**json.loads(passing.reply), "url": url}).encode()

    def pull():
        pulled.set()
        network.pull(0)

    with ReverseProxy(address, before=answer_itself, after=tell) as router, Client(router.url) as client:
        envs = [client.create_env("Slow-v0")["instance_id"] for _ in range(2)]
        for env in envs:
            client.reset_env(env)
            client.step_env(env, 0)
        timer = threading.Timer(0.5, pull)
        if moment == "before":
            pull()
        else:
            timer.start()
        begun = time.monotonic()
        for env in envs:
            with pytest.raises(ServerProblem, match="node seven was lost"):
                client.step_env(env, 1)
        # A bound of the client's, far below its time-out of 300 s; the second instance needs no time of its own.
        assert time.monotonic() - begun < 5 * direct.SILENCE_SECONDS
