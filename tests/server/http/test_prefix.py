"""Behind a proxy that serves the server under a path: everything that leads somewhere stays under it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from websockets.sync.client import connect

from gym_http_server.contract import load_contract
from tests.support import nginx
from tests.support.serving import Answer, Server, parse_response, raw

pytestmark = pytest.mark.full

KEY = "correct-horse-battery-staple"
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
PAGES = ("/", "/environments", "/scoreboard", "/ui/", "/contract", "/manual/left-running", "/nowhere")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--trusted-proxy", "127.0.0.1", "--api-key", KEY) as running:
        yield running


@pytest.fixture(scope="module", params=["nginx", "headers"])
def site(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server under /gym/, by nginx and by the headers that it sends."""
    if request.param == "headers":
        yield Site(server.address, "", ("X-Forwarded-Prefix: /gym/",))
        return
    nginx.require()
    with nginx.proxying(tmp_path_factory.mktemp("nginx"), server.url, "/gym") as url:
        yield Site(nginx.address(url), "/gym", ())


class Site:
    """Where a server is asked for paths.

    Args:
        address: host and port.
        prefix: what its paths begin with there.
        lines: further headers.
    """

    def __init__(self, address: tuple[str, int], prefix: str, lines: tuple[str, ...]) -> None:
        self._address = address
        self._prefix = prefix
        self._lines = lines

    def ask(self, method: str, path: str, *lines: str, body: bytes = b"") -> Answer:
        head = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: 127.0.0.1:{self._address[1]}", "Connection: close"]
        head += [*self._lines, *lines, f"Content-Length: {len(body)}", "", ""]
        return parse_response(raw(self._address, "\r\n".join(head).encode() + body))

    def tell_websocket(self, path: str, message: object) -> Any:
        """Send a message to a WebSocket; return the reply."""
        host, port = self._address
        headers = [("Authorization", f"Bearer {KEY}"), *(tuple(line.split(": ")) for line in self._lines)]
        with connect(f"ws://{host}:{port}{self._prefix}{path}", additional_headers=headers, proxy=None) as websocket:
            websocket.send(json.dumps(message))
            return json.loads(websocket.recv())

    def log_in(self, key: str = KEY, following: str = "/scoreboard") -> Answer:
        form = "Content-Type: application/x-www-form-urlencoded"
        return self.ask("POST", "/login", form, body=urlencode({"key": key, "next": following}).encode())


@pytest.fixture(scope="module")
def cookie(site: Site) -> str:
    return "Cookie: " + site.log_in().headers["set-cookie"].split(";")[0]


@pytest.mark.parametrize("path", PAGES)
def test_links_and_files_of_pages_are_under_the_prefix(site: Site, cookie: str, path: str) -> None:
    """Whatever a page refers to begins with it, and is there."""
    page = site.ask("GET", path, BROWSER, cookie)
    assert page.status == (404 if path == "/nowhere" else 200)
    found = re.findall(r'(?:href|src|action|data-document)="([^"#]+)"', page.body.decode())
    assert len(found) > 8
    for address in set(found) - {"/gym/login/end"}:
        assert address.startswith("/gym/"), address
        answer = site.ask("GET", address.removeprefix("/gym").replace("&amp;", "&"), BROWSER, cookie)
        assert answer.status == 200, address


def test_redirects_and_cookies_are_under_the_prefix(site: Site, cookie: str) -> None:
    """Logging in and out, and a path without its final slash, lead to what is under it; the cookie is sent there alone."""
    answer = site.log_in()
    assert (answer.status, answer.headers["location"]) == (303, "/gym/scoreboard")
    assert "path=/gym;" in f"{answer.headers['set-cookie'].lower().replace(' ', '')};"
    for following in ("", "//evil.example", "/\\evil"):
        assert site.log_in(following=following).headers["location"] == "/gym/"
    assert site.ask("GET", "/ui", cookie).headers["location"].endswith("/gym/ui/")
    other = "Cookie: " + answer.headers["set-cookie"].split(";")[0]
    answer = site.ask("POST", "/login/end", other)
    assert (answer.status, answer.headers["location"]) == (303, "/gym/login")
    assert "path=/gym;" in f"{answer.headers['set-cookie'].lower().replace(' ', '')};"
    assert 'value="/scoreboard"' in site.ask("GET", "/scoreboard", BROWSER).body.decode()
    assert site.log_in("wrong").status == 401


def test_the_documents_server_is_under_the_prefix(site: Site, cookie: str) -> None:
    """In YAML and JSON, and nothing else of it is changed; so is the session with curl on the home page."""
    document = load_contract().document
    expected = {**document, "servers": [{**document["servers"][0], "url": "/gym"}]}
    assert json.loads(site.ask("GET", "/openapi.json", cookie).body) == expected
    text = site.ask("GET", "/openapi.yaml", cookie).body
    assert yaml.safe_load(text) == expected
    differing = [
        line for line in zip(text.splitlines(), load_contract().text.splitlines(), strict=True) if line[0] != line[1]
    ]
    assert len(differing) == 1
    assert "/gym/v1/envs/" in site.ask("GET", "/", cookie).body.decode()


def test_operations_are_answered_under_the_prefix(site: Site) -> None:
    """As they are elsewhere."""
    body, lines = b'{"env_id": "CartPole-v1"}', (f"Authorization: Bearer {KEY}", "Content-Type: application/json")
    instance = site.ask("POST", "/v1/envs/", *lines, body=body).json["instance_id"]
    assert site.ask("POST", f"/v1/envs/{instance}/reset/", *lines, body=b"{}").status == 200
    assert site.ask("POST", f"/v1/envs/{instance}/close/", *lines).status == 200


def test_websockets_are_served_under_the_prefix(site: Site) -> None:
    """Those of OpenEnv."""
    told = site.tell_websocket("/openenv/CartPole-v1/ws", {"type": "reset", "data": {}})
    assert told["type"] == "observation"


def ask(server: Server, prefix: str) -> Answer:
    head = (
        f"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-Prefix: {prefix}\r\n\r\n"
    ).encode()
    return parse_response(raw(server.address, head))


@pytest.mark.parametrize(
    ("prefix", "root"),
    [("/gym", "/gym"), ("/a/b-c_d.e~f/", "/a/b-c_d.e~f"), ("/", ""), ("", ""), ("/evil, /gym", "/gym"), ("/v1", "/v1")],
)
def test_what_is_a_path_is_the_prefix(server: Server, prefix: str, root: str) -> None:
    """With a final slash or without, and of a list what the nearest proxy has added."""
    assert f'action="{root}/login"' in ask(server, prefix).body.decode()


@pytest.mark.parametrize(
    "prefix", ["gym", "//evil.example", "/a//b", "https://evil.example", "/a b", '/"><b>', "/../x", "/a/."]
)
def test_what_is_no_path_is_refused(server: Server, prefix: str) -> None:
    """A prefix that would lead elsewhere is a 400 that says what was expected."""
    answer = ask(server, prefix)
    assert answer.status == 400
    assert "X-Forwarded-Prefix" in answer.message


def test_nobody_else_is_believed() -> None:
    """From an address that is not trusted the header changes nothing."""
    with Server("--api-key", KEY) as server:
        assert 'action="/login"' in ask(server, "/gym").body.decode()
