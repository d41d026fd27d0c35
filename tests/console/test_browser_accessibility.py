"""The pages on a phone and on a desk, in light and dark: they fit, and axe-core finds nothing critical, and no contrast too low."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support import driver
from ..support.driver import DESKTOP, PHONE, Browser, browsing
from ..support.recordings import record
from ..support.serving import Server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def browser(home: Path) -> Iterator[Browser]:
    driver.require(axe=True)
    with browsing(home) as running:
        yield running


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """A server with something on every page."""
    with Server("--results-root", str(home)) as running:
        recorded = record(home / "run", [1.0, 2.0, 3.0], videos=[0])
        answer = running.post("/v1/upload/", {"training_dir": str(recorded), "api_key": "none"})
        running.evaluation = answer.json["evaluation_id"]
        running.names = {"evaluation": running.evaluation}
        for name, options in (("instance", {}), ("batch", {"num_envs": 2}), ("closed", {})):
            env = running.create(
                "CartPole-v1", name="baseline", labels={"owner": "ada"}, render_mode="rgb_array", **options
            )
            running.post(f"{env}/batch/reset/" if options else f"{env}/reset/")
            running.names[name] = env.rsplit("/", 1)[1]
        running.post(f"/v1/envs/{running.names['instance']}/rollout/", {"policy": "random", "episodes": 3})
        running.post(f"/v1/envs/{running.names['closed']}/close/")
        assert running.get("/v1/registry/").status == 200
        yield running


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with Server("--api-key", "correct-horse-battery-staple") as running:
        yield running


LOOKS = [(size, dark) for size in (DESKTOP, PHONE) for dark in (False, True)]
PAGES = (
    *("/", "/environments?q=cart", "/scoreboard", "/scoreboard/{evaluation}", "/contract", "/nowhere", "/ui/"),
    *(
        "/watch",
        "/instances/{instance}",
        "/instances/{batch}",
        "/instances/{closed}",
        "/instances/new?env_id=CartPole-v1",
    ),
    *("/manual", "/manual/settings", "/manual/recording-and-results", "/manual?q=snapshot", "/manual?q=zebra"),
)


def check(browser: Browser) -> None:
    """Hold the page that is open against what every page keeps, in each look."""
    for size, dark in LOOKS:
        browser.resize(size, dark=dark)
        assert browser.overflow == 0, (size, dark)
        assert browser.findings() == [], (size, dark)
        width = browser.run("return document.documentElement.clientWidth")
        assert abs(width - size[0]) < 20


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_for_everybody(browser: Browser, server: Server, path: str) -> None:
    """It fits the screen, scrolls in one direction, and has no finding; its frame leads to the other pages."""
    browser.open(server.url + path.format(**server.names))
    if path == "/ui/":
        browser.find(".opblock")
    if path in ("/instances/{instance}", "/instances/{batch}"):
        browser.find("#frames canvas")
        browser.find("#about dd")
    check(browser)
    links = {each.text for each in browser.all(".top nav a")}
    assert {"Home", "Watch", "Environments", "Scoreboard", "Recordings", "API", "Contract", "Manual"} <= links


def test_a_heading_has_the_whole_width(browser: Browser, server: Server) -> None:
    """The name of an evaluation stands on one line where there is room for it."""
    browser.resize(DESKTOP)
    browser.open(f"{server.url}/scoreboard/{server.evaluation}")
    widths = "return [document.querySelector('h1').offsetWidth, document.querySelector('.facts').offsetWidth]"
    heading, facts = browser.run(widths)
    assert heading == facts


def test_the_form_is_for_everybody(browser: Browser, locked: Server) -> None:
    """So is the one that takes the key, the wrong one too."""
    browser.open(locked.url)
    check(browser)
    browser.log_in("wrong")
    check(browser)


def test_an_operation_is_for_everybody(browser: Browser, server: Server) -> None:
    """So is the API page with an operation that was tried out, and the dialog that takes the key."""
    browser.resize(DESKTOP)
    browser.open(f"{server.url}/ui/")
    place = "#operations-instances-createEnv"
    browser.click(f"{place} .opblock-summary-control")
    browser.click(f"{place} .try-out button")
    browser.click(f"{place} .execute")
    browser.find(f"{place} .live-responses-table")
    check(browser)
    browser.click(".btn.authorize")
    browser.find(".modal-ux input")
    check(browser)


def test_a_finding_would_be_seen(browser: Browser, server: Server) -> None:
    """What finds nothing on our pages finds a button without a name, and text that is hard to read."""
    browser.resize(DESKTOP)
    browser.open(f"{server.url}/")
    browser.run(
        "document.querySelector('main').append(document.createElement('button'));"
        "document.querySelector('h1').style.color = '#bbb'"
    )
    found = " ".join(browser.findings())
    assert "button-name (critical)" in found
    assert "color-contrast" in found
