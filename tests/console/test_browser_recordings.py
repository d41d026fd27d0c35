"""Recordings in Chromium, with a key and under a path: from an instance to its recording, its episodes and its files."""

from __future__ import annotations

import io
import zipfile

import pyarrow.parquet
import pytest

from ..support import driver
from .conftest import Site, client_of
from .test_browser_accessibility import check

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["key under a path"], indirect=True)]

PICTURE = "return document.querySelector('#frame canvas')?.toDataURL()"


def test_a_recording_is_reached_from_its_instance(site: Site) -> None:
    """While it is live, and after that is lost or closed, without an upload."""
    with client_of(site) as client:
        env = client.create_env("tests/Troublemaker-v0", lease=None)["instance_id"]
        client.start_monitor(env, "runs/trouble", force=True, trajectories=True)
        client.reset_env(env)
        client.reset_env(env)  # which cuts an episode short
        directory = client.get_env(env)["recording"]
    browser = site.open(f"/instances/{env}")
    browser.until(lambda: any(each.text == directory for each in browser.all("#about a")), "no link to the recording")
    browser.link(directory).click()
    browser.until(lambda: browser.heading == "tests/Troublemaker-v0", "the link leads elsewhere")
    assert "1 episode." in browser.find(".trajectories").text
    browser.open(f"{site.url}/instances/{env}")
    browser.find("#about dd")
    assert site.server.post(f"/v1/envs/{env}/step/", {"action": "exit 3"}).status == 502
    browser.until(lambda: browser.find("#kept").is_displayed(), "the lost instance leads nowhere")
    browser.submit("#kept")
    assert browser.heading == "tests/Troublemaker-v0"
    site.server.post(f"/v1/envs/{env}/close/")
    browser.open(f"{site.url}/instances/{env}")
    browser.link("Its recording").click()
    browser.until(lambda: browser.heading == "tests/Troublemaker-v0", "the closed instance leads nowhere")
    assert all("status of 410" in each for each in browser.complaints())


def test_its_episodes_are_stepped_through_and_downloaded(site: Site) -> None:
    """From the list of recordings on; frames are drawn again, and the files are those that the operations give."""
    driver.require(axe=True)
    with client_of(site) as client:
        env = client.create_env("CartPole-v1", lease=None, render_mode="rgb_array")["instance_id"]
        client.start_monitor(env, "runs/cart pole & more", force=True, trajectories=True)
        client.rollout(env, policy="random", episodes=2, seed=3)
        directory = client.get_env(env)["recording"]
    browser = site.open("/")
    browser.link("Recordings").click()
    check(browser)
    browser.link(directory).click()
    browser.find("#trajectories")
    check(browser)
    browser.link("Step through the recorded episodes").click()
    browser.until(lambda: browser.run(PICTURE), "no frame")
    first = browser.run(PICTURE)
    browser.click("#last")
    browser.until(lambda: "terminated" in browser.find("#where").text, "the end is not shown")
    browser.until(lambda: browser.run(PICTURE) not in (None, first), "the frame does not change")
    with client_of(site) as client:
        states = client.get_recorded_episode(directory, 0, count=1000)["states"]
    shown = [float(each.text) for each in browser.all("#observation > div > :last-child")]
    assert shown == pytest.approx(states[-1]["observation"], rel=1e-3)
    browser.link("Episode 1").click()
    browser.until(lambda: browser.heading.startswith("Episode 1"), "there is no next episode")
    browser.until(lambda: browser.run(PICTURE), "no frame")
    browser.open(f"{site.url}/recordings")
    browser.link(directory).click()
    browser.find("#trajectories")
    for link, name, file in (
        ("Download all files", "cart_pole___more.zip", "openaigym."),
        ("Download as a dataset", "cart_pole___more-parquet.zip", "steps.parquet"),
    ):
        browser.link(link).click()
        path = site.downloads / name
        browser.until(path.exists, f"{name} did not come")
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert archive.testzip() is None
            [found, *_] = [each for each in archive.namelist() if each.startswith(file)]
            if found.endswith(".parquet"):
                assert pyarrow.parquet.read_table(io.BytesIO(archive.read(found))).num_rows > len(states)
