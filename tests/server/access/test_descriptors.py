"""What an environment's process has of the server's: its own descriptors, and memory whose size is fixed."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import start
from tests.support.handing import TROUBLE, Client, handed, step
from tests.support.serving import Server


def descriptors(client: Client, env: str) -> dict[str, str]:
    """Return what an environment's process has open besides its standard streams, by descriptor."""
    found: dict[str, str] = client.ask(step(env, "descriptors")).json["info"]["descriptors"]
    assert found.pop("0") == "/dev/null"
    assert found.pop("1") == found.pop("2")
    return found


def kinds(found: dict[str, str]) -> list[str]:
    return sorted(each.partition(":")[0].lstrip("/") for each in found.values())


def test_an_environment_has_no_descriptor_but_its_own() -> None:
    """Besides its standard streams it has its channel and at most its shared memory; with ten made at once, too."""
    with start("process") as server:
        paths: list[str] = []

        def make() -> None:
            env = server.create(TROUBLE)
            server.post(f"{env}/reset/")
            paths.append(env)

        makers = [threading.Thread(target=make) for _ in range(10)]
        for each in makers:
            each.start()
        for each in makers:
            each.join()
        assert len(paths) == len(makers)
        with Client(server) as client:
            for env in paths:
                assert kinds(descriptors(client, env)) in (["memfd", "socket"], ["socket"])


def test_an_environment_that_serves_a_connection_has_that_besides() -> None:
    """However many requests of it were served."""
    with start("handover") as server, handed(server) as (client, env, _):
        for count in range(2, 200):
            assert client.ask(step(env, "x")).json["observation"] == count
        assert kinds(descriptors(client, env)) in (["memfd", "socket", "socket"], ["socket", "socket"])


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_an_environment_cannot_truncate_the_memory_that_it_shares(kind: str) -> None:
    """It is refused, and the server, which reads that memory at each listing, lives on."""
    with start(kind) as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        answer = server.post(f"{env}/step/", {"action": "truncate_memory"})
        assert set(answer.json["info"]["truncated"]) <= {"Operation not permitted"}
        assert is_well(server, env)


def is_well(server: Server, env: str) -> bool:
    return server.get(f"{env}/").json["steps"] == 1 and server.get("/metrics").status == 200
