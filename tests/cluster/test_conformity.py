"""The conformity kit through a router with three shards, and directly at one of them.

`tests/conformity/test_wire.py` has the sessions of old clients through a router, `tests/server/` the compliance suite.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.cluster import KEY, TestCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("results", "uploads")]
    with TestCluster(shards=3, shard_options=("--results-root", folders[0], "--upload-to", folders[1])) as running:
        yield running


def check(directory: Path, url: str, *arguments: str, key: str = "") -> str:
    """Run the kit; it passes."""
    command = [sys.executable, "-m", "gym_http_server", "check", url, "--examples", "1", "--with-uploads", *arguments]
    variables = {**os.environ, "GYM_HTTP_SERVER_API_KEY": key, "HYPOTHESIS_STORAGE_DIRECTORY": str(directory)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=directory, env=variables)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@pytest.mark.timeout(540)
def test_a_router_passes(cluster: TestCluster, tmp_path: Path) -> None:
    """All groups of the kit: every operation with generated requests, sequences, trajectories, sessions of old clients."""
    told = check(tmp_path, cluster.router.url)
    skipped = re.findall(r"::(\S+)(?: \[.*\])? SKIPPED", told)
    assert {re.sub(r"\[.*", "", name) for name in skipped} <= {"test_access", "test_operation_shutdownServer"}
    assert cluster.router.get("/v1/envs/").json["envs"] == {}


def test_a_shard_passes_where_it_is_reached_directly(cluster: TestCluster, tmp_path: Path) -> None:
    """With the cluster's key; `test_router_requests.py` has the keys of single instances."""
    check(tmp_path, cluster.shards[cluster.prefixes[0]].url, "--only", "sequences", "--only", "wire", key=KEY)
    assert cluster.router.get("/v1/envs/").json["envs"] == {}
