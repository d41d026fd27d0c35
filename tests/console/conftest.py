"""A server as a browser reaches it, shared by the files of this folder: with a key and without, at the root and under a path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gym_http_server.client import Client

from ..support import driver, nginx
from ..support.driver import Browser, browsing
from ..support.films import film
from ..support.recordings import record
from ..support.serving import Server

KEY = "correct-horse-battery-staple"
SITES = ("open", "key under a path")
"""Besides `key` at the root, which only the log-in tells from them."""


@dataclass
class Site:
    """A server as a browser reaches it."""

    url: str
    key: str
    server: Server
    browser: Browser
    evaluation: str
    downloads: Path

    def open(self, path: str) -> Browser:
        """Open a page, logged in."""
        self.browser.open(self.url + path)
        if self.browser.all("form.login"):
            self.browser.log_in(self.key)
            self.browser.open(self.url + path)
            # That it asked for the key was a 401.
            self.browser.complaints()
            self.browser.answered()
        return self.browser


@pytest.fixture(scope="package", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a site of each kind."""
    driver.require()
    home = tmp_path_factory.mktemp("home")
    recorded = record(home / "root" / "run", [1.0, 2.0, 3.0], videos=[0])
    for path in recorded.glob("*.mp4"):
        path.write_bytes(film())
    key = KEY if "key" in request.param else ""
    options = (
        "--results-root",
        str(home / "root"),
        "--import",
        "ale_py",
        "--import",
        "tests.support.troublemakers",
        "--trusted-proxy",
        "127.0.0.1",
        *(("--api-key", KEY) if key else ()),
    )
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(*options))
        server.key = key
        evaluation = server.post("/v1/upload/", {"training_dir": str(recorded), "api_key": "none"}).json[
            "evaluation_id"
        ]
        # While the libraries are asked for the first time, their page is a 503 that loads again.
        assert server.get("/v1/registry/").status == 200
        url = server.url
        if "path" in request.param:
            nginx.require()
            (home / "nginx").mkdir()
            url = stack.enter_context(nginx.proxying(home / "nginx", url, "/gym"))
        browser = stack.enter_context(browsing(home))
        yield Site(url, key, server, browser, evaluation, home)


@pytest.fixture(autouse=True)
def _without_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where the browser complains: of its policy, a script's error, or a file that is not there."""
    if "site" not in request.fixturenames:
        yield
        return
    site: Site = request.getfixturevalue("site")
    site.browser.complaints()
    site.browser.answered()
    yield
    assert site.browser.complaints() == []


def client_of(site: Site) -> Client:
    """Return a client with the key."""
    return Client(site.server.url, api_key=site.key or None)


def expect_refusal(site: Site, status: int) -> None:
    """Take the browser's complaint that a page was a refusal, and nothing else."""
    complaints = site.browser.complaints()
    assert complaints
    assert all(f"status of {status}" in each for each in complaints), complaints
