"""Requests whose cost is per value, part or name and not per byte, and what each is answered."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

SIZE = (16 << 20) - 256
"""Bytes of a body, about as many as may be."""

JSON = "Content-Type: application/json"
PACKED = "Content-Type: application/msgpack"


class Costly(NamedTuple):
    """A request and its answer.

    Attributes:
        status: of the answer.
        words: in its message.
        path: of the request; `{env}` is an instance.
        body: makes the body.
        lines: of its head, besides Host and Content-Length.
        method: of the request.
    """

    status: int
    words: str
    path: str
    body: Callable[[], bytes] = bytes
    lines: tuple[str, ...] = (JSON,)
    method: str = "POST"


def filled(start: bytes, unit: bytes, end: bytes, size: int = SIZE) -> bytes:
    """Return a body of a unit again and again."""
    return start + unit * ((size - len(start) - len(end)) // len(unit)) + end


def packed_list(item: bytes, count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + item * count


def create(status: int, words: str, body: Callable[[], bytes]) -> Costly:
    return Costly(status, words, "/v1/envs/", body)


def kwargs(status: int, words: str, make: Callable[[], Any]) -> Costly:
    def body() -> bytes:
        made = make()
        return made if isinstance(made, bytes) else json.dumps({"env_id": "CartPole-v1", "kwargs": made}).encode()

    return create(status, words, body)


def labels(value: Any) -> Costly:
    named = {f"w{index}": value for index in range(70_000)}
    return create(400, "… (70000 members)", lambda: json.dumps({"env_id": "CartPole-v1", "labels": named}).encode())


def action(status: int, words: str, body: Callable[[], bytes], *lines: str) -> Costly:
    return Costly(status, words, "/v1/envs/{env}/step/", body, lines or (JSON,))


def packed(make: Callable[[], bytes]) -> Costly:
    return action(413, TOO_MANY, lambda: b"\x81\xa6action" + make(), PACKED)


TOO_MANY = "--max-values"
KWARGS = b'{"env_id":"CartPole-v1","kwargs":{"a":['
ACTION = b'{"action":['

COSTLY = {
    "kwargs of empty arrays": kwargs(413, TOO_MANY, lambda: filled(KWARGS, b"[],", b"0]}}")),
    "kwargs of empty objects": kwargs(413, TOO_MANY, lambda: filled(KWARGS, b"{},", b"0]}}")),
    "kwargs of numbers": kwargs(413, TOO_MANY, lambda: filled(KWARGS, b"1,", b"0]}}")),
    "a megabyte of empty arrays": kwargs(413, TOO_MANY, lambda: filled(KWARGS, b"[],", b"0]}}", 1 << 20)),
    "as many empty arrays as may be": kwargs(400, "could not be made", lambda: {"a": [[]] * 149_990}),
    "as many numbers as may be": kwargs(400, "could not be made", lambda: {"a": [0.123456789] * 149_990}),
    "kwargs of paths": kwargs(400, "look like paths", lambda: {"a": [f"./tests/x/{index}" for index in range(20_000)]}),
    "kwargs of code": kwargs(400, "look like paths", lambda: {"a": [f"nothing{index}: x" for index in range(20_000)]}),
    "kwargs of long paths": kwargs(
        400, "characters of texts", lambda: {"a": ["./" + "a/" * 1800 + str(index) for index in range(900)]}
    ),
    "kwargs of words": kwargs(400, "different texts", lambda: {"a": [f"w{index}" for index in range(70_000)]}),
    "kwargs of names": kwargs(400, "different texts", lambda: {f"w{index}": 0 for index in range(70_000)}),
    "a path of megabytes": kwargs(400, "more than 8192", lambda: filled(KWARGS + b'"', b"a/", b'"]}}')),
    "an env_id of megabytes": create(400, "… (", lambda: filled(b'{"env_id":"', b"a", b'"}')),
    "an env_id of many values": create(400, "… (100001 items)]", lambda: b'{"env_id":[' + b"1," * 100_000 + b"1]}"),
    "labels": labels("x"),
    "labels of numbers": labels(1),
    "an action of empty arrays": action(413, TOO_MANY, lambda: filled(ACTION, b"[],", b"0]}")),
    "an action of numbers": action(413, TOO_MANY, lambda: filled(ACTION, b"1,", b"0]}")),
    "with a key": action(413, TOO_MANY, lambda: filled(ACTION, b"1,", b"0]}"), JSON, "Idempotency-Key: a"),
    "an action that is a text": action(
        400, "not in the action space", lambda: filled(b'{"action":"', b'a,[{\\"', b'"}')
    ),
    "an action of digits": action(
        400, "not in the action space", lambda: filled(b'{"action":"', b"1" * 18 + b"x", b'"}')
    ),
    "an action that is deep": action(400, "deeper", lambda: b'{"action":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "packed numbers": packed(lambda: packed_list(b"\x01", SIZE)),
    "packed arrays": packed(lambda: packed_list(b"\x90", SIZE)),
    "packed objects": packed(lambda: packed_list(b"\x80", SIZE)),
    "packed texts": packed(lambda: packed_list(b"\xd9\0", SIZE // 2)),
    "packed arrays that are announced": packed(
        lambda: struct.pack(">BI", 0xDD, SIZE // 2) * 1000 + b"\0" * (SIZE - 5000)
    ),
    "few packed arrays that are announced": packed(lambda: struct.pack(">BI", 0xDD, 8000) * 1000 + b"\0" * 8000),
    "seeds": Costly(413, TOO_MANY, "/v1/envs/{env}/batch/reset/", lambda: filled(b'{"seeds":[', b"1,", b"1]}")),
    "options of paths": Costly(
        400,
        "options hold more than 1000",
        "/v1/envs/{env}/reset/",
        lambda: json.dumps({"options": {"a": [f"./x/{index}" for index in range(20_000)]}}).encode(),
    ),
    "an upload of megabytes": Costly(
        400, "more than 8192", "/v1/upload/", lambda: filled(b'{"api_key":"x","training_dir":"', b"a/", b'"}')
    ),
    "a policy of megabytes": Costly(
        400, "… (", "/v1/envs/{env}/rollout/", lambda: filled(b'{"steps":1,"policy":"', b"a", b'"}')
    ),
    "many headers": Costly(200, "", "/v1/envs/{env}/reset/", lines=(JSON, *("a:",) * 10_000)),
    "a long query": Costly(200, "", "/v1/registry/?" + "q=a&" * 10_000, method="GET"),
    "a long path": Costly(404, "characters in all", "/v1/nothing/" + "a/" * 20_000, method="GET"),
}
