"""Which headers pass through a router."""

from __future__ import annotations

from gym_http_server.router.exchanges import head_bytes, reply_headers, request_headers


def test_headers_of_one_connection_and_of_access_do_not_pass() -> None:
    """The rest does, in its order, with an Idempotency-Key at the end."""
    kept = [(b"accept", b"application/msgpack"), (b"instance-hold", b"t"), (b"x-request-id", b"1")]
    dropped = [
        *(b"connection", b"te", b"upgrade", b"transfer-encoding", b"host", b"authorization", b"cookie", b"expect"),
        *(b"x-forwarded-for", b"forwarded", b"sec-fetch-site", b"proxy-authorization", b"accept-encoding"),
        b"idempotency-lookup",
    ]
    key = (b"idempotency-key", b"k")
    headers = [key, kept[0], *((name, b"x") for name in dropped), *kept[1:]]
    assert request_headers(headers) == [*kept, key]


def test_a_reply_has_the_routers_own_date_and_framing() -> None:
    """What is said of its content passes."""
    kept = [(b"content-type", b"text/html"), (b"content-length", b"3"), (b"warning", b'299 - "x"')]
    assert reply_headers([(b"date", b"x"), (b"server", b"x"), (b"connection", b"close"), *kept]) == kept


def test_a_shard_is_sent_the_key_that_it_takes() -> None:
    """An open cluster has none."""
    head = head_bytes(b"GET", b"/v1/envs/", b"10.0.0.7:5000", b"", [])
    assert head == b"GET /v1/envs/ HTTP/1.1\r\nhost: 10.0.0.7:5000\r\n"
    assert b"authorization: Bearer k\r\n" in head_bytes(b"GET", b"/", b"a", b"k", [])
