"""The hot path: equal replies with it and without, nothing executed twice, and nothing taken that connexion refuses."""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.api.call import Call
from gym_http_server.api.hot_operations import HotOperations, draft4
from gym_http_server.api.hot_path import HotPath
from gym_http_server.conformity.contract import DOCUMENT, inlined
from gym_http_server.runtime.messages import Reply
from gym_http_server.runtime.shared.traffic import Traffic
from tests.support.live import SECONDS, LiveApp
from tests.support.serving import Answer, Server

JSON, MSGPACK = "application/json", "application/msgpack"
PATHS = inlined(DOCUMENT["paths"])
HOT = {
    operation["operationId"]: (method.upper(), path)
    for path, item in PATHS.items()
    for method, operation in item.items()
    if method != "parameters" and operation.get("x-hot-path")
}


class Twin:
    """One of the two servers: counts the calls of its environments, and keeps one connection."""

    def __init__(self, *, hot_path: bool) -> None:
        self.calls: Counter[str] = Counter()
        self.live = LiveApp(hot_path=hot_path)
        engine = self.live.app.engine
        create = engine.create

        async def counted(*arguments: Any) -> Any:
            worker = await create(*arguments)
            call = worker.call

            async def count(operation: str, its: Any) -> Reply:
                self.calls[operation] += 1
                return await call(operation, its)

            worker.call = count  # type: ignore[method-assign]
            return worker

        engine.create = counted  # type: ignore[method-assign]

    def __enter__(self) -> Twin:  # noqa: PYI034 -- no subclass
        self.live.__enter__()
        self._connection = http.client.HTTPConnection(*self.live.address, timeout=SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.live.__exit__()

    def ask(self, method: str, path: str, body: bytes | None, headers: list[tuple[str, str]]) -> Answer:
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            self._connection.putheader(name, value)
        if body is not None or method in ("POST", "PUT"):
            self._connection.putheader("Content-Length", str(len(body or b"")))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}
        return Answer(response.status, found, response.read())

    def create(self, options: dict[str, Any]) -> str:
        answer = self.ask("POST", "/v1/envs/", json.dumps(options).encode(), [("Content-Type", JSON)])
        assert answer.status == 200, answer.body
        return answer.json["instance_id"]

    def hold(self, instance_id: str) -> str:
        """Take an instance over for longer than a test takes; return the token."""
        body = b'{"seconds": 3600}'
        answer = self.ask("POST", f"/v1/envs/{instance_id}/hold/", body, [("Content-Type", JSON)])
        assert answer.status == 200, answer.body
        return answer.json["token"]


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[Twin, Twin]]:
    """A server with the hot path, and one without."""
    with Twin(hot_path=True) as hot, Twin(hot_path=False) as cold:
        yield hot, cold


INSTANCES = [
    {"env_id": "CartPole-v1"},
    {"env_id": "Pendulum-v1"},
    {"env_id": "Blackjack-v1"},
    {"env_id": "tests/Troublemaker-v0"},
    {"env_id": "tests/Everything-v0"},
    {"env_id": "CartPole-v1", "num_envs": 3},
    {"env_id": "CartPole-v1", "num_envs": 2, "autoreset_mode": "disabled"},
]
NUMBERS = st.integers(-2, 3) | st.integers() | st.floats() | st.sampled_from([1.0, -0.0, 2**63, 2**64, -(2**63) - 1])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=4) | st.just("raise oh")
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
MEMBERS = {
    "action": st.sampled_from([0, 1, [0.5], "hop", "raise oh", 7]) | ANY,
    "render": st.booleans() | ANY,
    "seed": st.integers(0, 9) | ANY,
    "seeds": st.lists(st.integers(0, 9), min_size=2, max_size=3) | ANY,
    "options": st.just({}) | st.fixed_dictionaries({"reset_mask": ANY}) | ANY,
    "reset_mask": st.lists(st.booleans(), min_size=2, max_size=3) | ANY,
    "actions": st.lists(st.integers(0, 1), min_size=1, max_size=3) | ANY,
    "policy": st.sampled_from(["random", "greedy"]) | ANY,
    "steps": st.integers(1, 5) | ANY,
    "episodes": st.integers(1, 2) | ANY,
    "observation": ANY,
    "name": st.sampled_from(["Box", "Discrete"]) | ANY,
    "unknown": ANY,
}
BODIES = st.fixed_dictionaries({}, optional=MEMBERS) | ANY
TEXTS = st.sampled_from(
    [
        b"", b" ", b"null", b'""', b"[]", b"{}", b"0", b"{", b'{"action": NaN}', b'{"action": 1e400}', b"\xff",
        b'{"action": 0, "action": 1}', b'{"action": 0} {}', b'{"action": "\\ud800"}', b"\xef\xbb\xbf{}", b'{"action": 01}',
        b'{"action": ' + b"[" * 99 + b"]" * 99 + b"}", b'{"action": ' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"action": 99999999999999999999}', b'{"action": 18446744073709551615, "x": -9223372036854775808}',
        b'{"action": ' + b"9" * 5000 + b"}", b'{"seed": 9007199254740993}', b"\x81\xa6action\x01", b"\xc1",
        b"\x81\x01\x02", b"\x81\xa6action\xc7\x01\x05x", b"\x81\xa6action\x83\xa5dtype\xa3<f4\xa5shape\x91\x01\xa4data\xc4\x04\0\0\0?",
        b"\x81\xa6action\x83\xa5dtype\xa3<f4\xa5shape\x91\x02\xa4data\xc4\x04\0\0\0?",
    ]
)  # fmt: skip
CONTENT_TYPES = st.sampled_from(
    [
        *[JSON, MSGPACK] * 4, None, "application/json; charset=utf-8", "application/json;charset=latin-1", "text/plain",
        "application/x-msgpack", "Application/JSON", "application/json; charset=nope", "", "application/msgpack; v=1",
    ]
)  # fmt: skip
ACCEPTS = st.sampled_from(
    [None, None, JSON, MSGPACK, "*/*", f"{JSON}, {MSGPACK}", f"{JSON};q=0.1, {MSGPACK}", "text/html", "", "image/png"]
)
KEYS = st.sampled_from([*[None] * 6, "a", "b", "c", "", "a b", "x" * 256, '"quoted"'])
HOLDS = st.sampled_from([*[None] * 8, *["{token}"] * 4, "nobody's", "", "a b", "x" * 65])
FURTHER = (
    st.tuples(st.just("Content-Type"), CONTENT_TYPES)
    | st.tuples(st.just("Accept"), ACCEPTS)
    | st.tuples(st.just("Content-Encoding"), st.sampled_from(["gzip", "identity", ""]))
    | st.tuples(st.just("Idempotency-Key"), KEYS)
    | st.tuples(st.just("Instance-Hold"), HOLDS)
)
ENDS = st.sampled_from([*["", "/"] * 5, "//", "?render=true", "/x", "%0A"])
SNAPSHOTS = st.sampled_from(
    [*["00000001"] * 4, "00000002", "00000009", "a%2Fb", "x" * 65, "%C3%A4", "a%0Ab", "", "%FF"]
)
IDS = st.sampled_from([*["{instance_id}"] * 8, "deadbeef", "", "a/b", "x" * 2000, "%C3%A4", "a%0Ab"])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes | None, list[tuple[str, str]]]:
    """A request for an operation of the hot path: right in each part more often than wrong."""
    method, path = HOT[draw(st.sampled_from(sorted(HOT)))]
    method = draw(st.sampled_from([method] * 9 + ["GET", "POST", "PUT", "HEAD"]))
    value = draw(st.sampled_from(["1", "0", "%5B0.5%5D", "%7B", "1%2F2", "NaN", "x", "%22hop%22"]))
    path = path.removesuffix("/").replace("{x}", value).replace("{instance_id}", draw(IDS))
    path = path.replace("{snapshot_id}", draw(SNAPSHOTS)) + draw(ENDS)
    content_type = draw(CONTENT_TYPES)
    headers = [("Content-Type", content_type), ("Accept", draw(ACCEPTS)), ("Idempotency-Key", draw(KEYS))]
    headers.append(("Instance-Hold", draw(HOLDS)))
    if draw(st.integers(0, 9)) == 0:
        headers += draw(st.lists(FURTHER, max_size=2))
    headers = [(name, value) for name, value in headers if value is not None]
    if draw(st.integers(0, 5)) == 0:
        return method, path, draw(TEXTS | st.none()), headers
    return method, path, written(draw(BODIES), content_type), headers


def written(value: Any, content_type: str | None) -> bytes:
    if content_type == MSGPACK:
        try:
            return msgpack.packb(value)
        except (OverflowError, ValueError):
            pass
    return json.dumps(value).encode()


@settings(max_examples=120, deadline=None)
@given(data=st.data(), options=st.sampled_from(INSTANCES), seed=st.integers(0, 3))
def test_replies_are_equal_with_the_hot_path_and_without(
    twins: tuple[Twin, Twin], data: st.DataObject, options: dict[str, Any], seed: int
) -> None:
    """Status, headers and body of every reply are the same on twin seeded instances, and so is what was executed."""
    ids = [twin.create({**options, "seed": seed}) for twin in twins]
    tokens = ["ended", "ended"]
    if data.draw(st.integers(0, 3)) == 0:
        tokens = [twin.hold(instance_id) for twin, instance_id in zip(twins, ids, strict=True)]
    first = "batch/reset" if "num_envs" in options else "reset"
    opening = [("POST", f"/v1/envs/{{instance_id}}/{first}/", None, [])] if data.draw(st.booleans()) else []
    for method, path, body, headers in itertools.chain(
        opening, data.draw(st.lists(requests(), min_size=1, max_size=6))
    ):
        answers, executed = [], []
        for twin, instance_id, token in zip(twins, ids, tokens, strict=True):
            before = twin.calls.copy()
            its = [(name, value.replace("{token}", token)) for name, value in headers]
            answer = twin.ask(method, path.replace("{instance_id}", instance_id), body, its)
            told = re.sub(rb'"created_at":"[^"]*"', b"", answer.body.replace(instance_id.encode(), b"?" * 8))
            answers.append((answer.status, answer.headers, told))
            executed.append(twin.calls - before)
        assert answers[0] == answers[1], (method, path, body, headers)
        assert answers[0][0] != 500
        assert executed[0] == executed[1]
        assert executed[0].total() <= 1
    for twin, instance_id in zip(twins, ids, strict=True):
        twin.ask("DELETE", f"/v1/envs/{instance_id}/", None, [])


def test_a_step_that_changes_something_and_then_raises_is_executed_once(server: Server) -> None:
    """The environment's error is the answer, and its counter shows one step for each request."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    for _ in range(3):
        answer = server.post(f"{env}/step/", {"action": "raise oh"})
        assert answer.status == 502
        assert answer.json["type"] == "urn:gym-http-server:problem:environment-raised"
    assert server.post(f"{env}/step/", {"action": ""}).json["observation"] == 4
    server.request("DELETE", env)


class Executed:
    """Executes calls of instances by noting them.

    Attributes:
        calls: instance_id and arguments of each; the arguments are what an operation's plan was given.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    async def execute(self, call: str, instance_id: str, arguments: dict[str, Any]) -> Reply:
        assert call
        self.calls.append({"instance_id": instance_id, **arguments})
        return Reply(b"{}")

    def hot_path(self, max_body: int, app: Any) -> HotPath:
        operations = HotOperations(PATHS, dict.fromkeys(HOT, self.plan), 1000)
        instances: Any = SimpleNamespace(traffic=lambda _: Traffic())
        return HotPath(operations, self.execute, instances, max_body, app)

    @staticmethod
    def plan(call: Call, **given: Any) -> dict[str, Any]:
        return {"accept": call.accept, **given}


PLAIN = {
    "resetEnv": {"seed": 1},
    "stepEnv": {"action": 1, "render": False},
    "rollout": {"policy": "random", "steps": 2},
    "resetBatch": {"seeds": [1, 2], "reset_mask": None},
    "stepBatch": {"actions": [0, 1]},
    "actionSpaceContains": {"action": 1},
    "observationSpaceContains": {"observation": [0.0, 0.0, 0.0, 0.0]},
}


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
@pytest.mark.parametrize("operation_id", sorted(HOT))
async def test_what_is_plain_and_valid_does_not_fall_through(operation_id: str, media_type: str) -> None:
    """Every marked operation is served by the hot path itself, with or without the path's final slash."""
    executed = Executed()

    async def fall_through(*_: Any) -> None:
        raise AssertionError("it fell through")

    hot = executed.hot_path(1000, fall_through)
    method, path = HOT[operation_id]
    value = PLAIN.get(operation_id)
    body = b"" if value is None else written(value, media_type)
    headers = [(b"content-type", media_type.encode()), (b"accept", media_type.encode())]
    for end in ("", "/"):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        further = {name: "1" for name in ("x", "snapshot_id") if f"{{{name}}}" in path}
        target = path.removesuffix("/").format(instance_id="0123abcd", **further) + end
        await hot({"type": "http", "method": method, "path": target, "headers": headers}, receive, send)
        assert sent[0]["status"] == 200
        assert sent[1:] == [{"type": "http.response.body", "body": b"{}"}]
        bodies = {} if value is None and operation_id not in ("resetEnv", "resetBatch") else {"body": value}
        assert executed.calls.pop() == {"instance_id": "0123abcd", **further, **bodies, "accept": media_type}
        assert not executed.calls


async def test_a_request_that_falls_through_brings_its_body() -> None:
    """What was read of the body before it was declined is read again by connexion's stack, and then the rest."""
    heard: list[Any] = []

    async def stack(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 -- ASGI's signature
        heard.extend([await receive() for _ in messages])

    executed = Executed()
    hot = executed.hot_path(10, stack)
    messages = [{"type": "http.request", "body": bytes([65 + n] * 4), "more_body": n < 4} for n in range(5)]
    source = iter(messages)

    async def receive() -> Any:
        return next(source)

    await hot({"type": "http", "method": "POST", "path": "/v1/envs/a/step", "headers": []}, receive, None)
    assert heard == messages
    assert not executed.calls


@pytest.mark.parametrize(
    "schema",
    [{"type": "string", "uniqueItems": True}, {"oneOf": []}, {"type": "string", "format": "date"}, {"type": "array", "items": {"$ref": "#"}}],
)  # fmt: skip
def test_a_schema_that_is_not_compiled_is_refused_at_the_start(schema: dict[str, Any]) -> None:
    """A keyword that the hot path does not know cannot be marked, so that it never takes what it has not checked."""
    with pytest.raises(ValueError, match="not compiled"):
        draft4(schema)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"parameters": [{"name": "id", "in": "query", "schema": {"type": "string"}}]}, "not a plain text in the path"),
        ({"parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}]}, "not a plain text in the path"),
        (
            {
                "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}],
                "requestBody": {
                    "content": {JSON: {"schema": {"type": "object"}}, MSGPACK: {"schema": {"type": "array"}}}
                },
            },
            "different schemas",
        ),
    ],
)
def test_an_operation_that_cannot_be_compiled_is_refused_at_the_start(operation: dict[str, Any], words: str) -> None:
    """Marking an operation that the hot path cannot serve is a mistake in the contract, and it says so."""
    paths = {"/v1/{id}/do": {"post": {"operationId": "do", "x-hot-path": True, **operation}}}
    with pytest.raises(ValueError, match=words):
        HotOperations(paths, {"do": Executed.plan}, 1000)


@pytest.mark.parametrize("body", [b"", b"null", b'""', b"[]", b"{}", b"\x80", b"{", b"x" * 500])
@pytest.mark.parametrize("parts", [1, 3])
async def test_a_body_that_an_operation_has_no_use_for_is_passed_over(body: bytes, parts: int) -> None:
    """It is read to its end, whatever it is and of whatever type, and does not make the request fall through."""
    executed = Executed()

    async def fall_through(*_: Any) -> None:
        raise AssertionError("it fell through")

    messages = [{"type": "http.request", "body": body[at::parts], "more_body": at < parts - 1} for at in range(parts)]
    source = iter(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        return next(source)

    async def send(message: Any) -> None:
        sent.append(message)

    hot = executed.hot_path(1000, fall_through)
    headers = [(b"content-type", b"text/csv"), (b"content-length", b"%d" % len(body))]
    await hot({"type": "http", "method": "POST", "path": "/v1/envs/a/snapshots", "headers": headers}, receive, send)
    assert ([each["instance_id"] for each in executed.calls], sent[0]["status"], next(source, None)) == (
        ["a"],
        200,
        None,
    )


async def test_a_body_that_is_passed_over_is_within_the_limit() -> None:
    """One over the limit falls through with all that was read, and nothing is executed."""
    executed = Executed()
    heard: list[Any] = []

    async def stack(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 -- ASGI's signature
        heard.append(await receive())

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 11, "more_body": True}

    hot = executed.hot_path(10, stack)
    await hot({"type": "http", "method": "POST", "path": "/v1/envs/a/snapshots", "headers": []}, receive, None)
    assert heard == [{"type": "http.request", "body": b"x" * 11, "more_body": True}]
    assert not executed.calls
