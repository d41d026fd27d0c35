"""Where a request comes from: what web pages of other origins, and names that point to this machine, are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.api.guard.security import Access, Guard
from gym_http_server.config import Settings
from tests.conftest import start
from tests.support.handing import TROUBLE, Client, owner_of, post, step
from tests.support.serving import Answer, Server, parse_response, raw

LAB = "https://lab.example"
CROSS_SITE = ("Sec-Fetch-Site: cross-site",)
NAVIGATION = (*CROSS_SITE, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


def ask(server: Server, method: str, path: str, *lines: str, host: str | None = "localhost") -> Answer:
    """Send a request; `{port}` in a line is the server's."""
    head = [f"{method} {path} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), *lines, "Connection: close"]
    data = "".join(f"{line}\r\n" for line in head).replace("{port}", str(server.address[1]))
    return parse_response(raw(server.address, data.encode("latin-1") + b"\r\n"))


@pytest.fixture(scope="module")
def friendly() -> Iterator[Server]:
    """A server that names an origin and a host."""
    with start("handover", "--cors-origin", LAB, "--allowed-host", "Gym.Example") as running:
        yield running


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://localhost.evil.example", "null", "http://localhost:1", "http://127.0.0.1:{port}",
     "http://evil.example:{port}", "http://localhost:{port}.evil.example", "http://localhost:{port}@evil.example",
     "file://", "chrome-extension://abc", "", "localhost:{port}", "https://localhost", "http://localhost:443"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/envs/"), ("POST", "/v1/shutdown/"), ("GET", "/v1/envs/"), ("GET", "/"), ("OPTIONS", "/v1/envs/"),
     ("POST", "/v1/envs/0a1b2c3d/step/"), ("GET", "/metrics"), ("POST", "/login"), ("GET", "/v1/health/")],
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(server: Server, method: str, path: str, origin: str) -> None:
    """Whatever it asks for, a page of another origin gets a 403 that names the option, and nothing that it may read."""
    answer = ask(server, method, path, f"Origin: {origin}", host="localhost:{port}")
    assert answer.status == 403
    assert "--cors-origin" in answer.message
    assert answer.json["type"] == "urn:gym-http-server:problem:foreign-origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_servers_own_pages_may_use_it(server: Server) -> None:
    """A page that this server has served, by either of its names, sends its own origin and is let through."""
    for host in ("localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}"):
        origin = f"Origin: http://{host.lower()}"
        assert ask(server, "GET", "/v1/envs/", origin, "Sec-Fetch-Site: same-origin", host=host).status == 200


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "passes"),
    [
        ("http", "localhost:5000", "http://localhost:5000", True),
        ("http", "localhost:80", "http://localhost", True),
        ("http", "localhost", "http://LOCALHOST:80", True),
        ("https", "localhost:443", "https://localhost", True),
        ("https", "[::1]:8443", "https://[::1]:8443", True),
        ("https", "localhost", "http://localhost", False),
        ("http", "localhost", "https://localhost", False),
        ("http", "localhost:443", "https://localhost", False),
        ("https", "localhost:80", "http://localhost", False),
        ("http", "localhost:80", "http://localhost:8", False),
        ("http", "", "http://", False),
        ("http", "localhost", "ws://localhost", False),
    ],
)
def test_an_origin_is_compared_with_its_scheme(scheme: str, host: str, origin: str, passes: bool) -> None:
    """Scheme, name and port have to be the server's; a scheme's own port may be left out."""
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    scope = {"method": "POST", "path": "/v1/envs/", "scheme": scheme, "headers": headers}
    refusal = Guard(Access.of(Settings())).refusal(scope)
    assert (refusal is None) == passes
    if refusal is not None and origin.startswith("https://localhost") and host == "localhost":
        assert "--trusted-proxy" in refusal.detail


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 303), ("same-site", 403), ("cross-site", 403), ("none", 403), (None, 403)]
)
def test_a_page_whose_origin_is_withheld_is_known_by_its_site(server: Server, site: str | None, status: int) -> None:
    """With `Origin: null`, as from a browser that sends no referrer, it is Sec-Fetch-Site that tells whose page it is."""
    lines = ("Origin: null", *([f"Sec-Fetch-Site: {site}"] if site else []), "Content-Length: 0")
    assert ask(server, "POST", "/login", *lines).status == status


@pytest.mark.parametrize(
    ("method", "path", "lines", "status"),
    [
        ("GET", "/v1/envs/", CROSS_SITE, 403),
        ("GET", "/", CROSS_SITE, 403),
        ("GET", "/static/console.css", CROSS_SITE, 403),
        ("POST", "/v1/shutdown/", CROSS_SITE, 403),
        ("POST", "/v1/shutdown/", NAVIGATION, 403),
        ("GET", "/", NAVIGATION, 200),
        ("HEAD", "/", NAVIGATION, 200),
        ("GET", "/scoreboard", NAVIGATION, 200),
        ("GET", "/ui/", NAVIGATION, 200),
        ("GET", "/v1/envs/", NAVIGATION, 403),
        ("GET", "/v1/envs/0a1b2c3d/action_space/sample", NAVIGATION, 403),
        ("GET", "/", (*CROSS_SITE, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403),
        ("GET", "/", (*CROSS_SITE, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403),
        ("GET", "/v1/envs/", ("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"), 200),
        ("GET", "/v1/envs/", ("Sec-Fetch-Site: same-origin",), 200),
    ],
)
def test_of_another_site_only_a_link_to_a_page_is_followed(
    server: Server, method: str, path: str, lines: tuple[str, ...], status: int
) -> None:
    """Browsers that tell where a request comes from: a top-level navigation to a page passes, and nothing else does."""
    data = ask(server, method, path, *lines) if method != "HEAD" else None
    if data is None:
        text = raw(server.address, "\r\n".join((f"HEAD {path} HTTP/1.0", *lines, "", "")).encode())
        assert text.startswith(f"HTTP/1.1 {status} ".encode())
    else:
        assert data.status == status


def test_a_named_origin_may_use_the_server(friendly: Server) -> None:
    """Its preflight is answered, its requests are served, and its pages may read the replies and what they need of the head."""
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type, idempotency-key")
    answer = ask(friendly, "OPTIONS", "/v1/envs/", f"Origin: {LAB}", *CROSS_SITE, *asked)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == LAB
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"].lower()
    env = friendly.create("CartPole-v1")
    headers = {"Origin": LAB, "Sec-Fetch-Site": "cross-site"}
    for _ in range(3):
        answer = friendly.post(f"{env}/reset/", {}, headers=headers)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == LAB
        assert "Origin" in answer.headers["vary"]
    answer = friendly.post(f"{env}/step/", {"action": 7}, headers=headers)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (400, LAB)
    assert ask(friendly, "GET", "/v1/envs/", f"Origin: {LAB}.evil.example").status == 403
    assert ask(friendly, "GET", "/v1/envs/", "Origin: http://lab.example").status == 403


def test_a_preflight_needs_no_key_and_its_request_does() -> None:
    """A browser's preflight has no key: it passes for a named origin and no other; the request itself is refused."""
    with Server("--api-key", "k" * 32, "--cors-origin", LAB) as server:
        asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
        assert ask(server, "OPTIONS", "/v1/envs/", f"Origin: {LAB}", *asked).status == 200
        assert ask(server, "OPTIONS", "/v1/envs/", "Origin: https://evil.example", *asked).status == 403
        for path in ("/v1/envs/", "/", "/static/console.css", "/nothing"):
            for lines in ((), ("Origin: http://localhost",)):
                assert ask(server, "OPTIONS", path, *lines, *asked).status == 401, (path, lines)
        answer = ask(server, "GET", "/v1/envs/", f"Origin: {LAB}")
        assert answer.status == 401
        answer = ask(server, "GET", "/v1/envs/", f"Origin: {LAB}", f"Authorization: Bearer {'k' * 32}")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, LAB)


def test_any_origin_may_be_allowed() -> None:
    """--cors-origin * lets every page use the server, also by requests that tell no origin."""
    with Server("--cors-origin", "*") as server:
        answer = ask(server, "GET", "/v1/envs/", "Origin: https://anywhere.example", *CROSS_SITE)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert ask(server, "GET", "/v1/envs/", *CROSS_SITE).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (None, 200), ("", 200), ("localhost", 200), ("localhost:5000", 200), ("LocalHost", 200), ("localhost.", 200),
        ("127.0.0.1", 200), ("127.0.0.1:{port}", 200), ("192.168.7.7", 200), ("[::1]", 200), ("[::1]:5000", 200),
        ("[fe80::1]:80", 200),
        ("evil.example", 400), ("evil.example:{port}", 400), ("localhost.evil.example", 400), ("evil.localhost", 400),
        ("localhost@evil.example", 400), ("127.0.0.1.evil.example", 400), ("127.1", 400), ("2130706433", 400),
        ("0x7f.1", 400), ("localhost, evil.example", 400), ("localhost evil", 400), ("[::1", 400), ("[evil]", 400),
        ("\xe9vil", 400), ("localhost/", 400), ("*", 400), ("gym.example", 400),
    ],
)  # fmt: skip
def test_a_host_must_be_the_servers(server: Server, host: str | None, status: int) -> None:
    """A Host that is a name other than localhost is a 400 (DNS rebinding); an address or none passes."""
    if host is None:
        answer = parse_response(raw(server.address, b"GET /v1/health/ HTTP/1.0\r\n\r\n"))
    else:
        answer = ask(server, "GET", "/v1/health/", host=host)
    assert answer.status == status
    if status == 400:
        assert "--allowed-host" in answer.message
        assert answer.json["type"] == "urn:gym-http-server:problem:unknown-host"


@pytest.mark.parametrize("path", ["/", "/ui/", "/openapi.yaml", "/static/icon.svg", "/v1/envs/", "/metrics", "/login"])
def test_no_path_is_served_to_an_unknown_host(server: Server, path: str) -> None:
    """Pages, files and operations alike: a name that was rebound to this machine reads none of them."""
    assert ask(server, "GET", path, "Origin: http://evil.example", host="evil.example").status == 400


def test_a_named_host_passes(friendly: Server) -> None:
    """--allowed-host lets one further name pass, whatever its case, and no other."""
    assert ask(friendly, "GET", "/v1/health/", host="gym.example:5000").status == 200
    assert ask(friendly, "GET", "/v1/health/", "Origin: http://gym.example:5000", host="GYM.example:5000").status == 200
    assert ask(friendly, "GET", "/v1/health/", host="other.example").status == 400
    with Server("--allowed-host", "*") as server:
        assert ask(server, "GET", "/v1/health/", host="whatever.example").status == 200


def test_requests_of_pages_are_refused_in_an_environments_process_as_well() -> None:
    """On a connection that is handed over, a foreign origin or host gets the same answers as elsewhere."""
    with start("handover", "--cors-origin", LAB) as server, Client(server) as client:
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE})).json['instance_id']}"
        client.ask(post(f"{env}/reset/", {}))
        for line, status in (
            (b"Origin: http://evil.example\r\n", 403),
            (b"Sec-Fetch-Site: cross-site\r\n", 403),
            (b"Origin: https://lab.example\r\n", 200),
        ):
            assert client.ask(step(env, "x")).status == 200
            assert owner_of(server, client) is not None
            answer = client.ask(step(env, "x", line))
            assert answer.status == status
            assert answer.headers.get("access-control-allow-origin") == (LAB if status == 200 else None)
        assert client.ask(step(env, "x")).status == 200
        foreign = step(env, "x").replace(b"Host: localhost", b"Host: evil.example")
        assert client.ask(foreign).status == 400
        assert client.ask(step(env, "x")).json["observation"] == 6


LETTERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(LETTERS, LETTERS)
def test_an_origin_passes_only_where_it_is_that_of_the_host(origin: str, host: str) -> None:
    """Of whatever is sent, nothing passes but the same authority behind the same scheme, and that of a known host."""
    scope = {
        "method": "POST",
        "path": "/v1/envs/",
        "scheme": "http",
        "headers": [(b"host", host.encode()), (b"origin", origin.encode())],
    }
    refusal = Guard(Access.of(Settings())).refusal(scope)
    if refusal is None:
        assert origin.lower().removesuffix(":80") == f"http://{host.lower()}".removesuffix(":80") != "http://"
        assert Guard(Access.of(Settings())).refusal({**scope, "headers": [(b"host", host.encode())]}) is None
