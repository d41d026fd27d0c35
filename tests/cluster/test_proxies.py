"""The manual's proxy configurations: Debian's nginx and HAProxy before several routers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

from gym_http_server.client import RemoteEnv

from ..conftest import start
from ..support.nginx import NGINX, address, command_for, free_port
from ..support.relay import Relay
from ..support.serving import SECONDS, eventually
from .manual import block

pytestmark = pytest.mark.full

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def paths(router):
    """Return the paths below instances, up to the third digit of the id."""
    return {request.path[:12] for request in router.requests if re.match("/v1/envs/.", request.path)}


@pytest.fixture(scope="module")
def server():
    with start("process") as running:
        yield running


@contextlib.contextmanager
def running(kind, home, routers):
    """Run a proxy with the manual's configuration; yield its address."""
    program = {"nginx": NGINX, "haproxy": HAPROXY}[kind]
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{kind} is not installed")
    port = free_port()
    configuration = block(kind)
    for documented, router in zip(("10.0.0.1:5000", "10.0.0.2:5000"), routers, strict=True):
        assert documented in configuration
        configuration = configuration.replace(documented, "{}:{}".format(*address(router.url)))
    configuration = configuration.replace("listen 80;", f"listen 127.0.0.1:{port};")
    configuration = configuration.replace("bind :80\n", f"bind 127.0.0.1:{port}\n")
    if kind == "nginx":
        command = command_for(home, configuration)
    else:
        file = home / "haproxy.cfg"
        file.write_text(configuration)
        command = [program, "-db", "-f", str(file)]
    log = home / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: process.poll() is not None or is_healthy(url), SECONDS)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(SECONDS)


def is_healthy(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"{url}/v1/health/", timeout=SECONDS).status == 200
    return False


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_requests_of_a_shard_reach_one_router_and_another_where_that_has_ended(server, kind, tmp_path):
    """Creations go to all of them."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        routers = [first.enter_context(Relay(server)), stack.enter_context(Relay(server))]
        url = stack.enter_context(running(kind, tmp_path, routers))
        for number in range(40):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/v1/envs/{number:03x}00000/", timeout=SECONDS).close()
        envs = [stack.enter_context(RemoteEnv(url, "CartPole-v1")) for _ in range(8)]
        for env in envs:
            env.reset()
        assert all(any(request.path == "/v1/envs/" for request in router.requests) for router in routers)
        one, other = map(paths, routers)
        assert one
        assert other
        assert one.isdisjoint(other)
        first.close()
        for env in envs:
            env.step(0)
        assert {f"/v1/envs/{env.instance_id}"[:12] for env in envs} <= paths(routers[1])


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_websockets_pass_through_the_proxy(server, kind, tmp_path):
    """Those of OpenEnv's clients."""
    with running(kind, tmp_path, [server, server]) as url:
        address = f"ws{url.removeprefix('http')}/openenv/CartPole-v1/ws"
        with connect(address, proxy=None) as websocket:
            for message in ({"type": "reset", "data": {}}, {"type": "step", "data": {"action": 1}}):
                websocket.send(json.dumps(message))
                assert json.loads(websocket.recv())["type"] == "observation"
