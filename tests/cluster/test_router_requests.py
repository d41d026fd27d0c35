"""A router before two real shards: requests for instances, lists of all, and what is sent to whom."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gym_http_server.support.instance_keys import instance_key

from ..support.cluster import KEY, TestCluster
from ..support.serving import Server, parse_response, raw


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster(2, shard_options=("--import", "tests.support.troublemakers")) as running:
        yield running


@pytest.fixture(scope="module")
def single() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def router(cluster: TestCluster) -> Iterator[Server]:
    yield cluster.router
    for instance_id in cluster.router.get("/v1/envs/").json["envs"]:
        cluster.router.request("DELETE", f"/v1/envs/{instance_id}/")


def game(path: str, actions: tuple[Any, ...], **body: Any) -> tuple[dict[str, Any], list[tuple[str, str, Any]]]:
    """Return the body of createEnv, and the requests of a seeded game: method, path and body."""
    name = "actions" if path else "action"
    steps = [("POST", f"{path}/step/", {name: action}) for action in actions]
    sampled = [] if path else [("POST", "/rollout/", {"policy": "random", "steps": 20, "seed": 3})]
    samples: list[tuple[str, str, Any]] = [("GET", "/action_space/sample", None)]
    return body, [("POST", f"{path}/reset/", {"seed": 7}), *steps, *steps, *samples, *sampled]


GAMES = (
    game("", (1, 0, 0, 1, 1, 0, 1, 0), env_id="CartPole-v1"),
    game("", (1, 2, 2, 1), env_id="FrozenLake-v1", autoreset=True),
    game("", ([0.5], [-1.5]), env_id="Pendulum-v1"),
    game("", (1, 0), env_id="Blackjack-v1", autoreset=True),
    game("/batch", ([0, 1, 0], [1, 1, 0]), env_id="CartPole-v1", num_envs=3),
)


def play(server: Server, path: str, requests: list[tuple[str, str, Any]], headers: dict[str, str]) -> list[bytes]:
    """Return the replies to the requests of a game, as their bytes."""
    replies = [server.request(method, path + rest, body, headers) for method, rest, body in requests]
    assert {reply.status for reply in replies} == {200}
    return [reply.body for reply in replies]


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
def test_seeded_episodes_are_those_of_a_single_server(
    cluster: TestCluster, router: Server, single: Server, accept: str
) -> None:
    """To the byte, on whatever shard an instance is, and through the router as directly."""
    until(lambda: router.get("/v1/health").json["instances"] == 0)
    headers = {"Accept": accept}
    used = set()
    for body, requests in GAMES:
        expected = play(single, single.create(**body, seed=3), requests, headers)
        routed, direct = (router.post("/v1/envs/", {**body, "seed": 3}).json for _ in range(2))
        used |= {told["instance_id"][:3] for told in (routed, direct)}
        assert play(router, f"/v1/envs/{routed['instance_id']}", requests, headers) == expected
        shard, own = cluster.shards[direct["instance_id"][:3]], {"Authorization": f"Bearer {direct['key']}"}
        assert shard.url == direct["url"]
        assert play(shard, f"/v1/envs/{direct['instance_id']}", requests, {**headers, **own}) == expected
    assert used == {*cluster.prefixes}


def test_lists_are_merged(cluster: TestCluster, router: Server) -> None:
    """Names and labels among them; the health has the sum."""
    until(lambda: router.get("/v1/health").json["instances"] == 0)
    made = {
        router.create(name=f"agent {number}", labels={"number": str(number)}).split("/")[3]: number
        for number in range(4)
    }
    listed = router.get("/v1/envs/").json
    assert {*listed["envs"]} == {*listed["all_envs"]} == {*made}
    assert listed["names"] == {instance_id: f"agent {number}" for instance_id, number in made.items()}
    assert listed["labels"] == {instance_id: {"number": str(number)} for instance_id, number in made.items()}
    until(lambda: router.get("/v1/health").json["instances"] == len(made))
    assert router.get("/v1/health").json["engine"] == "ray"
    assert {instance_id[:3] for instance_id in made} == set(cluster.prefixes)


def test_a_page_of_recordings_beyond_the_last_is_empty(router: Server) -> None:
    """However high its number is, no shard is asked for pages that it does not have; a number that is too high is refused."""
    beyond = router.get("/v1/recordings/?page=1000000&page_size=1000").json
    assert (beyond["recordings"], beyond["page"]) == ([], 1_000_000)
    for wrong in ("page=1000001", "page=0", "page=x", "page_size=1001", "page="):
        assert router.get(f"/v1/recordings/?{wrong}").status == 400, wrong


def test_leases_are_renewed_on_the_shard_of_each_instance(router: Server) -> None:
    """Those of no shard are unknown, as on a server."""
    ids = [router.create(lease=60).split("/")[3] for _ in range(3)]
    asked = [*ids, "00212345", "fff12345", "nonsense"]
    answer = router.post("/v1/leases/", {"instance_ids": asked})
    assert answer.json == {"unknown": asked[3:]}
    for refused in (3, ["0" * 65], [""], ["00112345"] * 4097):
        assert router.post("/v1/leases/", {"instance_ids": refused}).status == 400


@pytest.mark.parametrize("instance_id", ["fff12345", "00112345", "bad_id"])
def test_an_unknown_instance_is_answered_as_by_a_server(router: Server, instance_id: str) -> None:
    """Whether its shard is known or not."""
    for answer in (router.get(f"/v1/envs/{instance_id}/"), router.post(f"/v1/envs/{instance_id}/step/", {"action": 0})):
        assert answer.status == 400
        assert answer.message.startswith(f"Instance_id '{instance_id}' unknown")


def test_a_repeated_creation_makes_one_instance(cluster: TestCluster, router: Server) -> None:
    """By whatever router, at the same time or later, and whatever shard has the most room by then."""
    body = {"env_id": "CartPole-v1"}
    with cluster.start_router() as other, concurrent.futures.ThreadPoolExecutor(4) as threads:

        def repeat(server: Server) -> str:
            return server.post("/v1/envs/", body, headers={"Idempotency-Key": "the-same"}).json["instance_id"]

        first = repeat(router)
        for _ in range(3):
            router.create()
        repeats = list(threads.map(repeat, [router, other, router, other]))
    assert {*repeats} == {first}
    reused = router.post("/v1/envs/", {"env_id": "Acrobot-v1"}, headers={"Idempotency-Key": "the-same"})
    assert reused.status == 422


def test_a_creation_goes_to_the_next_shard_where_one_is_full() -> None:
    """And is refused in words where all are."""
    with TestCluster(2, room=1) as cluster:
        headers, body = {"Idempotency-Key": "before-it-was-full"}, {"env_id": "CartPole-v1"}
        first = cluster.router.post("/v1/envs/", body, headers=headers).json["instance_id"]
        made = [f"/v1/envs/{first}", cluster.router.create()]
        assert {path.split("/")[3][:3] for path in made} == set(cluster.prefixes)
        answer = cluster.router.post("/v1/envs/", {"env_id": "CartPole-v1"})
        assert answer.status == 503
        assert "the cluster takes no further instance" in answer.message
        repeated = cluster.router.post("/v1/envs/", body, headers=headers)
        assert repeated.json["instance_id"] == first
        cluster.router.request("DELETE", f"{made[0]}/")
        # The router's count may be a second old: the shard decides.
        until(lambda: cluster.router.post("/v1/envs/", {"env_id": "CartPole-v1"}).status == 200)


def test_an_instance_is_reached_directly_with_its_own_key(cluster: TestCluster, router: Server) -> None:
    """The key that createEnv tells is taken for that instance, and for nothing else."""
    told = router.post("/v1/envs/", {"env_id": "CartPole-v1"}).json
    other = next(
        path for path in (router.create() for _ in range(4)) if path.split("/")[3][:3] == told["instance_id"][:3]
    )
    shard = cluster.shards[told["instance_id"][:3]]
    assert told["url"] == shard.url
    headers = {"Authorization": f"Bearer {told['key']}"}
    path = f"/v1/envs/{told['instance_id']}"
    for _ in range(40):  # over the server first, then in the process of the environment
        assert shard.post(f"{path}/reset/", headers=headers).status == 200
    for forbidden in (
        "/v1/envs/",
        f"{other}/",
        "/metrics",
        "/shard/overview",
        "/",
        f"/instances/{told['instance_id']}",
    ):
        assert shard.get(forbidden, headers=headers, check=False).status == 401, forbidden
    assert shard.post(f"{other}/reset/", headers=headers).status == 401
    assert shard.post(f"{path}/reset/", headers={"Authorization": "Bearer wrong"}).status == 401
    assert told["key"] == instance_key(KEY, told["instance_id"])


def test_what_passes_through_is_neither_read_nor_kept(router: Server) -> None:
    """MessagePack, HEAD, chunked bodies, Expect and the client's own headers pass as they are meant."""
    path = router.create()
    msgpack = {"Accept": "application/msgpack"}
    answer = router.post(f"{path}/reset/", {"seed": 1}, headers=msgpack)
    assert answer.headers["content-type"] == "application/msgpack"
    head = router.request("HEAD", f"{path}/")
    assert (head.status, head.body) == (200, b"")
    named = router.get(f"{path}/", headers={"X-Request-Id": "mine"})
    assert named.headers["x-request-id"] == "mine"
    chunked = (
        f"POST {path}/step/ HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
        'content-type: application/json\r\nconnection: close\r\n\r\n5\r\n{"act\r\n8\r\nion": 1}\r\n0\r\n\r\n'
    )
    assert parse_response(raw(router.address, chunked.encode())).status == 200
    body = b'{"action": 1}'
    expecting = (
        f"POST {path}/step/ HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(router.address) as connection:
        connection.sendall(expecting)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert parse_response(received).status == 200


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "/action_space/sample", ""),
        ("POST", "/reset/", ""),
        ("POST", "/step/", '{"action": 1}'),
        ("GET", "/", ""),
    ],
)
def test_a_connection_ends_where_its_client_says_so(router: Server, method: str, rest: str, body: str) -> None:
    """Clients of Lua and Clojure send `Connection: close`, and some read until the end."""
    path = router.create()
    router.post(f"{path}/reset/")
    head = (
        f"{method} {path}{rest} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    answer = parse_response(raw(router.address, (head + body).encode(), timeout=20), method)
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_pipelined_requests_are_answered_in_order(router: Server) -> None:
    """Those of two instances on two shards among them."""
    paths = [router.create() for _ in range(2)]
    for path in paths:
        router.post(f"{path}/reset/", {"seed": 1})
    requests = b"".join(
        f"GET {path}/{what} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        for path in paths
        for what in ("action_space/sample", "", "action_space/sample")
    )
    received = raw(
        router.address, requests + b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    assert received.count(b"HTTP/1.1 200 OK") == 7
    order = [received.index(path.split("/")[3].encode()) for path in paths]
    assert order == sorted(order)


def test_large_bodies_pass_both_ways(router: Server) -> None:
    """A body over the limit is refused as by a server."""
    path = router.create()
    body = json.dumps({"action": 1, "ignored": "x" * 3_000_000}).encode()
    router.post(f"{path}/reset/")
    assert router.post(f"{path}/step/", body, headers={"Content-Type": "application/json"}).status == 200
    refused = router.post(f"{path}/step/", b"x" * (17 << 20), headers={"Content-Type": "application/json"})
    assert refused.status == 413


def test_a_reply_waits_for_a_slow_reader_at_the_shard(router: Server) -> None:
    """The router holds a bounded part of it, and all of it arrives."""
    path = router.create("Pendulum-v1", num_envs=64)
    router.post(f"{path}/reset/", {"seed": 1})
    body = json.dumps({"steps": 1}).encode()
    request = f"GET {path}/observation_space/ HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(router.address)
        for _ in range(50):
            connection.sendall(request)
        time.sleep(0.2)
        digests = set()
        received = b""
        for _ in range(50):
            while b"\r\n\r\n" not in received:
                received += connection.recv(512)
            head, _, received = received.partition(b"\r\n\r\n")
            size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            while len(received) < size:
                received += connection.recv(512)
            digests.add(hashlib.sha256(received[:size]).digest())
            received = received[size:]
    assert len(digests) == 1
    assert body


def test_metrics_have_each_family_once_and_a_label_of_the_shard(cluster: TestCluster, router: Server) -> None:
    """What a scraper reads is valid, and the sums are those of the shards."""
    for _ in range(4):
        router.create()
    lines = router.get("/metrics").body.decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    for prefix in cluster.prefixes:
        assert any(line.startswith("gym_http_server_instances{") and f'shard="{prefix}"' in line for line in lines)
    assert any(line.startswith("process_") and 'shard="router"' in line for line in lines)


def test_pages_are_of_all_shards(cluster: TestCluster, router: Server) -> None:
    """Home tells where an instance is; that instance's own page is its shard's."""
    paths = [router.create(name=f"agent {number}") for number in range(2)]
    html = {"Accept": "text/html"}
    home = router.get("/", headers=html, check=False).body.decode()
    for prefix, path in zip(cluster.prefixes, paths, strict=True):
        assert f"<code>{prefix}</code>" in home
        assert f"node-{prefix}" in home
        assert path.split("/")[3] in home
        assert "agent" in router.get(f"/instances/{path.split('/')[3]}", headers=html, check=False).body.decode()
    assert paths[0].split("/")[3] in router.get("/watch", headers=html, check=False).body.decode()
    for page in ("/environments", "/instances/new", "/scoreboard", "/recordings", "/ui/", "/manual", "/contract"):
        assert router.get(page, headers=html, check=False).status in (200, 503), page
    assert router.get("/instances/fff00000", headers=html, check=False).status == 404


def test_pages_of_a_shard_name_the_address_that_the_client_used(router: Server) -> None:
    """As the commands of an empty scoreboard do; what else a client claims is not believed."""
    headers = {"Accept": "text/html", "Host": "localhost:1234", "Router-URL": "http://elsewhere"}
    page = router.get("/scoreboard", headers=headers, check=False).body.decode()
    assert "curl http://localhost:1234/v1/upload/" in page
    assert "elsewhere" not in page


def until(is_so: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        with contextlib.suppress(OSError):
            time.sleep(0.02)
