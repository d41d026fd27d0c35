"""Holds: an instance is taken over from its agent and given back, or played beside it, in every engine."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import numpy as np
import pytest

from gym_http_server.client import Client, HoldEnded, InstanceHeld, RemoteEnv, RemoteVectorEnv
from gym_http_server.errors import HoldEndedError, InstanceHeldError
from gym_http_server.runtime.sharing import holds
from gym_http_server.runtime.sharing.holds import Holds
from tests.conftest import start
from tests.support.serving import SECONDS, Answer, Server


def hold(server: Server, env: str, token: str | None = None, **body: Any) -> Answer:
    return server.post(f"{env}/hold/", body, headers={} if token is None else {"Instance-Hold": token})


def release(server: Server, env: str, token: str) -> bool:
    answer = server.request("DELETE", f"{env}/hold/", headers={"Instance-Hold": token})
    assert answer.status == 200, answer.body
    return answer.json["released"]


def announced(server: Server, env: str) -> tuple[str, str | None] | None:
    state = server.get(f"{env}/").json["hold"]
    assert server.get(f"{env}/live/?max_age=0.0001").json["hold"] == state
    return None if state is None else (state["mode"], state["name"])


CHANGING = {
    "reset/": {},
    "step/": {"action": 0},
    "rollout/": {"policy": "random", "steps": 2},
    "snapshots/": None,
    "snapshots/00000001/restore/": None,
    "monitor/start/": {"directory": "recordings-that-nobody-makes"},
    "monitor/close/": None,
}
CHANGING_A_BATCH = {"batch/reset/": {}, "batch/step/": {"actions": [0, 0]}, "snapshots/": None}


@pytest.mark.parametrize(
    ("options", "changing"),
    [({}, CHANGING), ({"num_envs": 2, "vectorization_mode": "sync"}, CHANGING_A_BATCH)],
    ids=["single", "batch"],
)
def test_whatever_changes_a_held_instance_is_refused_to_all_but_the_holder(
    server: Server, options: dict[str, Any], changing: dict[str, Any]
) -> None:
    """Others get a 409 with the reason, who holds and Retry-After, and nothing is done; the holder is served; reading goes on."""
    env = server.create("CartPole-v1", seed=3, **options)
    first = "batch/reset/" if options else "reset/"
    server.post(f"{env}/{first}", {})
    server.post(f"{env}/snapshots/")
    token = hold(server, env, name="Ada").json["token"]
    steps = server.get(f"{env}/").json["steps"]
    for path, body in changing.items():
        refused = server.post(f"{env}/{path}", body)
        assert refused.status == 409, path
        assert refused.json["type"] == "urn:gym-http-server:problem:instance-held"
        assert "Ada plays this instance" in refused.message
        assert 0 < int(refused.headers["retry-after"]) == refused.json["retry_after"] <= 5
    assert server.get(f"{env}/").json["steps"] == steps
    assert [server.get(f"{env}/{path}").status for path in ("snapshots/", "render/", "action_space/sample")] == [
        200
    ] * 3
    for path, body in changing.items():
        if path != "monitor/start/":
            assert server.post(f"{env}/{path}", body, headers={"Instance-Hold": token}).status == 200, path
    assert release(server, env, token)
    assert not release(server, env, token)
    assert server.post(f"{env}/{first}", {}).status == 200
    server.request("DELETE", env)


def test_side_by_side_nobody_is_refused_and_everybody_can_see_it(server: Server) -> None:
    """A shared hold is announced; an exclusive one may join it, goes before it, and refuses the other until it ends."""
    env = server.create()
    assert announced(server, env) is None
    shared = hold(server, env, mode="shared", name="Ada").json["token"]
    assert announced(server, env) == ("shared", "Ada")
    assert server.post(f"{env}/reset/", {}).status == 200
    assert server.post(f"{env}/step/", {"action": 0}, headers={"Instance-Hold": shared}).status == 200
    exclusive = hold(server, env).json["token"]
    assert announced(server, env) == ("exclusive", None)
    assert server.post(f"{env}/step/", {"action": 0}, headers={"Instance-Hold": shared}).status == 409
    assert hold(server, env, mode="shared").status == hold(server, env).status == 409
    release(server, env, exclusive)
    assert announced(server, env) == ("shared", "Ada")
    release(server, env, shared)
    assert announced(server, env) is None
    server.request("DELETE", env)


def test_a_hold_is_renewed_changed_and_ended_by_force(server: Server) -> None:
    """A renewal keeps what it does not name; force ends all; a token whose hold has ended is refused, with no Retry-After."""
    env = server.create()
    server.post(f"{env}/reset/", {})
    first = hold(server, env, name="Ada", seconds=20).json
    renewed = hold(server, env, first["token"], mode="shared").json
    assert renewed == {**first, "mode": "shared", "until": renewed["until"]}
    assert renewed["until"] > first["until"]
    assert server.request("DELETE", f"{env}/hold/").status == 400
    assert server.request("DELETE", f"{env}/hold/?force=true").json == {"released": True}
    assert server.request("DELETE", f"{env}/hold/?force=true").json == {"released": False}
    for refused in (
        server.post(f"{env}/step/", {"action": 0}, headers={"Instance-Hold": first["token"]}),
        hold(server, env, first["token"]),
    ):
        assert refused.status == 409
        assert refused.json["type"] == "urn:gym-http-server:problem:hold-ended"
        assert "retry-after" not in refused.headers
    assert hold(server, env, seconds=0.5).status == hold(server, env, name="two\nlines").status == 400
    server.request("DELETE", env)


def test_a_hold_ends_by_itself(server: Server) -> None:
    """Without a renewal the agent is refused until the hold's seconds are over, and served from then on."""
    env = server.create()
    before = time.monotonic()
    assert hold(server, env, seconds=1).status == 200
    began = before, time.monotonic()
    while True:
        asked = time.monotonic()
        if (status := server.post(f"{env}/reset/", {}).status) != 409:
            break
        assert asked < began[1] + 1
    assert status == 200
    assert time.monotonic() >= began[0] + 1
    assert announced(server, env) is None
    server.request("DELETE", env)


def test_a_refused_request_runs_when_it_is_sent_again_with_its_key(server: Server) -> None:
    """A refusal is not the reply to a key; what was done before the hold is, also while it lasts; so is the holder's."""
    env = server.create("CartPole-v1", seed=1)
    done = server.post(f"{env}/reset/", {}, headers={"Idempotency-Key": "before"})
    token = hold(server, env).json["token"]
    assert server.post(f"{env}/step/", {"action": 0}, headers={"Idempotency-Key": "agent"}).status == 409
    assert server.post(f"{env}/reset/", {}, headers={"Idempotency-Key": "before"}).body == done.body
    holders = {"Idempotency-Key": "holder", "Instance-Hold": token}
    taken = server.post(f"{env}/step/", {"action": 1}, headers=holders)
    assert server.post(f"{env}/step/", {"action": 1}, headers=holders).body == taken.body
    release(server, env, token)
    assert server.post(f"{env}/step/", {"action": 1}, headers=holders).body == taken.body
    assert server.post(f"{env}/step/", {"action": 0}, headers={"Idempotency-Key": "agent"}).status == 200
    assert server.get(f"{env}/").json["steps"] == 2
    server.request("DELETE", env)


@pytest.mark.parametrize("lanes", [None, 2])
def test_an_agent_waits_as_told_and_goes_on_where_it_was(server: Server, lanes: int | None) -> None:
    """An agent that steps in a thread has the trajectory of a twin that nobody held, where the person restores its state."""
    actions = [0 if lanes is None else np.zeros(lanes, int)] * 30
    refusals: list[InstanceHeld] = []
    is_refused, is_released = threading.Event(), threading.Event()

    def make() -> Any:
        env = (
            RemoteEnv(server.url, "CartPole-v1") if lanes is None else RemoteVectorEnv(server.url, "CartPole-v1", lanes)
        )
        env.reset(seed=5)
        return env

    def step(env: Any, action: Any) -> Any:
        while True:
            try:
                return env.step(action)
            except InstanceHeld as held:
                refusals.append(held)
                is_refused.set()
                is_released.wait(held.retry_after)

    def play(env: Any, played: list[Any]) -> None:
        played.extend(step(env, action)[0] for action in actions)

    agent, twin = make(), make()
    outcomes: tuple[list[Any], list[Any]] = ([], [])
    thread = threading.Thread(target=play, args=(agent, outcomes[0]))
    with contextlib.closing(agent), contextlib.closing(twin), Client(server.url) as person:
        person.hold_env(agent.instance_id, name="Ada")
        thread.start()
        assert is_refused.wait(SECONDS)
        snapshot = person.create_snapshot(agent.instance_id)
        if lanes is None:
            person.step_env(agent.instance_id, 1)
        else:
            person.step_batch(agent.instance_id, [1, 1])
        person.restore_snapshot(agent.instance_id, snapshot)
        assert person.release_env(agent.instance_id)
        is_released.set()
        thread.join(SECONDS)
        play(twin, outcomes[1])
        assert np.array_equal(*outcomes)
    assert (refusals[0].held_by, refusals[0].status) == ("Ada", 409)


def test_a_remote_environment_holds_for_a_block(server: Server) -> None:
    """Its calls are the holder's, a thread renews it, and others are refused until the end of the block, an error included."""
    with RemoteEnv(server.url, "CartPole-v1") as env, Client(server.url) as other:
        with contextlib.suppress(ZeroDivisionError), env.hold(name="Ada", seconds=1):
            until = other.get_env(env.instance_id)["hold"]["until"]
            while other.get_env(env.instance_id)["hold"]["until"] == until:
                env.reset()
            with pytest.raises(InstanceHeld):
                other.reset_env(env.instance_id)
            _ = 1 / 0
        other.reset_env(env.instance_id)
        other.hold_env(env.instance_id, mode="shared")
        other._call("DELETE", f"/v1/envs/{env.instance_id}/hold/?force=true")
        with pytest.raises(HoldEnded):
            other.reset_env(env.instance_id)
        with pytest.raises(HoldEnded):
            other.hold_env(env.instance_id)
        assert other.hold_env(env.instance_id)["mode"] == "exclusive"


def test_an_instance_of_another_python_is_held_as_any_other() -> None:
    """A guest's instance refuses and serves alike: the hold is kept beside it, in the instance's own process."""
    with start("handover", "--interpreter", "guest=self") as server:
        env = server.create("CartPole-v1", interpreter="guest")
        token = hold(server, env).json["token"]
        assert server.post(f"{env}/reset/", {}).status == 409
        assert server.post(f"{env}/reset/", {}, headers={"Instance-Hold": token}).status == 200
        server.request("DELETE", env)


def test_the_latest_shared_hold_is_announced_and_the_oldest_of_too_many_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared holds cannot fill the memory of an instance, and one that has ended is no longer announced."""
    held = Holds()
    tokens = [held.hold(None, "shared", f"number {number}", 60.0) for number in range(20)]
    assert held.state()["name"] == "number 19"
    held.hold(tokens[-2], None, None, None)
    assert held.state()["name"] == "number 18"
    with pytest.raises(HoldEndedError):
        held.admit(tokens[0])
    held.hold(tokens[-1], "exclusive", None, None)
    with pytest.raises(InstanceHeldError):
        held.admit(tokens[-2])
    now = holds.time.monotonic()
    monkeypatch.setattr(holds.time, "monotonic", lambda: now + 60.0)
    held.admit(None)
    assert not held
    assert held.state() is None


def test_an_environment_tells_how_it_is_played(server: Server) -> None:
    """MountainCar has keys and Pong has meanings, too; CartPole has its docstring, and a batch is for no person."""
    car, pong, pole = (server.create(env_id) for env_id in ("MountainCar-v0", "ALE/Pong-v5", "CartPole-v1"))
    assert {"keys": ["ArrowLeft"], "action": 0} in server.get(f"{car}/controls/").json["keys"]
    told = server.get(f"{pong}/controls/").json
    assert {"keys": ["d", " "], "action": 4} in told["keys"]
    assert told["meanings"][4] == "RIGHTFIRE"
    told = server.get(f"{pole}/controls/").json
    assert "cart-pole problem" in told.pop("documentation")
    assert told == {"keys": [], "meanings": []}
    batch = server.create("CartPole-v1", num_envs=2)
    assert server.get(f"{batch}/controls/").status == 409
    for env in (car, pong, pole, batch):
        server.request("DELETE", env)
