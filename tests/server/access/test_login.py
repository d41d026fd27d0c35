"""Logging in: the key for a cookie that opens the pages, and the operations for these pages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.api.guard.security import COOKIE, SESSION_SECONDS, Access, Guard, Sessions
from tests.conftest import start
from tests.support.serving import Answer, Server, parse_response, raw

KEY = "correct-horse-battery-staple"
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server that requires a key."""
    with start("process", "--api-key", KEY) as running:
        yield running


def get(server: Server, path: str, *lines: str, method: str = "GET") -> Answer:
    head = (f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", "")
    return parse_response(raw(server.address, "\r\n".join(head).encode("latin-1")), method)


def log_in(server: Server, key: str, following: str = "/", *lines: str) -> Answer:
    body = urlencode({"key": key, "next": following}).encode()
    head = ("POST /login HTTP/1.1", "Host: localhost", "Connection: close", *lines,
            "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", "", "")  # fmt: skip
    return parse_response(raw(server.address, "\r\n".join(head).encode() + body))


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].split(";")[0]


def test_a_person_without_a_session_is_asked_for_the_key(locked: Server) -> None:
    """A page asked for by a browser is a 401 that is the form, which leads back to that page; a program gets a problem."""
    answer = get(locked, "/scoreboard?env_id=x", BROWSER)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert 'name="next" value="/scoreboard"' in answer.body.decode()
    for path in re.findall(r'(?:href|src)="([^"]*\.(?:css|svg)[^"]*)"', answer.body.decode()):
        assert get(locked, path).status == 200
    assert get(locked, "/", "Accept: */*").headers["content-type"] == "application/problem+json"
    assert get(locked, "/v1/envs/", BROWSER).headers["content-type"] == "application/problem+json"
    assert get(locked, "/login", BROWSER).status == 200


def test_the_key_gives_a_session_that_opens_the_pages(locked: Server) -> None:
    """The cookie is for HTTP alone, for this site alone and for a time, and holds nothing of the key."""
    answer = log_in(locked, KEY, "/scoreboard")
    assert (answer.status, answer.headers["location"]) == (303, "/scoreboard")
    attributes = {each.strip().lower() for each in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes  # twelve hours
    assert KEY not in answer.headers["set-cookie"]
    for path in ("/", "/scoreboard", "/static/console.css", "/ui/", "/contract", "/openapi.yaml", "/openapi.json"):
        assert get(locked, path, BROWSER, f"Cookie: {cookie_of(answer)}").status == 200
    page = get(locked, "/", BROWSER, f"Cookie: other=1; {cookie_of(answer)}").body.decode()
    assert "Log out" in page
    assert KEY not in page


@pytest.mark.parametrize(
    ("method", "path", "lines", "is_served"),
    [
        ("GET", "/v1/envs/", ["Sec-Fetch-Site: same-origin"], True),
        ("GET", "/v1/envs/", ["Sec-Fetch-Site: none"], True),
        ("GET", "/v1/envs/", [], True),
        ("POST", "/v1/leases/", ["Sec-Fetch-Site: same-origin", "Origin: http://localhost"], True),
        ("POST", "/v1/leases/", ["Origin: http://localhost"], True),
        ("POST", "/v1/leases/", [], False),
        ("POST", "/v1/leases/", ["Sec-Fetch-Site: same-site"], False),
        ("GET", "/v1/envs/", ["Sec-Fetch-Site: same-site"], False),
        ("GET", "/metrics", ["Sec-Fetch-Site: same-site"], False),
        ("POST", "/v1/leases/", ["Origin: https://lab.example"], False),
    ],
)
def test_a_session_opens_operations_for_own_pages(method: str, path: str, lines: list[str], is_served: bool) -> None:
    """Other pages of the same site, such as those of other ports, act with no session, and allowed origins neither."""
    guard = Guard(
        Access(sha256(KEY.encode()).hexdigest(), ("localhost",), ("https://lab.example",)), sessions := Sessions()
    )
    fields = [line.split(": ") for line in ("Host: localhost", f"Cookie: {COOKIE}={sessions.begin()}", *lines)]
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    scope = {"method": method, "path": path, "headers": headers, "scheme": "http", "http_version": "1.1"}
    problem = guard.refusal(scope)
    assert (problem is None, problem and problem.status) == (is_served, None if is_served else 401)


def test_a_wrong_key_gives_no_session(locked: Server) -> None:
    """The form comes again, as a 401 that says so."""
    for key in ("", "nope", KEY + "x", KEY[:-1], "\N{SNOWMAN}"):
        answer = log_in(locked, key)
        assert answer.status == 401
        assert "set-cookie" not in answer.headers
        assert "That is not the key" in answer.body.decode()
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "value",
    ["", "x", "x.y.z", f"{KEY}", "%00", '"', "a" * 5000, "deadbeef.aSZMA.kCD8XZke95BhytyQ5giY7zxLqCA", "\xe9"],
)
def test_a_session_cannot_be_made_up(locked: Server, value: str) -> None:
    """A cookie that this server has not signed opens nothing."""
    assert get(locked, "/", f"Cookie: {COOKIE}={value}").status == 401


@pytest.mark.parametrize("other", ['pref={"a":1}', "flag", "t=a b c", "x[y]=1", "=", "", f"{COOKIE}=of-another-server"])
def test_a_cookie_of_another_program_is_in_nobodys_way(locked: Server, other: str) -> None:
    """Cookies do not tell ports apart: whatever others on this host have set, before or behind, the session goes on."""
    session = cookie_of(log_in(locked, KEY))
    for cookies in (f"{other}; {session}", f"{session}; {other}"):
        assert get(locked, "/", f"Cookie: {cookies}").status == 200


def test_a_session_of_another_server_opens_nothing(locked: Server) -> None:
    """Sessions end with the server, also where the next one has the same key."""
    with Server("--api-key", KEY) as other:
        session = cookie_of(log_in(other, KEY))
        assert get(other, "/", f"Cookie: {session}").status == 200
    assert get(locked, "/", f"Cookie: {session}").status == 401


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, and when the person logs out."""
    sessions = Sessions()
    cookie = f"{COOKIE}={sessions.begin()}"
    assert sessions.holds(cookie)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + SESSION_SECONDS - 60)
    assert sessions.holds(cookie)
    monkeypatch.setattr("time.monotonic", lambda: now + SESSION_SECONDS + 60)
    assert not sessions.holds(cookie)
    sessions.begin()
    assert len(sessions._ends) == 1  # nothing is kept of the first


def test_logging_out_ends_the_session(locked: Server) -> None:
    """The cookie expires at once, the form comes, and whoever has kept the cookie gets in by it no more; others stay."""
    session, other = cookie_of(log_in(locked, KEY)), cookie_of(log_in(locked, KEY))
    answer = get(locked, "/login/end", f"Cookie: {session}", "Content-Length: 0", method="POST")
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert get(locked, "/", f"Cookie: {session}").status == 401
    assert get(locked, "/", f"Cookie: {other}").status == 200
    assert get(locked, "/login/end", f"Cookie: {session}", "Content-Length: 0", method="POST").status == 303


@pytest.mark.parametrize(
    "following", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "", "javascript:x", "/a\r\nb"]
)
def test_the_form_leads_nowhere_else(locked: Server, following: str) -> None:
    """What is no path of this server is the home page instead."""
    assert log_in(locked, KEY, following).headers["location"] == "/"


def test_the_cookie_is_for_tls_alone_where_there_is_tls() -> None:
    """Behind a trusted proxy that speaks TLS the cookie is never sent without."""
    with Server("--api-key", KEY, "--trusted-proxy", "127.0.0.1") as server:
        assert "Secure" in log_in(server, KEY, "/", "X-Forwarded-Proto: https").headers["set-cookie"]
        assert "Secure" not in log_in(server, KEY).headers["set-cookie"]


def test_an_open_server_asks_nobody() -> None:
    """Its form leads to the home page, and its pages link to the API."""
    with Server() as server:
        assert get(server, "/login").status == 303
        page = get(server, "/", BROWSER).body.decode()
        assert "/ui/" in page
        assert "Log out" not in page


@given(st.text(max_size=60))
def test_no_text_is_a_session(text: str) -> None:
    """Whatever a Cookie header holds, it is no session, and never an error."""
    sessions = Sessions()
    assert not sessions.holds(text)
    assert not sessions.holds(f"{COOKIE}={text}")
