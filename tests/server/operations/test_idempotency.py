"""Requests that carry a key: sent again, they are answered as the first time and executed once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import gymnasium
import msgpack
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gym_http_server.client import Client
from gym_http_server.errors import EnvironmentRaisedError, GymHttpServerError, KeyReusedError
from gym_http_server.runtime.idempotency import (
    MAX_REPLIES,
    MAX_REPLY_BYTES,
    IdempotencyKey,
    ReplyCache,
    SharedReplyCache,
    compact,
)
from gym_http_server.runtime.messages import Reply
from tests.support.breaking_proxy import WAYS, BreakingProxy
from tests.support.handing import TROUBLE, post, step
from tests.support.handing import Client as RawClient
from tests.support.serving import Answer, Server, eventually, threads


def keyed(server: Server, path: str, body: Any, key: str, method: str = "POST", **headers: str) -> Answer:
    return server.request(method, path, body, headers={"Idempotency-Key": key, **headers})


def line(key: str) -> bytes:
    return f"Idempotency-Key: {key}\r\n".encode()


def steps_of(server: Server, env: str) -> int:
    return server.get(f"{env}/").json["steps"]


@pytest.mark.parametrize(
    ("operation", "body", "options"),
    [
        ("reset", {"seed": 3}, {}), ("reset", None, {}), ("step", {"action": 1}, {}),
        ("rollout", {"policy": "random", "steps": 7}, {}), ("batch/reset", {"seed": 1}, {"num_envs": 2}),
        ("batch/step", {"actions": [0, 1]}, {"num_envs": 2}),
    ],
)  # fmt: skip
def test_an_operation_that_is_sent_again_is_not_executed_again(
    server: Server, operation: str, body: Any, options: dict[str, Any]
) -> None:
    """The same bytes come back, as JSON and as MessagePack, and the environment has taken the steps of one."""
    env = server.create("CartPole-v1", **options)
    server.post(f"{env}/{'batch/' if options else ''}reset/", {"seed": 0})
    for accept in ("application/json", "application/msgpack"):
        before = steps_of(server, env)
        first = keyed(server, f"{env}/{operation}/", body, f"a {accept}".replace(" ", "-"), Accept=accept)
        taken = steps_of(server, env)
        for _ in range(3):
            again = keyed(server, f"{env}/{operation}/", body, f"a {accept}".replace(" ", "-"), Accept=accept)
            assert (again.status, again.body, again.headers["content-type"]) == (200, first.body, accept)
        assert steps_of(server, env) == taken
        other = keyed(server, f"{env}/{operation}/", body, f"b-{accept}")
        assert other.status == 200
        assert steps_of(server, env) == taken + (taken - before)
    server.post(f"{env}/close/")


def test_the_same_key_with_another_body_is_refused(server: Server) -> None:
    """It is a 422 that names the key, for another body, another operation and another type, and nothing is executed."""
    env = server.create("CartPole-v1")
    keyed(server, f"{env}/reset/", {"seed": 1}, "k")
    packed = {"Content-Type": "application/msgpack"}
    for path, body, headers in (
        ("reset", {"seed": 2}, {}),
        ("reset", None, {}),
        ("step", {"seed": 1, "action": 1}, {}),
        ("reset", msgpack.packb({"seed": 1}), packed),
    ):
        answer = keyed(server, f"{env}/{path}/", body, "k", **headers)
        assert answer.status == 422
        assert "'k'" in answer.message
    assert steps_of(server, env) == 0
    assert keyed(server, f"{env}/close/", None, "k").status == 422
    assert server.request("DELETE", f"{env}/", headers={"Idempotency-Key": "k"}).status == 422
    assert server.get(f"{env}/").json["state"] == "ready"
    assert keyed(server, f"{env}/reset/", {"seed": 1}, "k").status == 200
    assert keyed(server, f"{env}/close/", None, "l").status == 200


def test_a_body_that_is_ignored_is_one_of_the_request(server: Server) -> None:
    """An operation that has no use for a body serves any, and by a key the same again, whatever way it takes."""
    env = server.create("CartPole-v1")
    server.post(f"{env}/reset/")
    first = keyed(server, f"{env}/snapshots/", {"x": 1}, "s")
    assert first.status == 200
    # An encoding is what only the whole stack looks at.
    for headers in ({}, {"Content-Encoding": "identity"}):
        assert keyed(server, f"{env}/snapshots/", {"x": 1}, "s", **headers).body == first.body
        assert keyed(server, f"{env}/snapshots/", {"x": 2}, "s", **headers).status == 422
        assert keyed(server, f"{env}/snapshots/", None, "s", **headers).status == 422
    server.post(f"{env}/close/")


def test_a_lost_instance_can_be_closed_by_a_key(process_server: Server) -> None:
    """Its other replies are gone with its environment, so a key of those is as good as any."""
    env = process_server.create(TROUBLE)
    process_server.post(f"{env}/reset/")
    assert keyed(process_server, f"{env}/step/", {"action": "x"}, "one").status == 200
    assert keyed(process_server, f"{env}/step/", {"action": "exit 3"}, "two").status == 502
    assert keyed(process_server, f"{env}/step/", {"action": "x"}, "one").status == 410
    for _ in range(2):
        assert keyed(process_server, f"{env}/close/", None, "one").json == {}


def test_keys_of_other_instances_are_others(server: Server) -> None:
    """Two instances may be asked by the same key for different things."""
    one, other = server.create("CartPole-v1"), server.create("CartPole-v1")
    first = keyed(server, f"{one}/reset/", {"seed": 1}, "k")
    second = keyed(server, f"{other}/reset/", {"seed": 2}, "k")
    assert (first.status, second.status) == (200, 200)
    assert first.body != second.body


def test_a_creation_that_is_sent_again_makes_one_instance(server: Server) -> None:
    """The same instance is answered, with the same warning, also after it was closed; another body is a 422."""
    before = len(server.get("/v1/envs/").json["envs"])
    body = {"env_id": "FrozenLake-v0", "seed": 1}
    first = keyed(server, "/v1/envs/", body, "create-1")
    again = keyed(server, "/v1/envs/", body, "create-1")
    assert first.body == again.body
    assert again.headers["warning"] == first.headers["warning"]
    assert len(server.get("/v1/envs/").json["envs"]) == before + 1
    assert keyed(server, "/v1/envs/", {**body, "seed": 2}, "create-1").status == 422
    server.post(f"/v1/envs/{first.json['instance_id']}/close/")
    assert keyed(server, "/v1/envs/", body, "create-1").body == first.body
    assert len(server.get("/v1/envs/").json["envs"]) == before


@pytest.mark.parametrize(("method", "path"), [("POST", "/close/"), ("DELETE", "/")])
def test_a_close_that_is_sent_again_is_answered_again(server: Server, method: str, path: str) -> None:
    """By its key it succeeds as often as it is sent; without, or by another, the instance is unknown."""
    env = server.create("CartPole-v1")
    assert keyed(server, env + path, None, "c", method).status == 200
    assert keyed(server, env + path, None, "c", method).json == {}
    assert keyed(server, env + path, None, "d", method).status == 400
    assert keyed(server, env + path, None, "d", method).status == 400
    assert server.request(method, env + path).status == 400
    assert keyed(server, env + path, {"another": "body"}, "c", method).status == 422  # though none is declared


def test_an_error_is_answered_again(server: Server) -> None:
    """What the environment raised is told again without asking it again, and so is what it refused."""
    env = server.create(TROUBLE)
    server.post(f"{env}/reset/")
    first = keyed(server, f"{env}/step/", {"action": "raise on purpose"}, "r")
    assert first.status == 502
    assert keyed(server, f"{env}/step/", {"action": "raise on purpose"}, "r").json == first.json
    assert server.post(f"{env}/step/", {"action": "x"}).json["observation"] == 2
    refused = keyed(server, f"{env}/step/", {"action": 7}, "s")
    assert refused.status == 400
    assert keyed(server, f"{env}/step/", {"action": 7}, "s").json == refused.json


def test_a_reply_over_the_limit_is_refused_again() -> None:
    """A step whose reply is over --max-reply has been taken, and is not taken again."""
    with Server("--max-reply", "2000", "--import", "tests.support.troublemakers") as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        for _ in range(3):
            assert keyed(server, f"{env}/step/", {"action": "big 5000"}, "b").status == 413
        assert server.post(f"{env}/step/", {"action": "x"}).json["observation"] == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "\x7f", "\xe9", "x" * 256, "a\tb"])
def test_what_is_no_key_is_refused(server: Server, key: str) -> None:
    """A 400 says so; nothing is executed, whatever the operation."""
    env = server.create("CartPole-v1")
    for path, body in ((f"{env}/reset/", {}), ("/v1/envs/", {"env_id": "CartPole-v1"}), (f"{env}/close/", {})):
        with RawClient(server) as client:
            answer = client.ask(post(path, body, b"Idempotency-Key: " + key.encode("latin-1") + b"\r\n"))
            # HTTP itself knows no blank at the ends, nor a DEL.
            assert answer.status == 400
    assert server.get(f"{env}/").json["state"] == "ready"


def test_two_keys_are_refused(server: Server) -> None:
    """A request has one key."""
    env = server.create("CartPole-v1")
    with RawClient(server) as client:
        for path, body in ((f"{env}/reset/", {}), ("/v1/envs/", {"env_id": "CartPole-v1"})):
            answer = client.ask(post(path, body, line("a") + line("b")))
            assert answer.status == 400
            assert "Idempotency-Key" in answer.message


def test_operations_without_a_key_ignore_it(server: Server) -> None:
    """A key that an operation does not take changes nothing, whatever it is."""
    env = server.create("CartPole-v1", seed=1)
    sampled = {server.get(f"{env}/action_space/sample", headers={"Idempotency-Key": "k"}).status for _ in range(20)}
    assert sampled == {200}
    assert server.get("/v1/envs/", headers={"Idempotency-Key": "a b"}).status == 200


def test_one_that_is_repeated_while_it_runs_waits_for_the_first(process_server: Server) -> None:
    """Both are answered alike when the first is done, and the environment has taken one step."""
    env = process_server.create(TROUBLE)
    process_server.post(f"{env}/reset/")
    answers: list[Answer] = []

    def send() -> None:
        with RawClient(process_server) as client:
            answers.append(client.ask(step(env, "sleep 1", line("slow"))))

    with threads(send):
        eventually(lambda: process_server.get(f"{env}/").json["state"] == "busy")
        with threads(send, send):
            pass
    assert [each.body for each in answers] == [answers[0].body] * 3
    assert steps_of(process_server, env) == 1


def test_creations_that_run_at_the_same_time_share_the_outcome(process_server: Server) -> None:
    """A creation that is sent three times while it runs makes one instance, also where the first client goes away."""
    before = len(process_server.get("/v1/envs/").json["envs"])
    body = {"env_id": TROUBLE, "kwargs": {"construct": "sleep 1"}}
    with RawClient(process_server) as client:
        client.send(post("/v1/envs/", body, line("once-only")))
    answers: list[Answer] = []

    def send() -> None:
        with RawClient(process_server) as client:
            answers.append(client.ask(post("/v1/envs/", body, line("once-only"))))

    with threads(send, send, send):
        pass
    assert len({each.body for each in answers}) == 1
    assert answers[0].status == 200
    assert len(process_server.get("/v1/envs/").json["envs"]) == before + 1


def test_a_creation_for_which_there_was_no_room_may_succeed_later() -> None:
    """What was refused before anything was done is tried again by the same key."""
    with Server("--max-lanes", "1", "--engine", "inline") as server:
        body = {"env_id": "CartPole-v1", "num_envs": 2}
        assert keyed(server, "/v1/envs/", body, "k").status == 413
        assert keyed(server, "/v1/envs/", {"env_id": "CartPole-v1"}, "k").status == 200


def test_after_the_connection_broke_the_reply_is_there(server: Server) -> None:
    """A client that went away before its reply gets it on another connection, and the step was taken once."""
    env = server.create(TROUBLE)
    server.post(f"{env}/reset/")
    for number in range(1, 21):
        with RawClient(server) as client:
            client.send(step(env, "x", line(f"n-{number}")))
        answer = keyed(server, f"{env}/step/", {"action": "x"}, f"n-{number}")
        assert answer.json["observation"] == number


@pytest.mark.parametrize(("action", "status"), [("exit 3", 502), ("abort", 502), ("hang", 504)])
def test_the_last_words_of_an_environment_are_told_again(process_server: Server, action: str, status: int) -> None:
    """A call that it was lost over is answered by its key as the first time, by others with 410; also where it was handed."""
    env = process_server.create(TROUBLE, call_timeout=1)
    process_server.post(f"{env}/reset/")
    with RawClient(process_server) as client:
        client.ask(step(env, "x"))
        first = client.ask(step(env, action, line("last")))
        assert first.status == status
        for answer in (
            client.ask(step(env, action, line("last"))),
            keyed(process_server, f"{env}/step/", {"action": action}, "last"),
        ):
            assert answer.json == first.json
        assert client.ask(step(env, action, line("other"))).status == 410
        assert client.ask(step(env, action)).status == 410


def test_a_pipeline_with_a_request_twice_in_it_is_answered_twice(process_server: Server) -> None:
    """Of a pipeline the second of the same key is answered as the first."""
    with RawClient(process_server) as client:
        env = process_server.create(TROUBLE)
        client.ask(post(f"{env}/reset/", {}))
        begun = client.ask(step(env, "x")).json["observation"]
        client.send(*[step(env, "x", line("p"))] * 3, step(env, "x", line("q")))
        assert [each.json["observation"] - begun for each in client.answers(4)] == [1, 1, 1, 2]


def test_keys_are_forgotten_one_day() -> None:
    """The latest outcomes are kept, by number and by size, and the very latest always."""
    outcomes, calls = ReplyCache(), []

    def call(key: str, size: int = 1) -> int:
        def execute() -> Reply:
            calls.append(key)
            return Reply(b"x" * size)

        return len(outcomes.of(IdempotencyKey(key, b""), execute).body)

    for number in range(MAX_REPLIES + 1):
        call(str(number))
    call("1")
    assert calls.count("1") == 1
    call("0")
    assert calls.count("0") == 2
    call("large", MAX_REPLY_BYTES + 1)
    assert call("large") == MAX_REPLY_BYTES + 1
    assert calls.count("large") == 1
    call("2")
    assert calls.count("2") == 2
    call("large")
    assert calls.count("large") == 2


def test_the_bytes_of_outcomes_that_are_dropped_are_free_again() -> None:
    """However many large ones there were before, as many small ones are kept as ever."""
    outcomes = ReplyCache()
    executed: list[str] = []

    def call(key: str, size: int) -> None:
        def execute() -> Reply:
            executed.append(key)
            return Reply(b"x" * size, "application/json")

        outcomes.of(IdempotencyKey(key, b""), execute)

    for index in range(5):
        call(f"large {index}", MAX_REPLY_BYTES // 2 + 1)
    small = [str(index) for index in range(MAX_REPLIES - 1)]
    for _ in range(2):
        for key in small:
            call(key, 1)
    assert executed[5:] == small


async def test_an_outcome_that_is_kept_keeps_nothing_else() -> None:
    """The request that it answers is let go of, and the reply takes as much memory as it has bytes."""

    class Held:
        """What a request holds."""

    context: contextvars.ContextVar[Held] = contextvars.ContextVar("context")
    outcomes, gone = SharedReplyCache(), []

    async def ask(key: str) -> int:
        async def execute() -> int:
            return 7

        held = Held()
        gone.append(weakref.ref(held))
        context.set(held)
        return await outcomes.of("", IdempotencyKey(key, b""), execute)

    for _ in range(2):
        for key in "abc":
            assert await asyncio.create_task(ask(key)) == 7
    await asyncio.sleep(0)  # the loop lets go of the last one
    gc.collect()
    assert [each() for each in gone] == [None] * 6
    kept = ReplyCache()
    reply = kept.of(IdempotencyKey("k", b""), lambda: Reply(orjson.dumps({"a": 1})))
    assert reply.body == kept.of(IdempotencyKey("k", b""), lambda: Reply(b"")).body
    assert len(compact(reply.body)) == len(reply.body)
    assert compact(reply.body) is not reply.body


class OutcomesAgainstAModel(RuleBasedStateMachine):
    """Calls by keys, against a dict of all that was ever answered."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes = ReplyCache()
        self.model: dict[str, tuple[bytes, Any]] = {}
        self.count = 0

    @rule(key=st.sampled_from("abcdef"), digest=st.sampled_from((b"1", b"2")), raises=st.booleans())
    def call(self, key: str, digest: bytes, raises: bool) -> None:
        def execute() -> Reply:
            self.count += 1
            if raises:
                raise EnvironmentRaisedError(f"call {self.count}")
            return Reply(b"%d" % self.count)

        outcome: Any
        try:
            outcome = self.outcomes.of(IdempotencyKey(key, digest), execute).body
        except KeyReusedError:
            outcome = KeyReusedError
        except GymHttpServerError as error:
            outcome = error.detail
        if key not in self.model:
            self.model[key] = digest, outcome
        kept, expected = self.model[key]
        assert outcome == (expected if kept == digest else KeyReusedError)

    @invariant()
    def it_was_executed_once_a_key(self) -> None:
        assert self.count == len(self.model)


TestOutcomes = OutcomesAgainstAModel.TestCase
TestOutcomes.settings = settings(max_examples=50, deadline=None)


@given(st.binary(), st.binary(), st.sampled_from(("stepEnv", "resetEnv")), st.sampled_from(("stepEnv", "resetEnv")))
def test_requests_are_told_apart(one: bytes, other: bytes, first: str, second: str) -> None:
    """Two requests are the same where operation and body are."""
    assert (IdempotencyKey.of("k", first, one) == IdempotencyKey.of("k", second, other)) == (
        (first, one) == (second, other)
    )


STEPS = {"handover": 4000, "process": 3000, "inline": 3000, "router": 2000}


def test_a_client_on_a_bad_network_gets_the_trajectory_of_an_undisturbed_one(
    server: Server, request: pytest.FixtureRequest
) -> None:
    """Connections that break before, in and after requests and replies lose no step and take none twice."""
    steps = STEPS[request.node.callspec.params["server"]]
    local = gymnasium.make("CartPole-v1")
    local.action_space.seed(1)
    with (
        BreakingProxy(server.address, 0.03, seed=steps) as proxy,
        Client(proxy.url, retries=12) as client,
    ):
        env = client.create_env("CartPole-v1")["instance_id"]
        seed = 0
        reply, (observation, _) = client.reset_env(env, seed=seed), local.reset(seed=seed)
        for _ in range(steps):
            np.testing.assert_array_equal(np.float32(reply["observation"]), observation)
            action = int(local.action_space.sample())
            reply = client.step_env(env, action)
            observation, reward, terminated, truncated, _ = local.step(action)
            assert (reply["reward"], reply["terminated"], reply["truncated"]) == (reward, terminated, truncated)
            if terminated or truncated:
                seed += 1
                np.testing.assert_array_equal(np.float32(reply["observation"]), observation)
                reply, (observation, _) = client.reset_env(env, seed=seed), local.reset(seed=seed)
        assert server.get(f"/v1/envs/{env}/").json["steps"] == steps
        client.close_env(env)
        assert min(proxy.broken[way] for way in WAYS) >= 5, proxy.broken
    assert env not in server.get("/v1/envs/").json["envs"]


def test_threads_that_share_a_client_do_not_share_keys(server: Server) -> None:
    """Each call of many threads is executed, for each has a key of its own."""
    with Client("http://{}:{}".format(*server.address)) as client:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.reset_env(env)

        def act() -> None:
            for _ in range(50):
                client.reset_env(env)
                client.step_env(env, 0)

        running = [threading.Thread(target=act) for _ in range(6)]
        for each in running:
            each.start()
        for each in running:
            each.join(60)
        assert client.get_env(env)["steps"] == 300
        client.close_env(env)
