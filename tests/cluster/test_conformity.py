"""The conformity kit through a router with three shards, and sessions of the old clients through it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gym_http_server.conformity.caller import Caller
from gym_http_server.conformity.implementation import Implementation
from gym_http_server.conformity.plugin import closed
from gym_http_server.conformity.suite.test_wire import (
    test_body_of_get,
    test_compression,
    test_retired_id,
    test_session,
    test_slashes,
    test_upload,
    test_upload_needs,
    test_void_body,
)

from ..support.cluster import TestCluster

__all__ = [
    "closed",
    "test_body_of_get",
    "test_compression",
    "test_retired_id",
    "test_session",
    "test_slashes",
    "test_upload",
    "test_upload_needs",
    "test_void_body",
]

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    uploads = tmp_path_factory.mktemp("uploads")
    with TestCluster(shards=3, shard_options=("--upload-to", str(uploads))) as cluster:
        yield cluster


@pytest.fixture
def implementation(cluster, tmp_path):
    with Implementation(cluster.router.url, results=str(tmp_path)) as under_test:
        yield under_test


@pytest.fixture
def caller(implementation):
    return Caller(implementation)


@pytest.fixture
def with_uploads():
    return True


def test_the_trajectories_of_the_kit_pass(cluster, tmp_path):
    """The kit's group of seeded trajectories passes through a router: they are those of Gymnasium."""
    command = [sys.executable, "-m", "gym_http_server", "check", cluster.router.url, "--examples", "1"]
    command += ["--only", "trajectories"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert cluster.router.get("/v1/envs/").json["envs"] == {}
