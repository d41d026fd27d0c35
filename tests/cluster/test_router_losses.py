"""What clients of a router see when a shard, a router or a connection is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from ..support.cluster import TestCluster
from ..support.serving import Answer, Server

BOUND_SECONDS = 15.0
"""5 s by design, on a machine that others use, too."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster(3, shard_options=("--import", "tests.support.troublemakers")) as running:
        yield running


def path_on(router: Server, prefix: str, env_id: str = "CartPole-v1") -> str:
    """Make instances until one is on a shard, and return its path."""
    for _ in range(12):
        path = router.create(env_id)
        if path.split("/")[3].startswith(prefix):
            return path
    raise AssertionError(f"none of 12 instances is on {prefix}")


def timed(server: Server, path: str, action: object = 1) -> tuple[float, Answer]:
    began = time.monotonic()
    answer = server.post(f"{path}/step/", {"action": action})
    return time.monotonic() - began, answer


def test_a_shard_that_stops_answering_is_noticed_by_requests_of_the_routers_own(cluster: TestCluster) -> None:
    """A call under way is answered with 502, further ones at once, and the shard serves again when it goes on."""
    router, silent = cluster.router, cluster.prefixes[0]
    path = path_on(router, silent)
    router.post(f"{path}/reset/", {"seed": 1})
    router.post(f"{path}/step/", {"action": 1})
    pids = [cluster.shards[silent].process.pid, *cluster.shards[silent].pids()]
    stop(pids, signal.SIGSTOP)
    try:
        seconds, answer = timed(router, path)
        assert answer.status == 502
        assert "has not answered for 3 s" in answer.message
        assert seconds < BOUND_SECONDS
        seconds, answer = timed(router, path)
        assert answer.status == 502
        assert "the request was not executed" in answer.message
        assert seconds < 1.0 + BOUND_SECONDS / 10
        assert path.split("/")[3] in router.get("/v1/envs/").json["envs"]
        assert all(not router.create().split("/")[3].startswith(silent) for _ in range(3))
    finally:
        stop(pids, signal.SIGCONT)
    end = time.monotonic() + 30.0
    while timed(router, path)[1].status != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_killed_shard_costs_its_own_instances_only(cluster: TestCluster) -> None:
    """Under load every reply is right or a problem; then its instances are 410 and listed, until they are closed."""
    router, killed = cluster.router, cluster.prefixes[1]
    paths = [path_on(router, prefix) for prefix in cluster.prefixes for _ in range(2)]
    is_over = threading.Event()
    seen: dict[str, list[tuple[float, int]]] = {path: [] for path in paths}

    def load(path: str) -> None:
        router.post(f"{path}/reset/")
        while not is_over.is_set():
            seconds, answer = timed(router, path)
            seen[path].append((seconds, answer.status))
            if answer.status == 200 and answer.json["done"]:
                router.post(f"{path}/reset/")

    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(len(each) > 20 for each in seen.values()))
    cluster.shards[killed].kill()
    wait_for(lambda: all(each[-1][1] == 410 for path, each in seen.items() if path.split("/")[3].startswith(killed)))
    counts = {path: len(each) for path, each in seen.items()}
    wait_for(lambda: all(len(each) > counts[path] + 20 for path, each in seen.items()))
    is_over.set()
    for thread in threads:
        thread.join(60.0)
    lost = {path.split("/")[3] for path in paths if path.split("/")[3].startswith(killed)}
    for path, each in seen.items():
        allowed = {200, 502, 410} if path.split("/")[3] in lost else {200}
        assert {status for _, status in each} <= allowed
        assert max(seconds for seconds, _ in each) < BOUND_SECONDS
    assert lost <= {*router.get("/v1/envs/").json["envs"]}
    answer = router.post(f"/v1/envs/{min(lost)}/reset/")
    assert answer.status == 410
    assert "has ended" in answer.message
    assert "lost" in router.get("/", headers={"Accept": "text/html"}, check=False).body.decode()
    for instance_id in lost:
        assert router.request("DELETE", f"/v1/envs/{instance_id}/").status == 200
    assert not lost & {*router.get("/v1/envs/").json["envs"]}
    assert all(not router.create().split("/")[3].startswith(killed) for _ in range(4))


def test_a_router_that_is_killed_loses_nothing(cluster: TestCluster) -> None:
    """Another one knows every instance, and what was made with an Idempotency-Key."""
    headers, body = {"Idempotency-Key": "of-another-router"}, {"env_id": "CartPole-v1"}
    former = cluster.start_router()
    with former:
        instance_id = former.post("/v1/envs/", body, headers=headers).json["instance_id"]
        expected = former.post(f"/v1/envs/{instance_id}/reset/", {"seed": 5}).json
        former.kill()
    with cluster.start_router() as next_one:
        assert instance_id in next_one.get("/v1/envs/").json["envs"]
        assert next_one.post(f"/v1/envs/{instance_id}/reset/", {"seed": 5}).json == expected
        assert next_one.post("/v1/envs/", body, headers=headers).json["instance_id"] == instance_id


def test_a_router_that_stops_answers_what_is_under_way(cluster: TestCluster) -> None:
    """After --shutdown-timeout, and says so; the shards go on."""
    with cluster.start_router("--shutdown-timeout", "1") as router:
        path = path_on(router, cluster.prefixes[2], "tests/Troublemaker-v0")
        router.post(f"{path}/reset/")
        answers: list[Answer] = []
        calling = threading.Thread(target=lambda: answers.append(timed(router, path, "sleep 20")[1]))
        calling.start()
        wait_for(lambda: router_is_waiting(cluster, path))
        assert router.post("/v1/shutdown/").status == 200
        calling.join(60.0)
        assert [answer.status for answer in answers] == [503]
    assert cluster.router.get(f"{path}/").status == 200


def router_is_waiting(cluster: TestCluster, path: str) -> bool:
    return cluster.router.get(f"{path}/").json["state"] == "busy"


def stop(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def wait_for(is_so: object, seconds: float = 60.0) -> None:
    assert callable(is_so)
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
