"""Who may use a router: its own key, sessions, hosts and origins; shards are sent the cluster's key, or an instance's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ..support.cluster import KEY, TestCluster
from ..support.serving import Server, parse_response, raw

CLIENTS_KEY = "the-key-of-the-router's-clients"
ORIGIN = "https://lab.example"


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    options = ("--api-key", CLIENTS_KEY, "--cors-origin", ORIGIN, "--trusted-proxy", "127.0.0.1", "--max-body", "4096")
    with TestCluster(2, options=options) as running:
        running.router.key = CLIENTS_KEY
        yield running


@pytest.fixture
def router(cluster: TestCluster) -> Server:
    return cluster.router


@pytest.mark.parametrize("key", ["", "wrong", KEY], ids=["none", "wrong", "the cluster's"])
def test_only_the_routers_own_key_is_taken(router: Server, key: str) -> None:
    """On the fast path, too, where an earlier request had the right one."""
    path = router.create()
    for _ in range(3):
        assert router.post(f"{path}/reset/").status == 200
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    for answer in (router.post(f"{path}/reset/", headers=headers), router.get("/v1/envs/", headers=headers)):
        assert answer.status == 401
    assert router.get("/metrics", headers=headers).status == 401


def test_a_foreign_host_or_origin_is_refused(router: Server) -> None:
    """An allowed origin gets its headers, on the fast path's operations, too."""
    path = router.create()
    assert router.post(f"{path}/reset/", headers={"Host": "evil.example"}).status == 400
    assert router.post(f"{path}/reset/", headers={"Origin": "https://evil.example"}).status == 403
    answer = router.post(f"{path}/reset/", headers={"Origin": ORIGIN})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)


def test_limits_are_the_routers(router: Server) -> None:
    """A body over its --max-body is refused, though the shards take more."""
    path = router.create()
    router.post(f"{path}/reset/")
    body = b'{"action": 1, "x": "%b"}' % (b"x" * 5000)
    answer = router.post(f"{path}/step/", body, headers={"Content-Type": "application/json"})
    assert answer.status == 413
    assert answer.json["limit"] == 4096


def test_a_session_opens_the_pages_of_the_shards(router: Server) -> None:
    """Under the path of a proxy, too: every link of them begins with it."""
    path = router.create()
    instance_id = path.split("/")[3]
    form = f"key={CLIENTS_KEY}&next=/".encode()
    headers = {"Authorization": "", "Content-Type": "application/x-www-form-urlencoded"}
    entered = router.post("/login", form, headers=headers, check=False)
    assert entered.status == 303
    cookie = entered.headers["set-cookie"].split(";")[0]
    seen = {"Authorization": "", "Cookie": cookie, "Accept": "text/html", "X-Forwarded-Prefix": "/gym"}
    for page in (f"/instances/{instance_id}", "/", "/environments"):
        shown = router.get(page, headers=seen, check=False)
        assert shown.status in (200, 503), page
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', shown.body.decode())
        assert links
        assert all(link.startswith("/gym/") for link in links), links
    own_page = {"Authorization": "", "Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    assert router.post(f"{path}/reset/", headers=own_page).status == 200
    assert (
        router.get(
            f"/instances/{instance_id}", headers={"Authorization": "", "Accept": "text/html"}, check=False
        ).status
        == 401
    )


def test_a_head_that_only_looks_plain_is_not_passed_on(router: Server) -> None:
    """What a shard could read otherwise than the router is answered by the router, or framed anew."""
    path = router.create()
    lines = f"POST {path}/reset/ HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {CLIENTS_KEY}\r\n"
    for trick in (
        "content-length: 0\r\ncontent-length: 5\r\n",
        "idempotency-key: a\r\nidempotency-key: b\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "idempotency-key: x\n\ny: z\r\n",
    ):
        answer = raw(router.address, f"{lines}connection: close\r\n{trick}\r\n".encode(), timeout=10)
        assert parse_response(answer).status in (400, 408), trick
    # The parts of the cluster that are not the contract's are not reached from outside.
    assert router.get("/shard/overview", check=False).status == 404
    looked_up = router.post(
        "/v1/envs/", {"env_id": "CartPole-v1"}, headers={"Idempotency-Lookup": "1", "Idempotency-Key": "of-a-client"}
    )
    assert looked_up.json["instance_id"]
