"""The requests and results of the client's methods, against a loopback server."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from gym_http_server.client import Client, ServerProblem
from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.runtime.values.packing import pack, unpack

from ..support.loopback import reply


def test_importing_the_client_loads_no_server_library_and_no_environment_library():
    """Importing the client loads neither connexion, flask, gym, gymnasium nor numpy."""
    code = (
        "import gym_http_server.client, sys; "
        "print([name for name in ('connexion', 'flask', 'gym', 'gymnasium', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


CALLS = [
    (lambda c: c.list_envs(), "GET", "/v1/envs/", None),
    (lambda c: c.list_named_envs(), "GET", "/v1/envs/", None),
    (lambda c: c.get_env("a1"), "GET", "/v1/envs/a1/", None),
    (lambda c: c.renew_leases(("a1", "b2")), "POST", "/v1/leases/", {"instance_ids": ["a1", "b2"]}),
    (lambda c: c.get_env("a/ b"), "GET", "/v1/envs/a%2F%20b/", None),
    (
        lambda c: c.create_env("A-v0", seed=0, kwargs={}),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "seed": 0, "kwargs": {}, "lease": 240.0},
    ),
    (
        lambda c: c.create_env("A-v0", num_envs=2, vectorization_mode="sync", autoreset_mode="disabled"),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "num_envs": 2, "vectorization_mode": "sync", "autoreset_mode": "disabled", "lease": 240.0},
    ),
    (
        lambda c: c.create_env(
            "A-v0", wrappers=[{"name": "B"}, {"name": "C", "kwargs": {"d": (1, 2)}}], autoreset=True, lease=None
        ),
        "POST",
        "/v1/envs/",
        {"env_id": "A-v0", "wrappers": [{"name": "B"}, {"name": "C", "kwargs": {"d": [1, 2]}}], "autoreset": True},
    ),
    (lambda c: c.rollout("a1", actions=[0, 1]), "POST", "/v1/envs/a1/rollout/", {"actions": [0, 1]}),
    (
        lambda c: c.rollout("a1", policy="random", steps=3, seed=0),
        "POST",
        "/v1/envs/a1/rollout/",
        {"policy": "random", "steps": 3, "seed": 0},
    ),
    (lambda c: c.reset_batch("a1"), "POST", "/v1/envs/a1/batch/reset/", {}),
    (
        lambda c: c.reset_batch("a1", seeds=[1, None], options={}, reset_mask=[True, False]),
        "POST",
        "/v1/envs/a1/batch/reset/",
        {"seeds": [1, None], "options": {}, "reset_mask": [True, False]},
    ),
    (lambda c: c.step_batch("a1", [0, 1]), "POST", "/v1/envs/a1/batch/step/", {"actions": [0, 1]}),
    (lambda c: c.delete_env("a1"), "DELETE", "/v1/envs/a1/", None),
    (
        lambda c: c.action_space_contains_value("a1", "[0.5]"),
        "GET",
        "/v1/envs/a1/action_space/contains/%5B0.5%5D",
        None,
    ),
    (lambda c: c.reset_env("a1"), "POST", "/v1/envs/a1/reset/", {}),
    (lambda c: c.reset_env("a1", 0, {"x": None}), "POST", "/v1/envs/a1/reset/", {"seed": 0, "options": {"x": None}}),
    (lambda c: c.step_env("a1", 0), "POST", "/v1/envs/a1/step/", {"action": 0}),
    (lambda c: c.step_env("a1", [], render=True), "POST", "/v1/envs/a1/step/", {"action": [], "render": True}),
    (lambda c: c.get_action_space("a1"), "GET", "/v1/envs/a1/action_space/", None),
    (lambda c: c.get_observation_space("a1"), "GET", "/v1/envs/a1/observation_space/", None),
    (lambda c: c.sample_action("a1"), "GET", "/v1/envs/a1/action_space/sample", None),
    (lambda c: c.action_space_contains("a1", 1), "POST", "/v1/envs/a1/action_space/contains", {"action": 1}),
    (
        lambda c: c.observation_space_contains("a1", [0.5]),
        "POST",
        "/v1/envs/a1/observation_space/contains",
        {"observation": [0.5]},
    ),
    (
        lambda c: c.start_monitor("a1", "/srv/x", force=True, video_callable=20),
        "POST",
        "/v1/envs/a1/monitor/start/",
        {"directory": "/srv/x", "force": True, "resume": False, "video_callable": 20},
    ),
    (
        lambda c: c.start_monitor("a1", "/srv/x", trajectories="actions"),
        "POST",
        "/v1/envs/a1/monitor/start/",
        {"directory": "/srv/x", "force": False, "resume": False, "video_callable": False, "trajectories": "actions"},
    ),
    (lambda c: c.close_monitor("a1"), "POST", "/v1/envs/a1/monitor/close/", None),
    (lambda c: c.get_monitor("a1"), "GET", "/v1/envs/a1/monitor/", None),
    (
        lambda c: c.upload_recording("/srv/x", "key", "ppo"),
        "POST",
        "/v1/upload/",
        {"training_dir": "/srv/x", "api_key": "key", "algorithm_id": "ppo"},
    ),
    (lambda c: c.list_evaluations(), "GET", "/v1/evaluations/?order=newest&page=1&page_size=50", None),
    (
        lambda c: c.list_evaluations("ALE/Pong-v5", "best", 2, 10),
        "GET",
        "/v1/evaluations/?env_id=ALE%2FPong-v5&order=best&page=2&page_size=10",
        None,
    ),
    (lambda c: c.get_evaluation("a/b"), "GET", "/v1/evaluations/a%2Fb/", None),
    (lambda c: c.list_registry(), "GET", "/v1/registry/?page=1&page_size=50", None),
    (
        lambda c: c.list_registry("ale/pong v5", "gymnasium", 2, 10),
        "GET",
        "/v1/registry/?q=ale%2Fpong+v5&library=gymnasium&page=2&page_size=10",
        None,
    ),
    (lambda c: c.render_env("a1"), "GET", "/v1/envs/a1/render/", None),
    (lambda c: c.get_live("a1"), "GET", "/v1/envs/a1/live/", None),
    (
        lambda c: c.get_live("a1", lane=1, max_elements=9, after_episode=12),
        "GET",
        "/v1/envs/a1/live/?lane=1&max_elements=9&after_episode=12",
        None,
    ),
    (lambda c: c.get_transitions("a1"), "GET", "/v1/envs/a1/transitions/", None),
    (lambda c: c.create_snapshot("a1"), "POST", "/v1/envs/a1/snapshots/", None),
    (lambda c: c.list_snapshots("a1"), "GET", "/v1/envs/a1/snapshots/", None),
    (lambda c: c.restore_snapshot("a1", "b/2"), "POST", "/v1/envs/a1/snapshots/b%2F2/restore/", None),
    (lambda c: c.delete_snapshot("a1", "b2"), "DELETE", "/v1/envs/a1/snapshots/b2/", None),
    (lambda c: c.close_env("a1"), "POST", "/v1/envs/a1/close/", None),
    (lambda c: c.shutdown_server(), "POST", "/v1/shutdown/", None),
    (lambda c: c.list_recordings(2), "GET", "/v1/recordings/?page=2&page_size=50", None),
    (lambda c: c.get_recording("a/ b"), "GET", "/v1/recordings/details/?directory=a%2F+b", None),
    (
        lambda c: c.get_recorded_episode("a", 3, count=9, values=False),
        "GET",
        "/v1/recordings/episodes/3/?directory=a&start=0&count=9&values=false",
        None,
    ),
    (lambda c: c.get_recorded_frame("a", 3, 4), "GET", "/v1/recordings/episodes/3/frames/4/?directory=a", None),
    (lambda c: c.download_recording("a"), "GET", "/v1/recordings/files/?directory=a", None),
    (lambda c: c.download_recorded_dataset("a"), "GET", "/v1/recordings/dataset/?directory=a", None),
    (lambda c: c.get_health(), "GET", "/v1/health/", None),
    (lambda c: c.get_metrics(), "GET", "/metrics", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_each_method_sends_the_request_of_its_operation(loopback, client, call, method, path, body):
    """A method sends the method, the path and the members that the contract gives to its operation."""
    loopback.answer = lambda _: reply(
        {
            "envs": {},
            "instance_id": "a1",
            "info": {},
            "action": 1,
            "member": True,
            "snapshot_id": "b2",
            "observation": 0,
            "unknown": [],
        }
    )
    call(client)
    (request,) = loopback.requests
    assert (request.method, request.path) == (method, path)
    assert (request.json if request.body else None) == body
    assert request.headers.get("content-type") == (None if body is None else "application/json")


def test_every_operation_of_the_contract_has_its_method():
    """Each operationId of the contract is, in snake case, a method of the client; those of OpenEnv have their own client."""
    operations = [each for item in DOCUMENT["paths"].values() for each in item.values() if isinstance(each, dict)]
    for operation_id in (each["operationId"] for each in operations if each["tags"] != ["openenv"]):
        assert callable(getattr(Client, re.sub("([A-Z])", r"_\1", operation_id).lower()))


def test_replies_are_unwrapped_where_they_hold_one_thing(loopback, client):
    """A reply with one member is returned as that member, a frame as its bytes, and any other as a dict."""
    loopback.answer = lambda _: reply(
        {
            "envs": {"a1": "A-v0"},
            "info": {"name": "Discrete"},
            "action": 7,
            "member": False,
            "snapshot_id": "b2",
            "observation": 3,
        }
    )
    assert (client.create_snapshot("a1"), client.restore_snapshot("a1", "b2")) == ("b2", 3)
    assert client.delete_snapshot("a1", "b2") is None
    assert client.list_envs() == {"a1": "A-v0"}
    # That of a server which has no names yet.
    assert client.list_named_envs() == {"a1": {"env_id": "A-v0", "name": None, "labels": {}}}
    assert client.get_action_space("a1") == client.get_observation_space("a1") == {"name": "Discrete"}
    assert client.sample_action("a1") == 7
    assert client.action_space_contains("a1", 9) is client.observation_space_contains("a1", 9) is False
    assert client.close_env("a1") is None
    loopback.answer = lambda request: reply(request.headers["accept"].encode(), media_type="image/jpeg")
    assert client.render_env("a1", "image/jpeg") == b"image/jpeg"


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        (np.int64(3), 3),
        (np.arange(4, dtype=np.float32).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.arange(4)[::2], [0, 2]),
        ({"a": np.bool_(True)}, {"a": True}),
        ((1, None), [1, None]),
        (np.array([np.inf, -np.inf, np.nan]), [1e100, -1e100, None]),
        ([float("inf"), {"x": (float("-inf"),)}], [1e100, {"x": [-1e100]}]),
    ],
)
def test_numpy_values_and_infinities_are_sent_as_the_contract_writes_them(loopback, client, action, sent):
    """Arrays and scalars of numpy are plain JSON, NaN is null and infinities are ±1e100 in a request."""
    client.step_env("a1", action)
    assert loopback.requests[0].json == {"action": sent}


def test_a_value_without_a_json_form_is_a_type_error_and_nothing_is_sent(loopback, client):
    """A value that has no JSON form raises TypeError before anything is sent."""
    with pytest.raises(TypeError, match="set has no JSON form"):
        client.step_env("a1", {1, 2})
    assert loopback.requests == []


def test_a_packed_client_speaks_messagepack_where_the_contract_has_it(loopback):
    """Operations of a training loop send and take MessagePack with arrays, the others JSON."""
    observation = np.array([[1.5, np.inf], [np.nan, 0]], np.float32)

    def answer(request):
        if request.headers["accept"] == "application/json":
            return reply({"status": "ok", "instance_id": "a1"})
        packed = pack({"observation": observation, "member": True, "action": 1})
        return reply(packed, media_type="application/msgpack")

    loopback.answer = answer
    with Client(loopback.url, packed=True) as client:
        received = client.step_env("a1", {"arm": np.array([0.5, np.nan]), "grip": np.int64(3)})["observation"]
        np.testing.assert_array_equal(received, observation)
        assert received.dtype == observation.dtype
        assert client.action_space_contains("a1", [1]) is True
        assert client.sample_action("a1") == 1
        client.create_env("A-v0", kwargs={"goal": np.arange(2)})
        assert "packed" in repr(client)
    sent = unpack(loopback.requests[0].body)["action"]
    np.testing.assert_array_equal(sent["arm"], [0.5, np.nan])
    assert sent["grip"] == 3
    types = [request.headers.get("content-type", "none").rpartition("/")[2] for request in loopback.requests]
    assert types == ["msgpack", "msgpack", "none", "json"]
    assert loopback.requests[3].json == {"env_id": "A-v0", "kwargs": {"goal": [0, 1]}, "lease": 240.0}


def test_a_packed_client_tells_another_server_apart(loopback):
    """A reply that is no MessagePack says that no gym-http-server answers there."""
    loopback.answer = lambda _: reply(b"<html>", media_type="text/html")
    with Client(loopback.url, packed=True) as client, pytest.raises(ServerProblem, match="not a gym-http-server"):
        client.step_env("a1", 0)


class Tensor:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.arange(3)

    def tolist(self):
        return [0, 1, 2]


@pytest.mark.parametrize("packed", [True, False])
def test_tensors_of_other_libraries_are_taken_as_arrays(loopback, packed):
    """Whatever makes itself an array may be an action, in both media types."""
    loopback.answer = lambda _: reply(pack({}) if packed else b"{}")
    with Client(loopback.url, packed=packed) as client:
        client.step_env("a1", (Tensor(), {"x": Tensor()}))
    body = loopback.requests[0].body
    first, second = (unpack(body) if packed else json.loads(body))["action"]
    assert list(first) == list(second["x"]) == [0, 1, 2]
