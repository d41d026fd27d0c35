"""Three machines of a Ray cluster in network namespaces of their own: addresses in `url`, direct steps, a cable pulled.

Run by hand, as root, because it takes a minute and needs iproute2: `python -m tests.cluster.namespaces`. It prints what it
sees, and fails where that is not what the manual says.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from gym_http_server.client import Client, ServerProblem

from ..support.network import Network, require
from ..support.ray_nodes import ENVIRONMENT
from ..support.serving import ROOT, SECONDS, eventually

KEY = "key-of-the-router"
RAY_TOKEN = secrets.token_hex(32)
SHARD_ENVS = 4
STEPS = 500
NOTICE_SECONDS = 5.0
SLOW = """
import time
import gymnasium

class Slow(gymnasium.Env):
    action_space = observation_space = gymnasium.spaces.Discrete(61)
    def reset(self, *, seed=None, options=None):
        return 0, {}
    def step(self, action):
        time.sleep(float(action))
        return 0, 0.0, False, False, {}
"""


@contextlib.contextmanager
def program(command: list[str], directory: Path, *, is_read: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a program with all that it starts."""
    ours = {**ENVIRONMENT, "RAY_AUTH_TOKEN": RAY_TOKEN}
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{directory}", "GYM_HTTP_SERVER_API_KEY": KEY, **ours}
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if is_read else log,
            stderr=log,
            env=variables,
            cwd=directory,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
            if process.stdout is not None:
                process.stdout.close()


def node(network: Network, machine: int, directory: Path, *arguments: str) -> contextlib.AbstractContextManager[object]:
    """Run Ray on a machine."""
    ray = str(Path(sys.executable).parent / "ray")
    options = (
        "--node-ip-address",
        network.addresses[machine],
        "--object-store-memory",
        "80000000",
        "--disable-usage-stats",
    )
    return program(network.command(machine, ray, "start", "--block", *options, *arguments), directory)


def seconds_of(call: Callable[[], object]) -> tuple[float, str]:
    """Return how long a call takes, and its status or problem."""
    begun = time.monotonic()
    try:
        said = str(call())
    except (ServerProblem, OSError) as problem:
        said = f"{type(problem).__name__}: {problem}"
    return time.monotonic() - begun, said


def post(url: str, path: str, body: object) -> str:
    """Return status and message of a plain request."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=SECONDS)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        return f"{reply.status} {json.loads(reply.read()).get('message', '')}"


def try_cluster(network: Network, url: str) -> None:
    """Use the cluster, pull the cable of a machine, and use it again."""
    router = urlsplit(url).hostname
    with Client(url, KEY) as client:
        eventually(lambda: seconds_of(client.get_health)[1].startswith("{"), SECONDS)
        created = [client.create_env("Slow-v0") for _ in range(2 * SHARD_ENVS)]
        hosts = {reply["instance_id"]: urlsplit(reply["url"]).hostname for reply in created}
        click.echo(f"instances by the host in their url: {hosts}")
        assert set(hosts.values()) == set(network.addresses[1:])
        for env in hosts:
            client.reset_env(env)
        lost = [env for env, host in hosts.items() if host == network.addresses[1]]
        kept = next(env for env, host in hosts.items() if host == network.addresses[2])
        assert client._direct._routes[f"/v1/envs/{kept}/"].transport is not None
        with Client(url, KEY) as other:  # which did not make the instance, and knows no url
            for name, its in (("directly", client), (f"through the router {router}", other)):
                took = statistics.median(seconds_of(lambda its=its: its.step_env(kept, 0))[0] for _ in range(STEPS))
                click.echo(f"a step {name}: {took * 1e6:.0f} µs")

        ended: dict[str, tuple[float, str]] = {}

        def under_way() -> None:
            ended["under way"] = seconds_of(lambda: post(url, f"/v1/envs/{lost[0]}/step/", {"action": 60}))

        thread = threading.Thread(target=under_way)
        thread.start()
        time.sleep(1.0)
        network.pull(1)
        pulled = time.monotonic()
        ended["directly, after the cable was pulled"] = seconds_of(lambda: client.step_env(lost[1], 0))
        ended["directly, another instance there"] = seconds_of(lambda: client.step_env(lost[2], 0))
        thread.join(SECONDS)
        ended["under way"] = (ended["under way"][0] - 1.0, ended["under way"][1])
        eventually(lambda: seconds_of(lambda: client.get_env(lost[0]))[1].startswith("ServerProblem: 410"), SECONDS)
        click.echo(f"410 after {time.monotonic() - pulled:.1f} s: {seconds_of(lambda: client.get_env(lost[0]))[1]}")
        for name, (took, said) in ended.items():
            click.echo(f"{name}: after {took:.1f} s: {said}")
            assert took < NOTICE_SECONDS, name
            assert re.search(r"\b(502|410) ", said), name
        click.echo(f"the other machine: {client.step_env(kept, 0)}")
        client.close_env(kept)
        again = client.create_env("Slow-v0")
        assert urlsplit(again["url"]).hostname == network.addresses[2]
        click.echo(f"health: {client.get_health()}")


def main() -> None:
    """Start the cluster, try it, and end it."""
    require()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ns", dir="/tmp")))
        (directory / "slow.py").write_text(SLOW)
        network = stack.enter_context(Network(3))
        head = f"{network.addresses[0]}:6379"
        try:
            with contextlib.ExitStack() as programs:
                arguments = ("--head", "--port", "6379", "--num-cpus", "0", "--include-dashboard", "false")
                programs.enter_context(node(network, 0, directory, *arguments, "--temp-dir", str(directory / "r")))
                for machine in (1, 2):
                    # One after the other: Ray gives up a node that has not started after 30 s.
                    eventually(lambda started=machine: _count_started(directory) == started, 2 * SECONDS)
                    programs.enter_context(node(network, machine, directory, "--address", head, "--num-cpus", "1"))
                server = [
                    sys.executable,
                    "-m",
                    "gym_http_server",
                    "--engine",
                    "ray",
                    "--ray-address",
                    head,
                    "-l",
                    "0.0.0.0",
                ]
                options = ["--shard-envs", str(SHARD_ENVS), "--env", "Slow-v0=slow:Slow", "--port", "0"]
                router = programs.enter_context(program(network.command(0, *server, *options), directory, is_read=True))
                found = re.search(r"listening on http://\S+:(\d+)", router.stdout.readline())
                threading.Thread(target=router.stdout.read, daemon=True).start()
                try_cluster(network, f"http://{network.addresses[0]}:{found[1]}")
                begun = time.monotonic()
            click.echo(f"ended after {time.monotonic() - begun:.1f} s")
            for machine in range(3):
                left = network.pids(machine)
                assert not left, f"processes are left on machine {machine}: {left}"
        except BaseException:
            click.echo((directory / "log").read_text()[-8000:])
            raise


def _count_started(directory: Path) -> int:
    return (directory / "log").read_text().count("Ray runtime started")


if __name__ == "__main__":
    main()
