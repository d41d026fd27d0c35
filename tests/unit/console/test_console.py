"""The console, on a view that each test fills."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import flask
import pytest

from gym_http_server.console import InstanceRow, create_console
from gym_http_server.console.formatting import age
from gym_http_server.console.pages import MAX_ROWS

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


@dataclass
class View:
    version: str = "9.8.7"
    started_at: datetime = field(default_factory=lambda: ago(hours=2, minutes=5))
    engine: str = "process"
    found: dict[str, str] = field(default_factory=lambda: {"gymnasium": "1.2.3", "gym": "0.26.2"})
    rows: list[InstanceRow] = field(default_factory=list)

    def cluster(self):
        return None

    def libraries(self):
        return self.found

    def sums(self):
        return len(self.rows), sum(row.steps for row in self.rows)

    def newest(self, most):
        return sorted(self.rows, key=lambda row: row.created_at, reverse=True)[:most]

    def watchable(self, most):
        return self.newest(most)


ROW = InstanceRow(
    instance_id="5f2b9c1e",
    env_id="CartPole-v1",
    library="gymnasium 1.2.3",
    engine="process",
    state="ready",
    steps=12345,
    episodes=67,
    created_at=ago(days=3, hours=4),
    last_used_at=ago(hours=2),
)


@pytest.fixture
def view():
    return View()


@pytest.fixture
def browser(view):
    return create_console(view).test_client()


def cells(page):
    """Return the text of each cell of the table's body, row by row."""
    body = re.search(r"<tbody.*?</tbody>", page, re.DOTALL)[0]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [
        [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_a_batch_shows_its_lanes(view, browser):
    """A row of a batch says how many environments it is, and that of a single one does not."""
    view.rows = [replace(ROW, num_envs=16), replace(ROW, instance_id="00000000", last_used_at=ago(hours=1))]
    shown = {row[0]: row[1] for row in cells(browser.get("/", headers=BROWSER).text)}
    assert shown == {"5f2b9c1e": "CartPole-v1 \N{MULTIPLICATION SIGN} 16", "00000000": "CartPole-v1"}


def test_the_home_page_shows_the_server(browser):
    """The home page shows version, engine, time up and the libraries found."""
    reply = browser.get("/", headers=BROWSER)
    assert reply.status_code == 200
    assert reply.content_type == "text/html; charset=utf-8"
    text = " ".join(re.sub("<[^>]*>", " ", reply.text).split())
    for expected in ("Version 9.8.7", "Engine process", "Up for 2 h 5 min", "gym 0.26.2 gymnasium 1.2.3"):
        assert expected in text


def test_the_home_page_links_the_api_page_and_the_contract(browser):
    """The home page links `/ui/`, `/openapi.yaml` and `/openapi.json`, under the path where the app is mounted."""
    for prefix in ("", "/gym"):
        page = browser.get("/", environ_overrides={"SCRIPT_NAME": prefix}).text
        assert {f"{prefix}/ui/", f"{prefix}/openapi.yaml", f"{prefix}/openapi.json"} <= set(
            re.findall('href="(.*?)"', page)
        )


def test_the_home_page_shows_a_row_for_each_instance(view, browser):
    """Each live instance is a row with its id, environment, library, engine, state, steps, episodes and age."""
    view.rows = [ROW, replace(ROW, instance_id="00000001", state="lost", created_at=ago(minutes=1, seconds=1))]
    rows = cells(browser.get("/").text)
    assert [row[0] for row in rows] == ["00000001", "5f2b9c1e"]
    assert rows[1][1:7] == ["CartPole-v1", "gymnasium 1.2.3", "process", "ready", "12,345", "67"]
    assert re.fullmatch(r"3 d 4 h idle 2 h \d+ min", rows[1][7])
    assert rows[0][4] == "lost"


def test_every_cell_is_labelled_by_its_column(view, browser):
    """Every column has a header of scope col, and every cell carries its column's name for narrow screens."""
    view.rows = [ROW]
    page = browser.get("/").text
    headers = re.findall(r'<th [^>]*scope="col"[^>]*>(.*?)</th>', page)
    assert headers == re.findall(r'data-label="(.*?)"', page)


def test_a_crowd_is_cut_to_its_newest(view, browser):
    """Of very many instances the newest are shown, with how many there are."""
    view.rows = [replace(ROW, instance_id=f"{n:08x}", created_at=ago(minutes=n)) for n in range(MAX_ROWS + 1)]
    page = browser.get("/").text
    shown = [row[0] for row in cells(page)]
    assert shown == [f"{n:08x}" for n in range(MAX_ROWS)]
    assert f"the newest {MAX_ROWS} of {MAX_ROWS + 1}" in page


def test_values_are_escaped(view, browser):
    """Text that comes from a client cannot become markup."""
    view.rows = [replace(ROW, env_id="<script>alert(1)</script>", state='"><b>')]
    page = browser.get("/").text
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_without_instances_a_session_in_curl_is_shown(browser):
    """The empty state shows create, reset and step in curl, with the address that the reader used."""
    page = browser.get("/", base_url="http://lab.example:8080").text
    assert "<table" not in page
    session = re.search("<pre.*?</pre>", page, re.DOTALL)[0].splitlines()
    assert len(session) == 3
    for line, path in zip(session, ("/v1/envs/", "/v1/envs/$ID/reset/", "/v1/envs/$ID/step/"), strict=True):
        assert f"http://lab.example:8080{path} " in f"{re.sub('<[^>]*>', '', line)} "


@pytest.mark.parametrize(("engine", "noted"), [("inline", True), ("process", False)])
def test_the_inline_engine_is_noted(view, browser, engine, noted):
    """The page says what the `inline` engine means where it is the engine, and only there."""
    view.engine = engine
    note = "environments run inside the server's process, one call at a time in all, without isolation"
    assert (note in " ".join(browser.get("/").text.split())) is noted


def test_pages_allow_their_own_files_only(browser):
    """Every answer carries the security headers, and no page holds an inline script, an inline style or a foreign file."""
    for path in ("/", "/nope", "/static/console.css"):
        with browser.get(path, headers=BROWSER) as reply:
            assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "same-origin"
    page = browser.get("/").text
    assert "<style" not in page
    assert not re.search(r"<[^>]* (style|on\w+)=", page)
    scripts = re.findall("<script[^>]*>", page)
    assert scripts
    assert all("src=" in tag for tag in scripts)
    addresses = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(.*?)"', page)
    assert len(addresses) >= 3
    assert all(address.startswith("/") for address in addresses)


def test_every_file_that_the_page_names_is_served(browser):
    """The style sheet, the script and the icon of the home page exist and may be cached, the page itself may not."""
    page = browser.get("/")
    assert page.headers["Cache-Control"] == "no-store"
    addresses = {address for address in re.findall(r'(?:src|href)="(.*?)"', page.text) if "/static/" in address}
    assert len(addresses) == 3
    for address in addresses:
        with browser.get(address) as reply:
            assert reply.status_code == 200
            assert reply.headers["Cache-Control"] != "no-store"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.5"])
def test_a_program_gets_an_error_as_problem_details(browser, accept):
    """An error is problem details with `message`, the text of `detail`, for who does not prefer HTML."""
    reply = browser.get("/nope", headers={} if accept is None else {"Accept": accept})
    assert reply.status_code == 404
    assert reply.content_type == "application/problem+json"
    problem = reply.get_json()
    assert problem["detail"] == problem["message"]
    assert "'/nope'" in problem["detail"]
    assert {key: problem[key] for key in ("type", "title", "status")} == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
    }


def test_a_person_gets_an_error_as_a_page(browser):
    """An error is an HTML page, with what was asked for escaped, for who prefers HTML."""
    reply = browser.get("/<b>", headers=BROWSER)
    assert reply.status_code == 404
    assert reply.content_type == "text/html; charset=utf-8"
    assert "Not Found" in reply.text
    assert "<b>" not in reply.text


@pytest.mark.parametrize("headers", [BROWSER, {}])
def test_a_wrong_method_is_answered_with_allow(browser, headers):
    """A method that a page does not serve is a 405 with Allow, as a page and as problem details."""
    reply = browser.post("/", headers=headers)
    assert reply.status_code == 405
    assert {"GET", "HEAD"} <= set(reply.headers["Allow"].split(", "))


@pytest.mark.parametrize("headers", [BROWSER, {}])
def test_an_unexpected_exception_is_logged_and_not_shown(view, headers, caplog):
    """A page that raises is a 500 that holds nothing of the exception, which the log has."""

    def fail():
        raise RuntimeError("a secret")

    view.sums = fail
    with caplog.at_level(logging.ERROR):
        reply = create_console(view).test_client().get("/", headers=headers)
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text
    assert "RuntimeError: a secret" in caplog.text


def test_an_error_keeps_the_words_it_was_raised_with(view):
    """What a page says when it refuses reaches the reader."""
    app = create_console(view)
    app.add_url_rule("/refuse", view_func=lambda: flask.abort(404, "no training directory 'x'"))
    assert app.test_client().get("/refuse").get_json()["detail"] == "no training directory 'x'"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_an_age_is_told_in_its_two_largest_units(seconds, words):
    """A span of time is told in its two largest units."""
    assert age(timedelta(seconds=seconds)) == words
