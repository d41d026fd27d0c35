"""Environments made, played and closed by the thousand on three Ray nodes: how fast, and what the cluster's processes hold.

Run by hand: `python -m tests.cluster.turnover 2000`. It prints the private memory of router, driver, directory and shards after
each quarter.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import click
import psutil

from gym_http_server.client import Client

from ..support.ray_nodes import ENVIRONMENT, RayNodes
from ..support.serving import Server, eventually

ENV_ID = "CartPole-v1"
STEPS = 5
CLIENTS = 4
NODES = 3
QUARTERS = 4
MEGABYTE = 1 << 20
SLACK_MEGABYTES = 2.0
"""By which memory may differ from one quarter to the next: an allocator gives back what it likes."""


def turn_over(url: str, count: int, clients: int = CLIENTS) -> list[float]:
    """Make, play and close environments, and return how many seconds each creation took.

    Args:
        url: the router's address.
        count: number of environments.
        clients: number of threads that do so, each with a client.
    """
    took: list[float] = []
    numbers = iter(range(count))

    def play() -> None:
        with Client(url) as client:
            for _ in iter(lambda: next(numbers, None), None):
                begun = time.monotonic()
                env = client.create_env(ENV_ID)["instance_id"]
                took.append(time.monotonic() - begun)
                client.reset_env(env)
                for step in range(STEPS):
                    client.step_env(env, step % 2)
                client.close_env(env)

    threads = [threading.Thread(target=play) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == count
    return took


def processes(router: Server, nodes: RayNodes) -> dict[str, psutil.Process]:
    """Return router, driver, directory, shards and their fork servers, when no environment is left."""
    main = psutil.Process(router.process.pid)
    ours = {"router": main, "driver": main.children()[0]}
    for pid in nodes.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.name().startswith("ray::Directory"):
                ours["directory"] = process
            elif process.name().startswith("ray::RayShard"):
                eventually(lambda shard=process: len(shard.children(recursive=True)) == 1)
                ours |= {f"shard {pid}": process, f"fork server of shard {pid}": process.children()[0]}
    return ours


def memory(of: dict[str, psutil.Process]) -> dict[str, float]:
    """Return the private megabytes of processes."""
    return {name: process.memory_full_info().uss / MEGABYTE for name, process in of.items()}


def processor_seconds(of: dict[str, psutil.Process]) -> float:
    """Return how long processes ran, with the environments that have ended below them."""
    return sum(sum(process.cpu_times()[:4]) for process in of.values())


@contextlib.contextmanager
def cluster() -> Iterator[tuple[RayNodes, Server]]:
    """Run three nodes with a shard each, and a router."""
    with RayNodes(NODES) as nodes:
        options: Any = ("--engine", "ray", "--ray-address", nodes.address, "--shard-envs", "2", "--shard-idle", "0")
        with Server(*options, environment=ENVIRONMENT) as router:
            with Client(router.url) as client:
                for env in [client.create_env(ENV_ID)["instance_id"] for _ in range(2 * NODES)]:
                    client.close_env(env)
            yield nodes, router


@click.command()
@click.argument("count", type=int, default=2000)
def main(count: int) -> None:
    """Turn COUNT environments over."""
    with cluster() as (nodes, router):
        told = []
        for quarter in range(QUARTERS + 1):
            before = processes(router, nodes)
            told.append(memory(before))
            if quarter == QUARTERS:
                break
            ran, begun = processor_seconds(before), time.monotonic()
            took = turn_over(router.url, count // QUARTERS)
            seconds = time.monotonic() - begun
            ran = processor_seconds(processes(router, nodes)) - ran
            click.echo(
                f"{len(took)} in {seconds:.1f} s; a creation took {statistics.median(took) * 1e3:.0f} ms (median), "
                f"{max(took) * 1e3:.0f} ms (most); processor time of each environment, its own included: {ran / len(took) * 1e3:.0f} ms"
            )
        for name in told[0]:
            click.echo(f"{name}: {', '.join(f'{each[name]:.1f}' for each in told)} MB")
        for earlier, later in itertools.pairwise(told[-2:]):
            assert all(later[name] < earlier[name] + SLACK_MEGABYTES for name in later), "memory grows"


if __name__ == "__main__":
    main()
