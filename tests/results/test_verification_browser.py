"""Verified scores and recorded episodes in Chromium: the badge and its button, and stepping through an episode."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..console.test_browser_accessibility import check
from ..support import driver
from ..support.driver import DESKTOP, Browser, browsing
from ..support.serving import Server
from .test_verification import change_stats, record, upload

pytestmark = pytest.mark.browser

KEY = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server with a key, and an evaluation with trajectories for each of its tests."""
    with Server("--results-root", str(root), "--upload-to", str(root / "kept"), "--api-key", KEY) as running:
        running.key = KEY
        running.right = upload(running, record(running, "right"), algorithm_id="right")
        record(running, "forged")
        change_stats(root / "forged", episode_rewards=lambda values: [500.0, *values[1:]])
        running.forged = upload(running, "forged", algorithm_id="forger")
        running.text = upload(running, record(running, "text", "FrozenLake-v1", render_mode="ansi"))
        yield running


@pytest.fixture(scope="module")
def browser(root: Path, server: Server) -> Iterator[Browser]:
    """A browser that is logged in."""
    driver.require(axe=True)
    with browsing(root) as running:
        running.resize(DESKTOP)
        running.open(server.url)
        running.log_in(KEY)
        running.complaints()  # the 401 that asks for the key
        yield running


def states(server: Server, evaluation: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return server.get(f"/v1/evaluations/{evaluation['evaluation_id']}/episodes/{number}/?count=1000").json["states"]


def test_the_button_earns_the_badge(browser: Browser, server: Server) -> None:
    """With a key set, too; the page says with what it was verified, and the scoreboard shows only such scores if asked."""
    page = f"{server.url}/scoreboard/{server.right['evaluation_id']}"
    browser.open(page)
    assert browser.all(".badge") == []
    browser.submit("#verify")
    assert browser.find(".badge").text == "verified"
    assert "gave the same to the bit" in browser.find("#verdict").text
    assert "gymnasium" in browser.find("#verdict").text
    check(browser)
    browser.open(f"{server.url}/scoreboard?verified=1")
    assert {each.text for each in browser.all(".evaluations .env a")} == {"right"}
    check(browser)
    assert browser.complaints() == []


def test_a_forged_score_is_told_apart(browser: Browser, server: Server) -> None:
    """No badge, and the reason."""
    browser.open(f"{server.url}/scoreboard/{server.forged['evaluation_id']}")
    browser.submit("#verify")
    assert browser.all(".badge") == []
    assert "Different in episode 0" in browser.find("#verdict").text
    assert "a return of 500" in browser.find("#verdict").text
    assert browser.complaints() == []


def test_an_episode_is_stepped_through(browser: Browser, server: Server) -> None:
    """By buttons, keys, slider and play: frame and values are those of the step."""
    browser.resize(DESKTOP)
    browser.open(f"{server.url}/scoreboard/{server.right['evaluation_id']}")
    browser.link("Step through the recorded episodes").click()
    recorded = states(server, server.right, 0)
    end = len(recorded) - 1

    def shows(step: int) -> bool:
        words = browser.find("#where").text
        action = browser.find("#action").text
        expected = f"{recorded[step]['action']}" if step else "none, this is the reset"
        return words.startswith(f"{step} of {end}") and action == expected

    browser.find("#frame canvas")
    browser.until(lambda: shows(0), "the reset is not shown")
    browser.click("#on")
    browser.until(lambda: shows(1), "no step on")
    body = browser.find("body")
    for key, step in (("\ue014", 2), ("\ue012", 1), ("\ue010", end), ("\ue011", 0)):
        body.send_keys(key)
        browser.until(lambda step=step: shows(step), f"step {step} is not shown")
    browser.run("const s = document.getElementById('slider'); s.value = 3; s.dispatchEvent(new Event('input'))")
    browser.until(lambda: shows(3), "the slider leads nowhere")
    shown = [float(each.text) for each in browser.all("#observation > div > :last-child")]
    assert shown == pytest.approx(recorded[3]["observation"], rel=1e-3)
    browser.run("document.getElementById('rate').value = '30'")
    browser.click("#play")
    browser.until(lambda: shows(end) and browser.find("#play").text == "Play", "it does not play to its end")
    assert "terminated" in browser.find("#where").text
    check(browser)
    assert browser.complaints() == []


def test_a_text_is_shown_as_a_text(browser: Browser, server: Server) -> None:
    """So are the frames of an environment that renders text."""
    browser.open(f"{server.url}/scoreboard/{server.text['evaluation_id']}/episodes/1")
    assert "SFFF" in browser.find("#frame pre").text.replace("\n", "")
    check(browser)
    assert browser.complaints() == []


def test_the_files_are_downloaded(browser: Browser, server: Server, root: Path) -> None:
    """The link gives the person who is logged in what the operation gives a program."""
    browser.open(f"{server.url}/scoreboard/{server.right['evaluation_id']}")
    browser.link("Download all files").click()
    file = root / f"{server.right['evaluation_id']}.zip"
    browser.until(file.exists, "no file came")
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        assert archive.testzip() is None
        assert "evaluation.json" in archive.namelist()
        assert any(name.endswith(".zst") for name in archive.namelist())
