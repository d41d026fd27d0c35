"""Watching in Chromium, with a key and without, at the root and under a path: an agent, lanes, a text, a loss, and all at once."""

from __future__ import annotations

import re

import ale_py
import gymnasium
import pytest

from gym_http_server.client import ServerProblem

from ..support.twins import Twin
from .conftest import Site, client_of, expect_refusal

pytestmark = pytest.mark.browser

gymnasium.register_envs(ale_py)

HIDE = (
    "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
    "document.dispatchEvent(new Event('visibilitychange'))"
)
ASKED = "return performance.getEntriesByType('resource').filter((each) => each.name.includes('/v1/envs/')).length"
BUSY = (
    "const done = arguments[arguments.length - 1];"
    "(async () => { for (let n = 0; n < 40; n++) await fetch(arguments[0]); })().then(done)"
)
NOTHING = "\N{EN DASH}"
PICTURE = "return document.querySelector('#frames canvas')?.toDataURL()"


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Pong-v5"])
def test_an_agent_is_watched(site: Site, env_id: str) -> None:
    """While it trains, its page shows new frames and numbers; its trajectory is that of a twin that nobody watches."""
    agent = Twin(site.server, env_id, render_mode="rgb_array")
    agent.start()
    browser = site.open(f"/instances/{agent.instance_id}")
    pictures: set[str] = set()
    steps: set[str] = set()
    for _ in range(4):
        pictures.add(browser.until(lambda: {browser.run(PICTURE)} - {None, *pictures}, "no new frame").pop())
        steps.add(browser.until(lambda: {browser.find("#steps").text} - {NOTHING, *steps}, "no new number").pop())
    browser.find("#action meter")
    if env_id == "CartPole-v1":
        browser.find("#curve svg")
        browser.until(lambda: len(browser.all("#observation meter")) == 2, "no bars of the bounded numbers")
        browser.until(lambda: "stepEnv" in browser.find("#traffic").text, "no requests")
    else:
        browser.until(
            lambda: re.search("FIRE|NOOP|RIGHT|LEFT", browser.find("#action").text), "no meaning of the action"
        )
        shape = "array of 210 \N{MULTIPLICATION SIGN} 160"
        browser.until(lambda: shape in browser.find("#observation").text, "no shape of the observation")
    agent.check()
    browser.open(f"{site.url}/")
    agent.stop()


def test_a_hidden_page_asks_for_nothing(site: Site) -> None:
    """While its tab is hidden no frame is asked for; shown again, it goes on. A text has its colours; a closing is told."""
    with client_of(site) as client:
        env = client.create_env("FrozenLake-v1", render_mode="ansi")["instance_id"]
        browser = site.open(f"/instances/{env}")
        client.reset_env(env)
        browser.until(lambda: browser.find("#frames pre .sgr41").text == "S", "no text")
        browser.find("#about dd")  # what the page asks for at its beginning is asked for
        browser.run(HIDE, True)
        counts: list[int] = []
        browser.until(
            lambda: counts.append(browser.run(ASKED)) or (len(counts) > 9 and len(set(counts[-9:])) == 1), "it asks on"
        )
        browser.driver.execute_async_script(BUSY, f"{site.url}/v1/health/")
        assert browser.run(ASKED) == counts[-1]
        client.step_env(env, 2)
        browser.run(HIDE, False)
        browser.until(lambda: browser.find("#length").text == "1", "it does not go on")
        client.close_env(env)
        browser.until(lambda: "closed" in browser.heading, "it does not tell that it is closed")
    assert "a client closed it" in browser.find(".lead").text
    expect_refusal(site, 400)


def test_lanes_are_watched(site: Site) -> None:
    """Each lane has its frame and its return, and the numbers are those of the lane that was chosen."""
    with client_of(site) as client:
        env = client.create_env("CartPole-v1", num_envs=3, render_mode="rgb_array")["instance_id"]
        client.reset_batch(env)
        client.step_batch(env, [0, 1, 0])
        browser = site.open(f"/instances/{env}")
        browser.until(lambda: len(browser.all("#frames canvas")) == 3, "there are no frames")
        captions = [each.text for each in browser.all("#frames figcaption")]
        assert captions == [f"Lane {lane}: 1 after 1 steps" for lane in range(3)]
        browser.until(lambda: browser.find("#action").text.endswith("0"), "there is no action")
        browser.run("document.getElementById('lane').value = 1")
        browser.until(lambda: browser.find("#action").text.endswith("1"), "the lane was not changed")
        browser.open(f"{site.url}/")
        client.close_env(env)


def test_a_lost_instance_says_its_last_words(site: Site) -> None:
    """Its page stays, tells how it ended, and can close it, after a question."""
    with client_of(site) as client:
        env = client.create_env("tests/Troublemaker-v0", name="fragile", kwargs={"construct": ""})["instance_id"]
        client.reset_env(env)
        browser = site.open(f"/instances/{env}")
        browser.until(lambda: browser.find("#length").text == "0", "it does not show the reset")
        with pytest.raises(ServerProblem):
            client.step_env(env, "exit 3")
        browser.until(lambda: "exit code 3" in browser.find("#lost").text, "it does not say why")
        browser.complaints()  # of the 410
        browser.click("#close")
        browser.submit("#really")
        assert "It had been lost before" in browser.find("main").text
        browser.driver.find_element("link text", "Make another one").click()
        browser.until(lambda: browser.find("#env_id").get_property("value") == "tests/Troublemaker-v0", "not the same")
        assert browser.find("#name").get_property("value") == "fragile"
        assert browser.find("#kwargs").get_property("value") == '{"construct": ""}'


def test_all_are_watched_at_once(site: Site) -> None:
    """The mosaic shows the instances that render, those that a word names, and leads to the page of each, where it is renamed."""
    with client_of(site) as client:
        browser = site.open("/watch")
        named = {"name": "baseline", "labels": {"owner": "ada"}}
        made = client.create_env("CartPole-v1", render_mode="rgb_array", **named)["instance_id"]
        other = client.create_env("FrozenLake-v1", render_mode="ansi")["instance_id"]
        client.reset_env(made)
        client.reset_env(other)
        browser.find(f"[data-instance='{made}'] canvas")
        browser.find(f"[data-instance='{other}'] pre")
        browser.find("#filter input").send_keys("ADA")
        assert [each.get_attribute("data-instance") for each in browser.all(".tile:not([hidden])")] == [made]
        browser.submit(f"[data-instance='{made}']")
        browser.find("#name").clear()
        browser.find("#name").send_keys("renamed")
        browser.click("#rename button")
        browser.until(lambda: browser.heading.startswith("renamed"), "it is not renamed")
        assert client.get_env(made)["name"] == "renamed"
        browser.open(f"{site.url}/")
        client.close_env(made)
        client.close_env(other)
