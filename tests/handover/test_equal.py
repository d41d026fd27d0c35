"""Replies are the same, byte for byte, whether connections are handed over at once, by habit or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..conftest import IMPORTS, KINDS, start
from ..server.http.test_hot_path import INSTANCES, JSON, MSGPACK, requests, written
from ..support.exchange import PAUSE, Connection, Reply, request_bytes
from ..support.serving import SECONDS, Server

LIMITS = ("--max-body", "700000", "--max-reply", "200000")
LARGE = [1 << 10, 300_000, 600_000, 800_000]
"""Sizes of bodies: one is read in a thread, one is over what an environment's process keeps, one is over the limit."""

MANY = 100
"""Replies that are more together than the system holds for a client that does not read them."""

IDS = (b"@@@@@@@0", b"@@@@@@@1")
"""What stands for the ids of the instances, of the same length."""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """A server that hands over at once, one that never does, and the usual one."""
    with (
        start("handover", *LIMITS) as eager,
        start("process", *LIMITS) as never,
        Server(*KINDS["handover"], *LIMITS, *IMPORTS) as usual,
    ):
        yield [eager, never, usual]


class Exchange(NamedTuple):
    """What is sent in one go, and what is to be read before the next.

    Attributes:
        segments: the bytes.
        methods: of each request that may be answered.
        expects: the client waits for a reply, such as `100 Continue`, before it sends the second segment.
        half_closes: the client sends no more after it.
        ends_in_garbage: bytes that are no request follow it, which end the connection, told why or not.
    """

    segments: tuple[bytes, ...]
    methods: tuple[str, ...]
    expects: bool = False
    half_closes: bool = False
    ends_in_garbage: bool = False

    def __repr__(self) -> str:
        # Padded to a megabyte it would be told in full.
        short = tuple(re.sub(rb" {100,}", b" (and more) ", segment) for segment in self.segments)
        return f"Exchange({short}, {self.methods}, {self.expects}, {self.half_closes}, {self.ends_in_garbage})"


SEEDS = st.integers(0, 3)
ACTIONS = st.sampled_from([0, 0, 1, 1, 7, "", "raise oh", "sys_exit", None])
OPERATIONS = st.one_of(
    st.tuples(st.just("POST /reset/"), st.just({}) | st.builds(lambda seed: {"seed": seed}, SEEDS)),
    *[st.tuples(st.just("POST /step/"), st.builds(lambda action: {"action": action}, ACTIONS))] * 3,
    st.tuples(st.just("POST /step/"), st.builds(lambda a: {"action": a, "render": True}, ACTIONS)),
    st.tuples(st.just("POST /rollout/"), st.builds(lambda n: {"policy": "random", "steps": 5, "seed": n}, SEEDS)),
    st.tuples(st.just("POST /rollout/"), st.sampled_from([{"actions": [0, 1]}, {"policy": "random", "steps": 3000}])),
    st.tuples(st.just("POST /batch/reset/"), st.just({})),
    st.tuples(st.just("POST /batch/step/"), st.just({"actions": [0, 1]})),
    st.tuples(st.just("POST /action_space/contains"), st.builds(lambda action: {"action": action}, ACTIONS)),
    st.tuples(st.just("POST /observation_space/contains"), st.just({"observation": [0, 0, 0, 0]})),
    st.tuples(st.sampled_from(["GET /action_space/sample", "GET /action_space/contains/1"]), st.none()),
    st.tuples(
        st.sampled_from(
            [
                *["GET /", "GET /action_space/", "GET /observation_space/", "GET /render/", "HEAD /", "OPTIONS /"],
                *["PUT /step/", "GET /step/", "HEAD /action_space/sample", "GET /nothing", "DELETE /step/"],
            ]
        ),
        st.none(),
    ),
    st.tuples(st.sampled_from(["GET /v1/envs/", "GET /v1/health/", "GET /v1/no", "HEAD /v1/health/"]), st.none()),
)
LAST = st.tuples(st.sampled_from(["POST /close/", "DELETE /"]), st.none()) | st.just(
    ("POST /step/", {"action": "exit 3"})
)
"""What ends an instance, which is tried less often."""

HEADERS = st.sampled_from(
    [
        *[b""] * 10, b"Accept: application/msgpack\r\n", b"Accept: text/html\r\n", b"Connection: keep-alive\r\n",
        b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Content-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n", b"X-Long: " + b"x" * 5000 + b"\r\n", b"Accept-Encoding: gzip\r\n",
        b"Host: localhost\r\n", b"Origin: http://localhost\r\n" * 2, b"Content-Type: text/plain\r\n",
        b"Instance-Hold: nobody's\r\n",
    ]
)  # fmt: skip
HOSTS = st.sampled_from([*[b"Host: localhost\r\n"] * 30, b"", b"Host:\r\n", b"Host: a b\r\n"])
BODIES = st.sampled_from([b"", b"{", b"null", b"\xff", b'{"action": NaN}', b"\x81\xa6action\x01"])
MALFORMED = st.sampled_from(
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/envs/@@@@@@@0/step/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/envs/@@@@@@@0/step/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"POST /v1/envs/@@@@@@@0/step/ HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/envs/@@@@@@@0/step/ HTTP/3.7\r\nHost: localhost\r\n\r\n",
        b"GET /v1/envs/@@@@@@@0/action_space/sample HTTP/1.1\r\nHost x\r\n\r\n",
        b"CONNECT /v1/envs/@@@@@@@0/step/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
)


@st.composite
def one_request(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """A request's method, its head and its body."""
    operation, value = draw(LAST if draw(st.integers(0, 49)) == 0 else OPERATIONS)
    method, path = operation.split()
    if not path.startswith("/v1/"):
        instance_id = draw(st.sampled_from([*["@@@@@@@0"] * 6, *["@@@@@@@1"] * 3, "deadbeef"]))
        path = f"/v1/envs/{instance_id}{path}"
    body = b""
    media_type = draw(st.sampled_from([*[JSON] * 6, *[MSGPACK] * 3, "text/plain", None]))
    if value is not None:
        body = draw(BODIES) if draw(st.integers(0, 15)) == 0 else written(value, media_type)
        if media_type == JSON and draw(st.integers(0, 30)) == 0:
            body = body.ljust(draw(st.sampled_from(LARGE)))
    version = draw(st.sampled_from([*["1.1"] * 15, "1.0"]))
    head = f"{method} {path} HTTP/{version}\r\n".encode() + draw(HOSTS) + draw(HEADERS)
    if media_type is not None and value is not None:
        head += f"Content-Type: {media_type}\r\n".encode()
    if value is not None and version == "1.1" and draw(st.integers(0, 5)) == 0:
        cut = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        head += b"Transfer-Encoding: chunked\r\n"
    elif value is not None:
        head += b"Content-Length: %d\r\n" % len(body)
    return method, head + b"\r\n", body


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """One request or a few in a pipeline, or bytes that are none; in one segment or in several."""
    if draw(st.integers(0, 30)) == 0:
        return Exchange((draw(MALFORMED),), ("POST",))
    parts = draw(st.lists(one_request(), min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 2, 2, 5]))))
    methods = tuple(method for method, _, _ in parts)
    if len(parts) == 1 and b"Expect:" in parts[0][1] and draw(st.booleans()):
        return Exchange(parts[0][1:], methods, expects=True)
    data = b"".join(head + body for _, head, body in parts)
    if draw(st.integers(0, 60)) == 0:
        return Exchange((data + b"GARBAGE\r\n\r\n",), methods, ends_in_garbage=True)
    if draw(st.integers(0, 60)) == 0:
        # Half a request behind whole ones ends their connection, as soon as the server learns that nothing more comes.
        end = draw(st.integers(1, len(data))) if len(parts) == 1 else len(data)
        return Exchange((data[:end],), methods, half_closes=True)
    ends = draw(st.lists(st.integers(0, len(data)), max_size=draw(st.sampled_from([0, 0, 1, 3]))))
    edges = [0, *sorted(set(ends) - {0, len(data)}), len(data)]
    return Exchange(tuple(data[a:b] for a, b in itertools.pairwise(edges)), methods)


class Player:
    """Plays exchanges to one server, on one connection for as long as it is kept, and notes what comes back."""

    def __init__(self, server: Server, options: list[dict[str, Any]]) -> None:
        self._server = server
        self.envs = [server.create(**each) for each in options]
        self._ids = [env.rsplit("/", 1)[1].encode() for env in self.envs]
        self._connection: Connection | None = None

    def __enter__(self) -> Player:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        for env in self.envs:
            self._server.request("DELETE", env)

    def play(self, exchange: Exchange) -> list[Any]:
        """Return the replies to an exchange, and what came before the end of the connection where it ended."""
        if self._connection is None:
            self._connection = Connection(self._server.address)
        connection = self._connection
        data = b"".join(exchange.segments)
        for placeholder, instance_id in zip(IDS, self._ids, strict=False):
            data = data.replace(placeholder, instance_id)
        for size in map(len, exchange.segments):
            segment, data = data[:size], data[size:]
            if not connection.send(segment):
                break
            if data:
                connection.wait(SECONDS if exchange.expects else PAUSE)
        if exchange.half_closes:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
        is_cut_off = exchange.half_closes or exchange.ends_in_garbage
        found: list[Any] = []
        for method in exchange.methods:
            while (reply := connection.read(method)) is not None and reply.is_interim:
                found.append(reply)
            if reply is None:
                found.append("the end")
                self._end()
                return found
            found.append(self.masked(reply, tells_end=not is_cut_off))
        if is_cut_off or found[-1].header(b"connection") == b"close":
            rest = connection.rest()
            assert exchange.ends_in_garbage or not rest
            self._end()
        return found

    def masked(self, reply: Reply, *, tells_end: bool) -> Reply:
        """Return a reply without what is of this server, or of the moment.

        Args:
            reply: the reply.
            tells_end: whether it is the client that decides if the connection is to end after it; otherwise that depends
                on how soon the server learnt that nothing more comes.
        """
        head = [b"date" if line.startswith(b"date: ") else line for line in reply.head]
        if not tells_end:
            head = [line for line in head if line != b"connection: close"]
        body = reply.body
        for placeholder, instance_id in zip(IDS, self._ids, strict=False):
            body = body.replace(instance_id, placeholder)
        body = re.sub(rb'"created_at":"[^"]*"', b'"created_at":""', body)
        if b'"traffic":' in body or not body:  # a reply to HEAD tells the length of the same times
            head = [b"content-length" if line.startswith(b"content-length: ") else line for line in head]
        if b'"traffic":' in body:
            body = json.dumps(timeless(json.loads(body))).encode()
        return Reply(tuple(head), body, reply.is_whole)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def timeless(state: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of getEnv without the times in it, and without the seeds that were drawn."""
    of_the_moment = ("created_at", "last_used_at", "instance_id", "np_random_seeds")
    kept = {key: value for key, value in state.items() if key not in of_the_moment}
    kept["traffic"] = [{k: v for k, v in each.items() if not k.endswith("_seconds")} for each in state["traffic"]]
    return kept


RESETS = Exchange(
    tuple(
        request_bytes("POST", f"/v1/envs/{IDS[lane].decode()}/{'batch/' if is_batch else ''}reset/", {})
        for lane in range(2)
        for is_batch in (False, True)
    ),
    ("POST",) * 4,
)
"""Has each instance begin, whether it is a batch or not."""

STATES = Exchange(tuple(b"GET /v1/envs/%b/ HTTP/1.1\r\nHost: localhost\r\n\r\n" % each for each in IDS), ("GET", "GET"))
"""Asks for what has been executed."""

MAKES = st.sampled_from(
    [
        {"env_id": "CartPole-v1"}, {"env_id": "FrozenLake-v1"}, {"env_id": "tests/Troublemaker-v0"},
        {"env_id": "CartPole-v1", "num_envs": 2},
    ]
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    options=st.tuples(MAKES, MAKES),
    opening=st.sampled_from([[], [RESETS]]),
    sequence=st.sampled_from([1, 25]).flatmap(lambda size: st.lists(exchanges(), min_size=size, max_size=30)),
)
def test_a_connection_has_the_same_replies_wherever_it_is_served(
    servers: list[Server], options: tuple[dict[str, Any], ...], opening: list[Exchange], sequence: list[Exchange]
) -> None:
    """Whatever is sent on one connection, in whatever segments, is answered alike and executed alike."""
    made = [{**each, "seed": 1, "render_mode": "rgb_array"} for each in options]
    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(Player(server, made)) for server in servers]
        for exchange in [*opening, *sequence, STATES]:
            expected, *others = (player.play(exchange) for player in players)
            for found in others:
                assert found == expected, exchange


@settings(max_examples=20, deadline=None)
@given(options=st.sampled_from(INSTANCES), seed=st.integers(0, 3), asked=st.lists(requests(), min_size=1, max_size=8))
def test_the_hot_path_answers_alike_wherever_it_is(
    servers: list[Server],
    options: dict[str, Any],
    seed: int,
    asked: list[tuple[str, str, bytes | None, list[tuple[str, str]]]],
) -> None:
    """What the hot path of the server answers or leaves to connexion is answered alike by an environment's process."""
    opening = ("POST", f"/v1/envs/{{instance_id}}/{'batch/' if 'num_envs' in options else ''}reset/", None, [])
    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(Player(server, [{**options, "seed": seed}])) for server in servers]
        for method, path, body, headers in (opening, *asked):
            lines = [f"{method} {path.replace('{instance_id}', IDS[0].decode())} HTTP/1.1", "Host: localhost"]
            lines += [f"{name}: {value}" for name, value in headers]
            if body is not None or method in ("POST", "PUT"):
                lines.append(f"Content-Length: {len(body or b'')}")
            exchange = Exchange(("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""),), (method,))
            expected, *others = (player.play(exchange) for player in players)
            assert others == [expected] * len(others), exchange


def test_a_client_that_is_slow_to_take_its_replies_keeps_nobody_waiting(servers: list[Server]) -> None:
    """Another client is answered meanwhile, and the slow one gets all that it asked for, in order."""
    for server in servers:
        with Connection(server.address, 1 << 16) as slow, Connection(server.address) as other:
            env = f"/v1/envs/{slow.ask('POST', '/v1/envs/', {'env_id': 'tests/Troublemaker-v0'})['instance_id']}"
            slow.ask("POST", f"{env}/reset/", {})
            steps = request_bytes("POST", f"{env}/step/", {"action": "big 150000"}) * MANY
            sender = threading.Thread(target=slow.send, args=(steps + request_bytes("GET", f"{env}/"),))
            sender.start()
            slow.wait(SECONDS)
            for _ in range(5):
                assert other.ask("POST", f"{env}/action_space/contains", {"action": ""}) == {"member": True}
            assert other.ask("GET", f"{env}/")["steps"] < MANY
            replies = [json.loads(slow.read("POST").body) for _ in range(MANY)]
            assert [each["observation"] for each in replies] == list(range(1, MANY + 1))
            assert {len(each["info"]["big"]) for each in replies} == {150_000}
            assert json.loads(slow.read("GET").body)["steps"] == MANY
            sender.join(SECONDS)
            other.ask("DELETE", f"{env}/")


def test_a_pipeline_keeps_neither_another_client_nor_the_close_waiting(servers: list[Server]) -> None:
    """They have their turn after the request under way, and what is behind the close finds no instance."""
    for server in servers:
        with Connection(server.address) as client, Connection(server.address) as other:
            made = client.ask("POST", "/v1/envs/", {"env_id": "tests/Troublemaker-v0"})
            env = f"/v1/envs/{made['instance_id']}"
            client.ask("POST", f"{env}/reset/", {})
            client.send(request_bytes("POST", f"{env}/step/", {"action": "sleep 0.05"}) * 200)
            statuses = [client.read("POST").status]
            assert other.ask("POST", f"{env}/action_space/contains", {"action": ""}) == {"member": True}
            assert other.ask("GET", f"{env}/")["steps"] < 200
            other.ask("DELETE", f"{env}/")
            statuses += [client.read("POST").status for _ in range(199)]
            assert statuses == [200] * statuses.count(200) + [400] * statuses.count(400)
            assert statuses[-1] == 400
