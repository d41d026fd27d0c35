"""What goes wrong with a page, or with a form, is told by a page to a person and by problem details to a program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import start
from ..support.serving import Answer, Server, parse_response, raw

KEY = "correct-horse-battery-staple"
PERSON = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FORM = "Content-Type: application/x-www-form-urlencoded"
EVIL = "Origin: http://evil.example"


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server that requires a key."""
    with start("process", "--api-key", KEY) as running:
        yield running


def ask(server: Server, method: str, path: str, *lines: str, body: bytes = b"") -> Answer:
    host = () if any(line.startswith("Host:") for line in lines) else ("Host: localhost",)
    head = (f"{method} {path} HTTP/1.1", *host, *lines, "Connection: close", f"Content-Length: {len(body)}", "", "")
    return parse_response(raw(server.address, "\r\n".join(head).encode() + body), method)


CASES = {
    "no page": ("GET", "/nowhere", (), 404),
    "no method": ("DELETE", "/scoreboard", (), 405),
    "no method of the document": ("POST", "/openapi.yaml", (), 405),
    "no evaluation": ("GET", "/scoreboard/nothing", (), 404),
    "a form of another origin": ("POST", "/login", (EVIL,), 403),
    "a page of another origin": ("GET", "/", (EVIL,), 403),
    "a form without an origin": ("POST", "/login/end", ("Origin: null",), 403),
    "another host": ("GET", "/", ("Host: evil.example",), 400),
    "a large form": ("POST", "/login", (FORM,), 413),
    "no session": ("GET", "/scoreboard", (), 401),
    "no session for a file": ("GET", "/static/refresh.js", (), 401),
    "no session for what a form does": ("POST", "/scoreboard", (), 401),
}


@pytest.mark.parametrize(("method", "path", "lines", "status"), CASES.values(), ids=CASES)
def test_an_error_is_a_page_to_a_person_and_a_problem_to_a_program(
    locked: Server, method: str, path: str, lines: tuple[str, ...], status: int
) -> None:
    """Both have the same status and words; the page is the console's, with its headers, and its files are open."""
    body = b"key=" + b"x" * 20_000 if status == 413 else b""
    key = () if status == 401 else (f"Authorization: Bearer {KEY}",)
    page = ask(locked, method, path, PERSON, *lines, *key, body=body)
    problem = ask(locked, method, path, *lines, *key, body=body)
    assert (page.status, problem.status) == (status, status)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert problem.headers["content-type"] == "application/problem+json"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert page.headers.get("allow") == problem.headers.get("allow")
    assert page.headers.get("www-authenticate") == problem.headers.get("www-authenticate")
    text = page.body.decode()
    assert '<link rel="stylesheet" href="/login/console.css' in text
    if status == 401:
        assert 'type="password"' in text
    else:
        assert problem.message[:20].replace("'", "&#39;") in text


def test_an_operation_answers_in_problem_details(locked: Server) -> None:
    """Also to a browser: what it asks for is no page."""
    for method, path in (("GET", "/v1/envs/"), ("POST", "/v1/envs/"), ("GET", "/metrics"), ("GET", "/v1/nowhere")):
        answer = ask(locked, method, path, PERSON)
        assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")


def test_what_is_refused_is_counted_with_what_was_sent(locked: Server) -> None:
    """A page that refuses is in the metrics as a problem is."""

    def sent() -> float:
        text = locked.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).body.decode()
        [line] = [
            line for line in text.splitlines() if line.startswith('gym_http_server_sent_bytes_total{operation="none"}')
        ]
        return float(line.split()[1])

    ask(locked, "GET", "/", EVIL)
    before = sent()
    page = ask(locked, "GET", "/", PERSON, EVIL)
    assert sent() - before == len(page.body)
