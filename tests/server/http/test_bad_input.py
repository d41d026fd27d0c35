"""Input that no client should send: each ends in a proper answer, never a 500 and never a hang."""

from __future__ import annotations

import json
import socket

import pytest

from gym_http_server.api.content.headers import SINGLE_VALUE_HEADERS
from gym_http_server.conformity.contract import validator
from tests.conftest import KINDS, start
from tests.support.handing import Client, chunked, get, handed
from tests.support.serving import Answer, Server, parse_response, raw

JSON = {"Content-Type": "application/json"}


def problem(answer: Answer) -> dict[str, object]:
    """Assert that an answer is a problem in the one shape of all, and return it."""
    assert answer.headers["content-type"] == "application/problem+json"
    value = answer.json
    validator("components", "schemas", "Problem").validate(value)
    assert value["status"] == answer.status
    assert value["message"] == value["detail"]
    assert value["type"].startswith("urn:gym-http-server:problem:")
    assert "\n" not in value["detail"]
    return value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"env_id": "\xff"}', "UTF-8"),
        (b'{"env_id": ', "not JSON"),
        (b"nonsense", "not JSON"),
        (b'{"env_id": "CartPole-v1", "kwargs": {"x": NaN}}', "NaN"),
        (b'{"env_id": "CartPole-v1", "kwargs": {"x": -Infinity}}', "Infinity"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested"),
        (b'{"env_id": "x", "kwargs": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", "nested"),
        (b'{"env_id": "CartPole-v1", "kwargs": {"x": 18446744073709551616}}', "64 bits"),
        (b'{"env_id": "CartPole-v1", "seed": ' + b"9" * 5000 + b"}", ""),
        (b'{"env_id": 7}', "7 is not of type 'string'"),
        (b"[]", "not of type 'object'"),
        (b"null", ""),
        (b"", ""),
        (b"{}", "env_id"),
        (b'{"env_id": "CartPole-v1", "seed": -1}', "minimum"),
        (b'{"env_id": "CartPole-v1", "seed": "1"}', "integer"),
        (b'{"env_id": "CartPole-v1", "seed": 1.5}', "integer"),
        (b'{"env_id": "CartPole-v1", "library": "tensorflow"}', "tensorflow"),
        (b'{"env_id": "CartPole-v1", "max_episode_steps": 0}', "minimum"),
        (b'{"env_id": "CartPole-v1", "kwargs": []}', "object"),
        (b'{"env_id": "CartPole-v1", "kwargs": {"id": "Acrobot-v1"}}', "id"),
        (b'{"env_id": "CartPole-v1", "render_mode": "holographic"}', "holographic"),
    ],
)
def test_a_body_that_createenv_cannot_read_is_a_400_that_says_why(server: Server, body: bytes, words: str) -> None:
    """The problem names what is wrong with the body."""
    answer = server.post("/v1/envs/", body, headers=JSON)
    assert answer.status == 400
    assert words in problem(answer)["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "APPLICATION/JSON",
        "application/json; charset=us-ascii",
        None,
    ],
)
def test_json_is_read_under_each_spelling_of_its_type(server: Server, content_type: str | None) -> None:
    """Case, charset and a missing type make no difference."""
    headers = {"Content-Type": content_type} if content_type else {}
    assert server.post("/v1/envs/", b'{"env_id": "CartPole-v1"}', headers=headers).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=nope",
        "application/json; charset=utf-16",
        "application/json; charset=rot13",
        "nonsense",
        "application/xml",
        "application/problem+json",
    ],
)
@pytest.mark.parametrize("path", ["/v1/envs/", "reset", "step"])
def test_another_media_type_or_charset_is_a_415_that_says_what_to_send(
    server: Server, content_type: str, path: str
) -> None:
    """The problem names application/json or UTF-8."""
    if not path.startswith("/"):
        path = f"{server.create()}/{path}/"
    answer = server.post(path, b'{"env_id": "CartPole-v1", "action": 1}', headers={"Content-Type": content_type})
    assert answer.status == 415
    assert ("UTF-8" if "charset" in content_type else "application/json") in problem(answer)["detail"]


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("br", 415), ("identity", 200), ("", 200)])
def test_a_compressed_body_is_a_415_and_nothing_is_made_of_it(server: Server, coding: str, status: int) -> None:
    """On the hot path and off it."""
    env = server.create()
    for path, body in (("/v1/envs/", b'{"env_id": "CartPole-v1"}'), (f"{env}/reset/", b'{"seed": 1}')):
        answer = server.post(path, body, headers={"Content-Encoding": coding, "Content-Type": "application/json"})
        assert answer.status == status
        if status == 415:
            assert repr(coding) in problem(answer)["detail"]


def test_a_body_over_the_limit_is_a_413_whether_its_length_is_declared_or_not(server: Server) -> None:
    """50 MB with a Content-Length, in chunks, and before `100 Continue` are all refused with the limit named."""
    size = 50 << 20
    head = b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    for request in (
        head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size + b" " * size,
        head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 50 + b"0\r\n\r\n",
        head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (1 << 40),
    ):
        answer = parse_response(raw(server.address, request))
        assert answer.status == 413
        assert "--max-body" in problem(answer)["detail"]
        assert answer.json["limit"] == 16 << 20
    assert server.get("/v1/health/").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_over_the_limit_is_a_413_though_it_comes_at_once(kind: str) -> None:
    """Its length is told by nothing but the bytes, and the hot path has them all when it looks."""
    with start(kind, "--max-body", "100") as server, Client(server) as client:
        env = server.create()
        for size, status in ((40, 200), (200, 413)):
            answer = client.ask(
                chunked(f"{env}/reset/", {"options": {"low": -0.01, "high": 0.01}, "x": "x" * size}, 999)
            )
            assert answer.status == status, answer.body


def test_a_large_body_within_the_limit_is_read(server: Server) -> None:
    """A body of 15 MB is read and validated."""
    body = json.dumps({"env_id": "CartPole-v1", "kwargs": {"padding": "x" * (15 << 20)}}).encode()
    answer = server.post("/v1/envs/", body, headers=JSON)
    assert answer.status == 400
    assert "padding" in answer.message


def test_a_chunked_body_is_read(server: Server) -> None:
    """A body in chunks, without a Content-Length, is the same as one with."""
    data = (
        b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'b\r\n{"env_id": \r\nd\r\n"CartPole-v1"\r\n1\r\n}\r\n0\r\n\r\n'
    )
    assert parse_response(raw(server.address, data)).status == 200


def test_expect_100_continue_is_answered(server: Server) -> None:
    """A client that waits for `100 Continue` gets it and then the reply."""
    body = b'{"env_id": "CartPole-v1"}'
    with socket.create_connection(server.address, 10) as connection:
        head = b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert parse_response(received).status == 200


def test_http_1_0_and_connection_close_clients_are_served_and_the_connection_closed(server: Server) -> None:
    """Both end with the server's closing, without a wait."""
    for version, header in ((b"1.0", b""), (b"1.1", b"Connection: close\r\n")):
        answer = parse_response(
            raw(server.address, b"GET /v1/health/ HTTP/%b\r\nHost: localhost\r\n%b\r\n" % (version, header), timeout=10)
        )
        assert answer.status == 200


def test_a_connection_is_kept(server: Server) -> None:
    """Two requests over one connection are both answered."""
    request = b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n"
    data = raw(server.address, request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert data.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_are_a_400_in_the_one_shape(server: Server, data: bytes) -> None:
    """A malformed request line or header is a problem like every other."""
    answer = parse_response(raw(server.address, data, timeout=10))
    assert answer.status == 400
    problem(answer)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/envs/x/nope/", "/v1/envs//step/", "/v1/envs/%2F/"])
def test_an_unknown_path_is_a_404(server: Server, path: str) -> None:
    """The problem names the path and where the paths are listed."""
    answer = server.get(path)
    assert answer.status == 404
    assert "/openapi.yaml" in problem(answer)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/envs/", "GET, HEAD, POST"),
        ("DELETE", "/v1/envs/", "GET, HEAD, POST"),
        ("POST", "/v1/envs/x/", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/envs/x/step/", "POST"),
        ("GET", "/v1/envs/x/step", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("TRACE", "/v1/health/", "GET, HEAD"),
        ("OPTIONS", "/v1/health/", "GET, HEAD"),
        ("GET", "/v1/envs/x/action_space/contains/", "POST"),
        ("POST", "/openapi.yaml", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_allows_every_method_of_the_path(
    server: Server, method: str, path: str, allow: str
) -> None:
    """`Allow` names all methods of the path, not those of one route."""
    answer = server.request(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == allow
    problem(answer)


def test_a_wrong_method_of_a_page_is_a_405_to_a_program(server: Server) -> None:
    """It is problem details, and `Allow` names the methods of the page."""
    answer = server.request("DELETE", "/ui/", check=False)
    assert answer.status == answer.json["status"] == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "GET, HEAD"


def test_an_unknown_instance_is_a_400_on_every_operation(server: Server) -> None:
    """The message holds `Instance_id`, whatever the operation."""
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/reset/", None),
        ("POST", "/step/", {"action": 1}),
        ("POST", "/close/", None),
        ("GET", "/render/", None),
        ("GET", "/action_space/", None),
        ("GET", "/observation_space/", None),
        ("GET", "/action_space/sample", None),
        ("GET", "/action_space/contains/1", None),
        ("POST", "/action_space/contains", {"action": 1}),
        ("POST", "/observation_space/contains", {"name": "Box"}),
    ):
        answer = server.request(method, f"/v1/envs/bad_id{path}", body)
        assert answer.status == 400, path
        assert "Instance_id" in answer.message
        problem(answer)


def test_a_client_that_goes_away_in_the_middle_leaves_the_instance_usable(server: Server) -> None:
    """A body that never ends, and a reply that nobody reads, do no harm."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    path = f"{env}/step/".encode()
    with socket.create_connection(server.address, 10) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{" % path)
    with socket.create_connection(server.address, 10) as connection:
        body = b'{"action": "sleep 0.2"}'
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (path, len(body), body)
        )
    assert server.post(f"{env}/step/", {"action": "x"}).status == 200
    assert server.post(f"{env}/step/", {"action": "x"}).status == 200


def test_a_websocket_upgrade_is_answered_as_a_plain_request(server: Server) -> None:
    """A client that asks for a WebSocket gets an HTTP answer."""
    data = (
        b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert raw(server.address, data, timeout=10).startswith(b"HTTP/1.1 200")


REPEATED = {
    "Host": "localhost",
    "Origin": "http://localhost",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Authorization": "Bearer x",
    "Cookie": "a=b",
    "Content-Type": "application/json",
    "Content-Encoding": "gzip",
    "Idempotency-Key": "key",
    "Content-Length": "2",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Private-Network": "true",
    "Range": "bytes=0-1",
    "If-Range": '"a"',
    "If-Modified-Since": "Sun, 29 Nov 2026 12:00:00 GMT",
    "If-Unmodified-Since": "Sun, 29 Nov 2026 12:00:00 GMT",
}
"""Headers of which something reads one value."""


def _request(path: str, headers: list[tuple[str, str]], version: str = "1.1") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n{{}}".encode()


@pytest.mark.parametrize("name", REPEATED)
def test_a_repeated_header_that_is_read_once_is_a_400(server: Server, name: str) -> None:
    """Whoever stands before the server may have read the other one."""
    twice = [(name, REPEATED[name])] * 2
    rest = [("Host", "localhost"), ("Content-Length", "2"), ("Connection", "close")]
    headers = [*(each for each in rest if each[0] != name), *twice]
    for path in ("/v1/envs/", "/v1/envs/deadbeef/step/", "/"):
        answer = parse_response(raw(server.address, _request(path, headers)))
        assert answer.status == 400
        problem(answer)
        assert name in answer.message


def test_the_list_of_headers_that_are_read_once_is_tested_whole() -> None:
    """Each of them has a test above."""
    assert {name.lower().encode() for name in REPEATED} == SINGLE_VALUE_HEADERS


def test_an_accept_in_several_lines_is_one_list(server: Server) -> None:
    """The header is a list (RFC 9110, 5.3): its last line counts as its first does, also for what a page is refused with."""

    def media_type(*accept: str) -> str:
        lines = "".join(f"Accept: {each}\r\n" for each in accept)
        head = (
            f"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://foreign.example\r\nConnection: close\r\n{lines}\r\n"
        )
        answer = parse_response(raw(server.address, head.encode()))
        assert answer.status == 403
        return answer.headers["content-type"].partition(";")[0]

    page, data = "text/html;q=0.9", "application/json;q=0.1"
    assert media_type(data, page) == media_type(page, data) == "text/html"
    assert media_type(data) == "application/problem+json"


def test_a_request_without_a_host_is_a_400_but_in_http_1_0(server: Server) -> None:
    """HTTP/1.1 asks for one, which may be empty (RFC 9112, 3.2); HTTP/1.0 has none."""
    for path, status in (("/v1/health/", 400), ("/v1/envs/", 400)):
        answer = parse_response(raw(server.address, f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()))
        assert answer.status == status
        assert "Host" in problem(answer)["detail"]
    assert parse_response(raw(server.address, b"GET /v1/health/ HTTP/1.0\r\n\r\n")).status == 200
    empty = b"GET /v1/health/ HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"
    assert parse_response(raw(server.address, empty)).status == 200


def test_a_connection_in_an_environments_process_is_held_to_the_same_headers() -> None:
    """No Host and two, and two Content-Types, are 400 there, too, and nothing is executed."""
    with start("handover") as server, handed(server) as (client, env, _):
        length, host = ("Content-Length", "2"), ("Host", "localhost")
        types = [("Content-Type", "application/json")] * 2
        for headers in ([length], [host, host, length], [host, *types, length]):
            assert client.ask(_request(f"{env}/reset/", headers)).status == 400
            assert client.ask(get(f"{env}/action_space/sample")).status == 200
            assert client.ask(get(f"{env}/action_space/sample")).status == 200
        assert server.get(f"{env}/").json["episodes"] == 0
