"""Every flow that a person takes through the pages, in Chromium: with a key and without, at the root and under a path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gym_http_server.client import Client

from ..support.driver import Browser
from ..support.serving import Answer, Server, parse_response, raw
from .conftest import Site, expect_refusal

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("site", ["key", "key under a path"], indirect=True)
def test_logging_in_and_out(site: Site) -> None:
    """A wrong key is refused on the form, the right one leads to the page that was asked for, logging out ends the session."""
    browser = site.browser
    browser.driver.delete_all_cookies()
    browser.open(f"{site.url}/scoreboard")
    assert browser.heading == "Log in"
    browser.log_in("not the key")
    assert "not the key" in browser.find(".note.bad").text
    browser.log_in(site.key)
    assert (browser.url, browser.heading) == (f"{site.url}/scoreboard", "Scoreboard")
    expect_refusal(site, 401)
    [kept] = browser.driver.get_cookies()
    assert kept["path"] == (urlsplit(site.url).path or "/")
    browser.submit("nav form button")
    assert (browser.url, browser.heading) == (f"{site.url}/login", "Log in")
    assert browser.driver.get_cookies() == []
    assert ask(site.server, "/", f"Cookie: {kept['name']}={kept['value']}").status == 401
    browser.open(f"{site.url}/environments")
    assert browser.heading == "Log in"
    expect_refusal(site, 401)


def ask(server: Server, path: str, *lines: str) -> Answer:
    head = "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""))
    return parse_response(raw(server.address, head.encode()))


def test_every_link_leads_somewhere(site: Site) -> None:
    """From the home page on, every link of every page is to a page or file that is there, on this server and under its path."""
    browser = site.open("/")
    seen, waiting = {f"{site.url}/"}, [f"{site.url}/"]
    while waiting:
        address = waiting.pop()
        if "/openapi." in address or "/videos/" in address or "/v1/" in address:
            status = browser.run("const done = arguments[0]; return fetch(done).then((r) => r.status)", address)
            assert status == 200, address
            continue
        browser.open(address)
        if address.endswith("/ui/"):
            browser.find(".opblock")
        assert browser.heading not in ("Log in", "Not Found")
        for link in browser.links() - seen:
            if urlsplit(link).netloc != urlsplit(site.url).netloc:
                # Of the contract, such as its licence's, and of the manual, such as Gymnasium's.
                assert address.endswith("/ui/") or "/manual" in address, (address, link)
                continue
            assert link.startswith(f"{site.url}/"), (address, link)
            seen.add(link)
            # One page of a long list stands for the others.
            if "page=" not in link and ("/instances/new?" not in link or link.count("CartPole-v1")):
                waiting.append(link)
    paths = {each.removeprefix(site.url) for each in seen}
    assert {
        "/",
        "/watch",
        "/environments",
        "/scoreboard",
        "/ui/",
        "/contract",
        "/manual",
        "/openapi.yaml",
        "/openapi.json",
    } <= paths
    assert f"/scoreboard/{site.evaluation}" in paths
    # Pages, files and what scripts fetched.
    replies = browser.answered()
    assert len(replies) > 20
    assert [(url, status) for url, status in replies if status >= 400 or not url.startswith(f"{site.url}/")] == []


class Operation:
    """An operation on the API page, tried out.

    Args:
        browser: has the page open.
        tag: the operation's tag.
        operation_id: its name.
    """

    def __init__(self, browser: Browser, tag: str, operation_id: str) -> None:
        self._browser = browser
        self._place = f"#operations-{tag}-{operation_id}"
        browser.click(f"{self._place} .opblock-summary-control")
        browser.click(f"{self._place} .try-out button")

    def fill(self, parameter: str, value: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self._browser.find(f"{self._place} tr[data-param-name='{parameter}'] input").send_keys(Keys.CONTROL, "a")
        self._browser.find(f"{self._place} tr[data-param-name='{parameter}'] input").send_keys(value)

    def execute(self) -> tuple[str, dict]:
        """Send the request as the page has it; return status and body of the reply."""
        if self._browser.all(f"{self._place} .btn-clear"):
            self._browser.click(f"{self._place} .btn-clear")
        self._browser.click(f"{self._place} .execute")
        status = self._browser.find(f"{self._place} .live-responses-table .response .response-col_status").text
        body = self._browser.find(f"{self._place} .live-responses-table .response .highlight-code").text
        return status.split()[0], json.loads(re.search(r"\{.*\}", body, re.DOTALL)[0])


@pytest.mark.parametrize("site", ["key under a path"], indirect=True)
def test_a_session_is_tried_out(site: Site) -> None:
    """createEnv, reset, step and close, each with the example that the page proposes; again it is another instance."""
    browser = site.open("/ui/")
    browser.click(".btn.authorize")
    browser.find(".modal-ux input").send_keys(site.key)
    browser.click(".modal-ux .btn.authorize")
    browser.click(".modal-ux .btn-done")
    create = Operation(browser, "instances", "createEnv")
    instances = [create.execute() for _ in range(2)]
    assert [status for status, _ in instances] == ["200", "200"]
    ids = [body["instance_id"] for _, body in instances]
    assert len(set(ids)) == 2
    for operation_id, tag, member in (
        ("resetEnv", "episodes", "observation"), ("stepEnv", "episodes", "reward"), ("closeEnv", "instances", None),
    ):  # fmt: skip
        operation = Operation(browser, tag, operation_id)
        for instance_id in ids:
            operation.fill("instance_id", instance_id)
            status, body = operation.execute()
            assert status == "200", (operation_id, body)
            assert member is None or member in body


def test_a_session_is_enough_for_an_operation(site: Site) -> None:
    """Who has logged in, or needs no key, need not give one on the page of operations."""
    browser = site.open("/ui/")
    status, body = Operation(browser, "instances", "createEnv").execute()
    assert status == "200"
    with Client(site.server.url, api_key=site.key or None) as client:
        client.close_env(body["instance_id"])


def test_a_search(site: Site) -> None:
    """The environments are found by words of their ids, and the form keeps what was asked for."""
    browser = site.open("/environments")
    browser.find("input[name=q]").send_keys("cartpole v1")
    browser.submit(".search button")
    assert "CartPole-v1" in browser.find(".environments").text
    assert "Acrobot" not in browser.find(".environments").text
    assert browser.find("input[name=q]").get_property("value") == "cartpole v1"


def test_a_video_plays(site: Site) -> None:
    """From the scoreboard to an evaluation, whose video plays and can be downloaded."""
    browser = site.open("/scoreboard")
    browser.submit(f"a[href$='{site.evaluation}']")
    browser.find("video")
    browser.run("const video = document.querySelector('video'); video.muted = true; video.play()")
    browser.until(
        lambda: browser.run("return document.querySelector('video').currentTime") > 0.1, "the video does not play"
    )
    assert browser.run("return document.querySelector('video').videoWidth") == 128


def test_the_contract_is_shown_and_downloaded(site: Site, tmp_path: Path) -> None:
    """The navigation leads to a page that shows it; the file comes only to who asks for it."""
    browser = site.open("/")
    browser.submit("nav a[href$='/contract']")
    assert browser.heading == "Contract"
    assert "operationId: createEnv" in browser.find(".document").text
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.click("a[download='openapi.yaml']")
    browser.until((tmp_path / "openapi.yaml").exists, "nothing was downloaded")
    assert "openapi: 3.0.3" in (tmp_path / "openapi.yaml").read_text()[:100]


def test_live_instances_appear(site: Site) -> None:
    """The home page shows, without being loaded again, an instance that is made meanwhile."""
    browser = site.open("/")
    with Client(site.server.url, api_key=site.key or None) as client:
        instance_id = client.create_env("CartPole-v1")["instance_id"]
        browser.until(lambda: instance_id in browser.find("#live").text, "the page does not show it")
        client.close_env(instance_id)


@pytest.mark.parametrize("path", ["/nowhere", "/scoreboard/nothing", "/environments/nothing"])
def test_an_error_is_a_page(site: Site, path: str) -> None:
    """It says what is wrong, and leads home."""
    browser = site.open(path)
    browser.open(site.url + path)
    assert browser.find(".status").text == "404"
    browser.submit("main a")
    assert browser.url == f"{site.url}/"
    expect_refusal(site, 404)
