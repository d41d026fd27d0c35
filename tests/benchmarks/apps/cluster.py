"""Our router before so many ordinary servers, without Ray, which does nothing while steps are taken.

python -m tests.benchmarks.apps.cluster 3
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

import click

from gym_http_server import server
from gym_http_server.router.shards import Shard, StaticShards

KEY = "key-of-the-cluster"
ROOM = 2000
STOP_SECONDS = 30.0


@contextlib.contextmanager
def shard(prefix: str):
    """Run a shard."""
    options = ("--port", "0", "--log-level", "error", "--max-envs", str(ROOM), "--api-key", KEY, "--shard", prefix)
    process = subprocess.Popen([sys.executable, "-m", "gym_http_server", *options], stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"listening on (http://\S+)", process.stdout.readline())
        yield Shard(prefix, found[1], "this machine", room=ROOM)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        process.stdout.close()


def main() -> None:
    with contextlib.ExitStack() as stack:
        shards = [stack.enter_context(shard(f"{number:03x}")) for number in range(int(sys.argv[1]))]
        server.shards_of = lambda _: StaticShards(shards, KEY)
        server.start_server(port=0, log_level="error", on_start=lambda url: click.echo(f"listening on {url}"))


if __name__ == "__main__":
    main()
