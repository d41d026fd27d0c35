"""Idempotency keys, and the replies kept for one environment."""

from __future__ import annotations

import pytest

from gym_http_server.errors import KeyReusedError
from gym_http_server.runtime.idempotency import MAX_PLAIN_BYTES, MAX_REPLIES, IdempotencyKey, ReplyCache
from gym_http_server.runtime.messages import JSON, MSGPACK, Reply


@pytest.mark.parametrize("size", [0, 1, MAX_PLAIN_BYTES, 10 * MAX_PLAIN_BYTES])
def test_requests_are_told_apart_by_operation_and_body(size: int) -> None:
    """The digest is the same for the same request alone, and short, however long the body is."""
    body = bytes(size)
    digest = IdempotencyKey.of("k", "stepEnv", body).digest
    assert len(digest) <= MAX_PLAIN_BYTES
    assert digest == IdempotencyKey.of("other", "stepEnv", bytes(size)).digest
    others = [("resetEnv", body), ("stepEnv", body + b"\0"), ("stepEnv", body[1:] + b"\1")]
    assert digest not in [IdempotencyKey.of("k", *other).digest for other in others]


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
def test_a_reply_is_given_again_until_it_is_one_of_the_oldest(media_type: str) -> None:
    """A call with a known key is not made, another body is refused, and the oldest key is forgotten."""
    cache = ReplyCache()
    made = []

    def call(name: str, body: bytes = b"") -> Reply:
        def make() -> Reply:
            made.append(name)
            return Reply(name.encode(), media_type)

        return cache.of(IdempotencyKey.of(name, "stepEnv", body), make)

    for _ in range(2):
        assert call("first") == Reply(b"first", media_type)
    assert made == ["first"]
    with pytest.raises(KeyReusedError, match="first"):
        call("first", b"another")
    for at in range(MAX_REPLIES):
        call(str(at))
    call(str(MAX_REPLIES - 1))
    call("first")
    assert made == ["first", *map(str, range(MAX_REPLIES)), "first"]
