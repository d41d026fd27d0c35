"""A Ray cluster of several nodes on this machine, held by a process of its own: `with RayNodes(3) as nodes`.

The tests' own process never imports Ray. Run as a program it is that process: it reads commands from stdin, a line each, and answers
each with a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from .serving import ROOT, living

ENVIRONMENT = {
    # A token of its own: else Ray would write one into the home directory.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "tests-of-gym-http-server-tests-of-gym",
    "RAY_USAGE_STATS_ENABLED": "0",
    # On a busy machine everything takes longer than Ray expects.
    "RAY_worker_register_timeout_seconds": "180",
}

OBJECT_STORE_BYTES = 80_000_000


class RayNodes:
    """The nodes of a cluster.

    Args:
        count: number of nodes, with the head.
        cpus: processors that each counts.
        options: further options of Ray's for each.

    Attributes:
        address: address of the head.
        nodes: ids of the nodes, the head first.
    """

    def __init__(self, count: int = 3, cpus: int = 1, **options: Any) -> None:
        # Paths of sockets may have 107 characters.
        self._directory = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ray_nodes", self._directory.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "PYTHONWARNINGS": "ignore"},
            text=True,
        )
        self.nodes: list[str] = []
        self.add(cpus, count, **options)

    def __enter__(self) -> RayNodes:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        below = psutil.Process(self._process.pid).children(recursive=True)
        # The end of its stdin ends every node.
        self._process.communicate(timeout=60)
        left = living(below)
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self._directory.cleanup()

    def add(self, cpus: float = 1, count: int = 1, **options: Any) -> None:
        """Add nodes with so many processors, and other options of Ray's."""
        answer = self._ask({"add": count, "options": {"num_cpus": cpus, **options}})
        self.address = answer["address"]
        self.nodes.extend(answer["nodes"])

    def kill(self, node: str) -> None:
        """Kill all processes of Ray on a node, as the loss of its machine does; the workers end by themselves."""
        self._ask({"kill": node})
        self.nodes.remove(node)

    def pids(self) -> list[int]:
        """Return the processes of all workers."""
        return [each.pid for each in psutil.Process(self._process.pid).children(recursive=True)]

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("{"):
            assert line, "the process of the cluster has ended"
        return dict(json.loads(line))


def main(directory: str) -> None:
    import ray._private.utils
    from ray.cluster_utils import Cluster

    # Others on this machine are not to join it unasked.
    ray._private.utils.write_ray_address = lambda *_: None
    cluster, nodes = Cluster(), {}
    of_all = {"temp_dir": directory, "object_store_memory": OBJECT_STORE_BYTES}
    of_head = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    try:
        for line in sys.stdin:
            command = json.loads(line)
            answer = {}
            if "add" in command:
                added = []
                for _ in range(command["add"]):
                    options = command["options"] | of_all | ({} if nodes or added else of_head)
                    # Nodes start beside each other, after the head.
                    added.append(cluster.add_node(**options, wait=not (nodes or added)))
                cluster.wait_for_nodes()
                nodes |= {node.node_id: node for node in added}
                answer = {"address": cluster.address, "nodes": [node.node_id for node in added]}
            elif "kill" in command:
                kill(nodes.pop(command["kill"]))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        cluster.shutdown()


def kill(node: Any) -> None:
    """Kill what Ray runs on a node. Its agents would outlive it for minutes; the workers end by themselves."""
    processes = [
        each.process for kind, all_of_kind in node.all_processes.items() if kind != "reaper" for each in all_of_kind
    ]
    below = [child for each in processes for child in psutil.Process(each.pid).children()]
    for each in [*processes, *(child for child in below if child.name().endswith("Agent"))]:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            os.kill(each.pid, signal.SIGKILL)
    for each in processes:
        each.wait()


if __name__ == "__main__":
    main(str(Path(sys.argv[1])))
