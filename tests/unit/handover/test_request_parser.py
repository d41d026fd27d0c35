"""Parsing of a connection's requests in an environment's process: whole, in pieces, in pipelines, and where it stops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.handover.request_parser import MAX_PART_BYTES, RequestParser
from gym_http_server.http1.arrival import BODY, HEAD, MAX_HEAD_BYTES, NOTHING
from tests.support.handing import chunked, get, post

STEP = "/v1/envs/0123abcd/step/"
REQUESTS = st.lists(
    st.one_of(
        st.builds(lambda body: post(STEP, body), st.text("abc \r\n{}", max_size=30)),
        st.builds(lambda body, size: chunked(STEP, body, size), st.text(max_size=30), st.integers(1, 9)),
        st.just(get("/v1/envs/0123abcd/action_space/sample")),
    ),
    min_size=1,
    max_size=5,
)


def parsed(*pieces: bytes) -> RequestParser:
    parser = RequestParser()
    for piece in pieces:
        parser.feed(piece)
    return parser


def told(parser: RequestParser) -> list[tuple[object, ...]]:
    return [(each.method, each.target, each.headers, each.body, each.keep_alive) for each in parser.complete]


@settings(deadline=None)
@given(REQUESTS, st.data())
def test_requests_are_the_same_in_whatever_pieces_they_come(requests: list[bytes], data: st.DataObject) -> None:
    """All are complete, in their order."""
    whole = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    parser = parsed(*pieces)
    assert told(parser) == [told(parsed(request))[0] for request in requests]
    assert (parser.part, parser.is_stopped) == (NOTHING, False)


@pytest.mark.parametrize(("cut", "part"), [(1, HEAD), (40, HEAD), (-1, BODY), (None, NOTHING)])
def test_a_parser_says_what_is_arriving(cut: int | None, part: int) -> None:
    """Each part is counted, so that its beginning can be told from its continuation."""
    parser = parsed(post(STEP, {"action": 1})[:cut])
    assert parser.part == part
    assert parser.part_count == (1 if part == HEAD else 2)


UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize(
    "last",
    [
        post(STEP, {}, b"Expect: 100-continue\r\n"), post(STEP, {}, UPGRADE), b"GARBAGE\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", post(STEP, {}, b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n"),
    ],
)  # fmt: skip
def test_what_only_the_server_serves_stops_the_parser(last: bytes) -> None:
    """Earlier requests are complete, and nothing after it is parsed."""
    parser = parsed(post(STEP, {}) + last + post(STEP, {}), post(STEP, {}))
    assert parser.is_stopped
    assert len(parser.complete) == 1
    assert parser.complete[0].keep_alive == (last != b"GARBAGE\r\n\r\n")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"GET /", b"x" * 1000), (chunked(STEP, {"action": "x"})[:-2], b"X: " + b"x" * 995 + b"\r\n")],
    ids=["head", "trailers"],
)
def test_a_head_and_trailers_have_a_maximum_size(begin: bytes, piece: bytes) -> None:
    """What exceeds it is the server's to refuse."""
    parser = parsed(begin)
    count = 0
    while not parser.is_stopped:
        parser.feed(piece)
        count += 1
    assert MAX_PART_BYTES - 2 * len(piece) < count * len(piece) < MAX_PART_BYTES + 2 * len(piece)
    assert not parser.complete


def test_the_data_of_a_body_has_none_here() -> None:
    """The receive buffer limits it."""
    request = post(STEP, {"action": "x" * (MAX_PART_BYTES * 2)})
    parser = parsed(*(request[start : start + 1000] for start in range(0, len(request), 1000)))
    assert [len(each.body) > MAX_PART_BYTES for each in parser.complete] == [True]


def test_trailers_are_no_headers() -> None:
    """The request is served by its head (RFC 9110, 6.5)."""
    request = chunked(STEP, {"action": "x"})
    [alone] = told(parsed(request))
    [with_trailer] = told(parsed(request[:-2] + b"Host: elsewhere\r\nX-Late: 1\r\n\r\n"))
    assert with_trailer == alone


@pytest.mark.parametrize(
    ("version", "further", "keeps"),
    [("1.1", b"", True), ("1.1", b"Connection: close\r\n", False), ("1.0", b"", False), ("1.0", b"Connection: keep-alive\r\n", False)],
)  # fmt: skip
def test_a_connection_is_kept_as_the_server_keeps_it(version: str, further: bytes, keeps: bool) -> None:
    """HTTP/1.0 and `Connection: close` end it after the reply."""
    [request] = parsed(post(STEP, {}, further, version)).complete
    assert request.keep_alive == keeps


@pytest.mark.parametrize(
    ("target", "path"), [(b"/v1/a%20b", "/v1/a b"), (b"/v1/a?b=c", "/v1/a"), (b"http://x/v1/a", "/v1/a")]
)
def test_the_scope_has_the_decoded_path(target: bytes, path: str) -> None:
    """As that of uvicorn, whose guard and hot path read it."""
    [request] = parsed(b"OPTIONS %b HTTP/1.1\r\nHost: a\r\n\r\n" % target).complete
    assert request.scope(("10.0.0.1", 9))["path"] == path
