"""The requests of unmodified v1 clients, and what they need of the replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..caller import LIMITS, REFUSALS
from ..exchange import Nonconformity, NotServed, Request
from ..ledger import ENVS, is_creation
from .replay import VOID_BODIES, replay, sessions

if TYPE_CHECKING:
    from ..caller import Caller
    from ..exchange import Exchange
    from ..implementation import Implementation

ENV_ID = "CartPole-v1"
RETIRED = "FrozenLake-v0"

pytestmark = pytest.mark.usefixtures("closed")


@pytest.mark.parametrize("client", sessions())
def test_session(implementation: Implementation, caller: Caller, client: str) -> None:
    """An unmodified client gets from every request of a session what it reads of the reply."""
    replay(client, caller, implementation.ledger.fresh_directory)


@pytest.mark.parametrize(
    ("body", "media_type"),
    VOID_BODIES,
    ids=[f"{body or 'no bytes'} as {media_type or 'no type'}" for body, media_type in VOID_BODIES],
)
def test_void_body(caller: Caller, body: str, media_type: str | None) -> None:
    """Where there is nothing to say any form of nothing will do, and is answered with 200 and {}."""
    headers = {} if media_type is None else {"Content-Type": media_type}
    for slash in ("/", ""):
        instance_id = caller.create_env(ENV_ID)["instance_id"]
        for operation in ("reset", "monitor/close", "close"):
            request = Request("POST", f"{ENVS}{instance_id}/{operation}{slash}", headers, body.encode())
            exchange = caller.exchange(request)
            if operation == "reset":
                _expect(exchange, exchange.answer.status == 200, "200")
            else:
                is_void = (exchange.answer.status, exchange.answer.body.strip()) == (200, b"{}")
                _expect(exchange, is_void, "200 {}", exchange.answer)


def test_slashes(caller: Caller) -> None:
    """A path is answered with its final slash and without, and nothing is redirected."""
    instance_id = caller.create_env(ENV_ID)["instance_id"]
    requests = [
        ("GET", "/v1/envs", None),
        ("GET", f"/v1/envs/{instance_id}", None),
        ("GET", f"/v1/envs/{instance_id}/action_space", None),
        ("GET", f"/v1/envs/{instance_id}/action_space/sample", None),
        ("GET", f"/v1/envs/{instance_id}/action_space/contains/1", None),
        ("GET", f"/v1/envs/{instance_id}/observation_space", None),
        ("GET", f"/v1/envs/{instance_id}/monitor", None),
        ("GET", "/v1/health", None),
        ("POST", "/v1/envs", {"env_id": ENV_ID}),
        ("POST", f"/v1/envs/{instance_id}/reset", {}),
        ("POST", f"/v1/envs/{instance_id}/step", {"action": 1}),
        ("POST", f"/v1/envs/{instance_id}/action_space/contains", {"action": 1}),
        ("POST", f"/v1/envs/{instance_id}/observation_space/contains", {"name": "Box"}),
        ("POST", f"/v1/envs/{instance_id}/monitor/close", {}),
    ]
    for method, path, value in requests:
        for slash in ("", "/"):
            exchange = caller.exchange(request := Request.of(method, path + slash, value))
            status = exchange.answer.status
            if status in LIMITS and is_creation(request.method, request.path):
                raise NotServed(f"{LIMITS[status]}: {exchange.answer.json['message']}")
            _expect(exchange, status == 200, "200, with a final slash and without")


def test_body_of_get(caller: Caller) -> None:
    """A body on a GET is ignored, whatever it is."""
    instance_id = caller.create_env(ENV_ID)["instance_id"]
    for body, media_type in ((b"{}", "application/json"), (b"", "application/json"), (b"\xff", "text/csv")):
        headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
        exchange = caller.exchange(Request("GET", f"{ENVS}{instance_id}/action_space/", headers, body))
        _expect(exchange, exchange.answer.status == 200, "200")


def test_compression(caller: Caller) -> None:
    """Nothing is compressed without an Accept-Encoding header, however large it is."""
    instance_id = caller.create_env(ENV_ID)["instance_id"]
    caller.reset_env(instance_id)
    for path in (f"{ENVS}{instance_id}/", "/metrics"):
        caller.exchange(Request("GET", path))
    caller.rollout(instance_id, policy="random", steps=100)


def test_retired_id(caller: Caller) -> None:
    """An id that no library ships any more is served by its successor, which `env_id` names, and a Warning says so."""
    exchange = caller.exchange(Request.of("POST", ENVS, {"env_id": RETIRED}))
    answer = exchange.answer
    if answer.status in REFUSALS:
        raise NotServed(f"{REFUSALS[answer.status]}: {answer.json['message']}")
    _expect(exchange, answer.status == 200, "200")
    _expect(exchange, answer.json["env_id"] != RETIRED, "the successor as env_id", RETIRED)
    _expect(
        exchange,
        RETIRED in answer.headers.get("warning", ""),
        "a Warning that names the id",
        answer.headers.get("warning"),
    )


def test_upload_needs(implementation: Implementation, caller: Caller) -> None:
    """An upload without a directory or a key is a 400 that names the first of them that is missing."""
    for value, name in (
        ({}, "training_dir"),
        ({"training_dir": "", "api_key": None}, "training_dir"),
        ({"training_dir": implementation.ledger.fresh_directory()}, "api_key"),
        ({"training_dir": implementation.ledger.fresh_directory(), "api_key": ""}, "api_key"),
    ):
        exchange = caller.exchange(Request.of("POST", "/v1/upload/", value))
        _expect(exchange, exchange.answer.status == 400, "400")
        message = exchange.answer.json["message"]
        _expect(exchange, name in message, f"{name} in message", message)


def test_upload(implementation: Implementation, caller: Caller, with_uploads: bool) -> None:
    """A recording that is uploaded is an evaluation, which is listed and can be asked for."""
    if not with_uploads:
        pytest.skip("it writes evaluations: --with-uploads")
    directory = implementation.ledger.fresh_directory()
    instance_id = caller.create_env(ENV_ID)["instance_id"]
    caller.start_monitor(instance_id, directory)
    caller.rollout(instance_id, policy="random", episodes=1)
    caller.close_monitor(instance_id)
    evaluation = caller.upload_recording(directory, api_key="conformity", algorithm_id="conformity")
    listed = caller.list_evaluations(env_id=ENV_ID)["evaluations"]
    if evaluation["evaluation_id"] not in [listed_one["evaluation_id"] for listed_one in listed]:
        raise Nonconformity(f"{evaluation['evaluation_id']} among the newest evaluations", str(listed))
    curve = caller.get_evaluation(evaluation["evaluation_id"])["curve"]
    if len(curve["episode_returns"]) != 1:
        raise Nonconformity("a curve of one episode", str(curve))


def _expect(exchange: Exchange, is_so: bool, expected: str, came: object = None) -> None:
    if not is_so:
        raise Nonconformity(expected, str(exchange.answer.status if came is None else came), exchange)
