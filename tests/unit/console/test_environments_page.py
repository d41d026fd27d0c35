"""The page of the environments that can be made, on a registry in memory and in front of a real server."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

from gym_http_server.console import create_console, environments
from gym_http_server.errors import InquiryFailedError
from gym_http_server.runtime.registry.registered import RegisteredEnv
from tests.support.serving import SECONDS, Answer, Server, eventually

from .test_console import BROWSER, View, cells

CARTPOLE = RegisteredEnv(
    "CartPole-v1",
    "gymnasium",
    installed=True,
    max_episode_steps=1500,
    reward_threshold=-475.5,
    vector_entry_point="a.b:C",
    render_modes=["human", "rgb_array"],
)
JAX = RegisteredEnv(
    "phys2d/CartPole-v1", "gymnasium", installed=False, missing_package="gymnasium[jax]", reason="No module named 'jax'"
)


@dataclass
class Registry:
    rows: list[RegisteredEnv] = field(default_factory=lambda: [CARTPOLE, JAX])
    future: Future[tuple[RegisteredEnv, ...]] | None = None
    others: dict[str, Future[tuple[RegisteredEnv, ...]]] = field(default_factory=dict)

    def ask(self, _):
        if self.future is not None:
            return {"gymnasium": self.future, **self.others}
        done = Future()
        done.set_result(tuple(self.rows))
        return {"gymnasium": done, **self.others}


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def browser(registry):
    return create_console(View(), registry=registry).test_client()


def test_a_row_says_what_an_environment_is_and_lacks(browser):
    """Library, whether it is installed, steps, threshold, render modes and vector implementation, a dash for none, and a link to make one."""
    reply = browser.get("/environments", headers=BROWSER)
    assert reply.status_code == 200
    made, lacks = cells(reply.text)
    assert made == [
        *(
            "CartPole-v1",
            "gymnasium",
            "yes",
            "1,500",
            "\N{MINUS SIGN}475.5",
            "human, rgb_array",
            "of its own",
            "Make one",
        )
    ]
    assert lacks[2] == "needs gymnasium[jax] No module named &#39;jax&#39;"
    assert lacks[3:] == ["\N{EN DASH}"] * 4 + [""]
    assert "1 to 2 of 2, of which 1 can be made" in " ".join(reply.text.split())


def test_a_search_needs_no_script(registry, browser):
    """A form sends words and library, which the page finds by and shows again."""
    registry.rows.append(replace(CARTPOLE, library="gym"))
    page = browser.get("/environments?q=POLE+v1&library=gym").text
    assert [row[:2] for row in cells(page)] == [["CartPole-v1", "gym"]]
    assert 'value="POLE v1"' in page
    assert "<option selected>gym</option>" in page
    assert len(cells(browser.get("/environments?library=nonsense&page=x").text)) == 3
    assert "<script" not in page


def test_what_is_not_found_is_said_and_escaped(browser):
    """No row is no empty table, and a search cannot become markup."""
    page = browser.get("/environments?q=<b>").text
    assert "<table" not in page
    assert "<b>" not in page
    assert "<code>&lt;b&gt;</code>" in page


def test_values_of_third_parties_are_escaped(registry, browser):
    """What a package registers cannot become markup, either."""
    evil = "<script>alert(1)</script>"
    registry.rows = [replace(JAX, env_id=evil, reason=evil, missing_package=evil, render_modes=[evil]), CARTPOLE]
    registry.rows.append(replace(CARTPOLE, env_id=evil, vector_entry_point=f'">{evil}'))
    assert "<script" not in browser.get("/environments").text


def test_pages_lead_to_each_other(registry, browser):
    """Each shows its part, keeps the search, and links the one before and after it; one beyond the last is the last."""
    registry.rows = [replace(CARTPOLE, env_id=f"A-v{n}") for n in range(2 * environments.ROWS + 5)]
    seen, address = [], "/environments?q=a"
    while address:
        page = browser.get(address).text
        seen += [row[0] for row in cells(page)]
        found = re.search('<a rel="next" href="(.*?)"', page)
        address = found and found[1].replace("&amp;", "&")
        assert address is None or "q=a" in address
    assert seen == [row.env_id for row in registry.rows]
    assert 'rel="prev"' in page
    assert cells(browser.get("/environments?page=99").text) == cells(page)
    assert cells(browser.get("/environments?page=-1").text)[0][0] == "A-v0"


def test_while_the_libraries_are_asked_the_page_says_so_and_loads_again(registry, browser, monkeypatch):
    """A person is not left waiting, and a program is told to try later."""
    monkeypatch.setattr(environments, "WAIT_SECONDS", 0.01)
    registry.future = Future()
    reply = browser.get("/environments?q=x", headers=BROWSER)
    assert reply.status_code == 503
    assert reply.headers["Refresh"] == reply.headers["Retry-After"]
    assert "loads again by itself" in reply.text
    registry.future.set_result((CARTPOLE,))
    assert browser.get("/environments").status_code == 200


def test_libraries_that_cannot_be_asked_are_a_page_that_says_why(registry, browser):
    """A module that hangs is a 502 with its name, for people and programs."""
    registry.future = Future()
    registry.future.set_exception(InquiryFailedError("the import of robot was not over after 5 s", module="robot"))
    for headers, media_type in ((BROWSER, "text/html"), ({}, "application/problem+json")):
        reply = browser.get("/environments", headers=headers)
        assert (reply.status_code, reply.mimetype) == (502, media_type)
        assert "import of robot" in reply.text


def test_a_library_that_cannot_be_asked_hides_nothing(registry, browser):
    """The page says which and why, and lists what is known, whichever it is; the libraries of their own are in the search."""
    failed, known = Future(), Future()
    failed.set_exception(InquiryFailedError("no licence"))
    known.set_result((replace(CARTPOLE, library="envpool"),))
    registry.others = {"stable-retro": failed, "envpool": known}
    page = browser.get("/environments").text
    assert [row[:2] for row in cells(page)] == [
        ["CartPole-v1", "gymnasium"],
        ["CartPole-v1", "envpool"],
        ["phys2d/CartPole-v1", "gymnasium"],
    ]
    assert re.search(r"Library <code>stable-retro</code>\s+cannot be asked what it registers: no licence", page)
    registry.future = failed
    assert [row[1] for row in cells(browser.get("/environments?library=envpool").text)] == ["envpool"]


def test_the_page_allows_its_own_files_only_and_is_linked(browser):
    """Its style sheet is served, nothing is inline, cells are labelled, and every page leads to it."""
    page = browser.get("/environments").text
    assert not re.search(r"<style|<[^>]* (style|on\w+)=", page)
    for address in re.findall(r'(?:src|href)="([^"]*/static/.*?)"', page):
        with browser.get(address) as reply:
            assert reply.status_code == 200
    row = page[page.index("<tbody") : page.index("</tr>", page.index("<tbody"))]
    assert re.findall(r'<th [^>]*scope="col"[^>]*>(.*?)</th>', page) == re.findall(r'data-label="(.*?)"', row)
    assert browser.get("/").text.count('href="/environments"') == 2
    assert "/environments" not in create_console(View()).test_client().get("/").text


def test_a_server_shows_its_environments(server: Server) -> None:
    """The page has what the operation lists, on every engine."""

    def page() -> Answer:
        return server.get("/environments?q=cartpole-v1+&library=gym", headers=BROWSER, check=False)

    # On a loaded machine the imports may take longer than a page waits.
    eventually(lambda: page().status != 503, SECONDS)
    assert [row[:3] for row in cells(page().body.decode())] == [["CartPole-v1", "gym", "yes"]]
