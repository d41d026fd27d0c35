"""Environments from factories and imported functions, through a server: `--env`, `--import MODULE:CALLABLE`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.serving import Server

FACTORIES = "tests.support.factories"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--import", f"{FACTORIES}:register_shops", "--env", f"Shop-v0={FACTORIES}:make_shop")
    with Server(*options) as running:
        yield running


def test_a_factory_is_served_alone_in_batches_and_in_the_list(server: Server) -> None:
    """It gets kwargs; what it needs beside is its own affair."""
    env = server.create("Shop-v0", kwargs={"discount": 1})
    assert server.post(f"{env}/reset/").json["observation"] == 49
    batch = server.create("Shop-v0", num_envs=2, kwargs={"discount": 2}, wrappers=[{"name": f"{FACTORIES}:Doubled"}])
    assert server.post(f"{batch}/batch/reset/").json["observations"] == [96, 96]
    rows = server.get("/v1/registry/?q=shop").json["environments"]
    assert [(row["env_id"], row["installed"]) for row in rows] == [("Shop-v0", True), ("tests/RegisteredShop-v0", True)]


def test_a_constructor_that_wants_more_than_json_says_how(server: Server) -> None:
    """The reply has the line of the package, and the option."""
    answer = server.post("/v1/envs/", {"env_id": "Shop-v0", "kwargs": {"prices": 1}})
    assert answer.status == 400
    assert "(tests/support/factories.py, line " in answer.message
