"""Leases: an instance with one is closed soon after its client has gone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import KINDS, start
from tests.support.handing import TROUBLE
from tests.support.serving import Server, eventually

LEASE = 1.0


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that closes what nobody has used for four leases."""
    with start(request.param, "--idle-timeout", str(LEASE * 4)) as running:
        yield running


def is_closed(server: Server, env: str) -> bool:
    return server.get(f"{env}/").status == 400


def instance_id(env: str) -> str:
    return env.rsplit("/", 1)[1]


def renew(server: Server, *envs: str) -> list[str]:
    answer = server.post("/v1/leases/", {"instance_ids": [instance_id(env) for env in envs]})
    assert answer.status == 200
    return answer.json["unknown"]


def test_an_instance_is_closed_when_its_lease_has_run_out(server: Server) -> None:
    """It is unknown then, and the message, the log and the metrics say why; one without a lease stays."""
    env, without = server.create(lease=LEASE), server.create()
    assert (server.get(f"{env}/").json["lease"], server.get(f"{without}/").json["lease"]) == (LEASE, None)
    began = time.monotonic()
    eventually(lambda: is_closed(server, env))
    assert LEASE * 0.8 < time.monotonic() - began < LEASE * 4
    assert not is_closed(server, without)
    for answer in (server.post(f"{env}/reset/"), server.post(f"{env}/close/")):
        assert answer.status == 400
        assert "unknown" in answer.message
        assert "renewed its lease for 1 s" in answer.message
        assert answer.json["limit"] == LEASE
    eventually(
        lambda: any(f"{instance_id(env)} is closed: nobody has used it or renewed" in line for line in server.stderr)
    )
    assert "gym_http_server_instances_expired_total" in server.get("/metrics").body.decode()
    server.post(f"{without}/close/")


def test_any_use_renews_it(server: Server) -> None:
    """On whatever connection it comes, also one that was handed over; a call longer than the lease is a use."""
    env = server.create(TROUBLE, lease=LEASE)
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": f"sleep {LEASE * 2}"}).status == 200
    end = time.monotonic() + LEASE * 2
    while time.monotonic() < end:
        assert server.post(f"{env}/step/", {"action": "x"}).status == 200
        time.sleep(LEASE / 10)  # so often is it used
    eventually(lambda: is_closed(server, env))


def test_one_request_renews_many_and_tells_which_are_unknown(server: Server) -> None:
    """Unknown ones, and ones without a lease, are no error, nor is none at all."""
    envs = [server.create(lease=LEASE), server.create(lease=LEASE), server.create()]
    gone = server.create(lease=LEASE)
    server.post(f"{gone}/close/")
    end = time.monotonic() + LEASE * 2
    while time.monotonic() < end:
        assert renew(server, *envs, gone) == [instance_id(gone)]
        time.sleep(LEASE / 10)  # so often is it renewed
    assert renew(server) == []
    server.post(f"{envs[2]}/close/")
    eventually(lambda: all(is_closed(server, env) for env in envs))


def test_a_renewal_is_no_use(server: Server) -> None:
    """An instance that nobody uses is closed by --idle-timeout, however often its lease is renewed."""
    env = server.create(lease=LEASE * 100)

    def is_closed_in_spite_of_it() -> bool:
        renew(server, env)
        return is_closed(server, env)

    eventually(is_closed_in_spite_of_it)
    assert "--idle-timeout" in server.get(f"{env}/").message


@pytest.mark.parametrize("lease", [0, 0.5, -1, 1e9, "60", [60]])
def test_a_lease_that_is_none_is_refused(server: Server, lease: object) -> None:
    """It has from one second to a million."""
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "lease": lease})
    assert answer.status == 400
    assert "lease" in answer.message


@pytest.mark.parametrize(
    "body", [{}, {"instance_ids": None}, {"instance_ids": "a1"}, {"instance_ids": ["a1"] * 4097}, []]
)
def test_a_renewal_of_no_list_or_of_too_many_is_refused(server: Server, body: object) -> None:
    """At most 4,096 are renewed at once."""
    assert server.post("/v1/leases/", body).status == 400
