"""Making instances and playing them as a person does, with a key and under a path: by form, keys, sliders and touch, beside an agent."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from gym_http_server.client import Client, InstanceHeld, RemoteEnv
from gym_http_server.results.trajectories import open_trajectories

from ..support import driver, nginx
from ..support.driver import DESKTOP, PHONE, Browser, browsing
from ..support.serving import SECONDS, Server

pytestmark = pytest.mark.browser

KEY = "correct-horse-battery-staple"


class Person:
    """A person who has logged in, and a client that looks at the instance from outside."""

    def __init__(self, server: Server, url: str, browser: Browser, root: Path) -> None:
        self.server = server
        self.url = url
        self.browser = browser
        self.client = Client(server.url, api_key=KEY)
        self.root = root
        self.instance_id = ""

    def make(self, env_id: str, **options: Any) -> None:
        """Have an instance made, and its page open."""
        self.instance_id = self.client.create_env(env_id, **options)["instance_id"]
        self.browser.open(f"{self.url}/instances/{self.instance_id}")

    def take(self, button: str = "take") -> None:
        """Take the instance over, and begin an episode."""
        self.browser.click(f"#play-{button}")
        self.sees("#play-holder", "You play")
        self.reset()

    def reset(self) -> None:
        self.browser.click("#play-reset")
        self.hears("A new episode")

    def press(self, *keys: str) -> None:
        for key in keys:
            before = self.shown("steps")
            ActionChains(self.browser.driver).send_keys(key).perform()
            self.browser.until(lambda before=before: self.shown("steps") != before, f"{key!r} was no step")

    def shown(self, name: str) -> str:
        return self.browser.find(f"#play-{name}").text

    def hears(self, words: str) -> None:
        """Wait for what a screen reader says."""
        self.browser.until(lambda: words in self.shown("said"), f"{words!r} is not said, but {self.shown('said')!r}")

    def sees(self, selector: str, words: str) -> None:
        self.browser.until(lambda: words in self.browser.find(selector).text, f"{selector} does not say {words!r}")

    @property
    def live(self) -> dict[str, Any]:
        return self.server.get(f"/v1/envs/{self.instance_id}/live/").json["lanes"][0]

    @property
    def hold(self) -> dict[str, Any] | None:
        return self.client.get_env(self.instance_id)["hold"]


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    driver.require()
    home = tmp_path_factory.mktemp("home")
    options = ("--api-key", KEY, "--results-root", str(home / "root"), "--upload-to", str(home / "up"))
    imports = ("--import", "ale_py", "--import", "tests.support.troublemakers")
    nginx.require()
    (home / "nginx").mkdir()
    with (
        Server(*options, *imports, "--trusted-proxy", "127.0.0.1") as server,
        nginx.proxying(home / "nginx", server.url, "/gym") as url,
        browsing(home) as browser,
    ):
        server.key = KEY
        assert server.get("/v1/registry/").status == 200
        browser.open(f"{url}/instances/new")
        browser.log_in(KEY)
        person = Person(server, url, browser, home / "root")
        with person.client:
            yield person


@pytest.fixture(autouse=True)
def _without_complaints(person: Person) -> Iterator[None]:
    """Fail where the browser complains of its policy or of an error, and leave no instance."""
    person.browser.resize(DESKTOP)
    person.browser.complaints()
    yield
    assert person.browser.complaints() == []
    person.browser.open("about:blank")
    for instance_id in person.client.list_envs():
        person.client.close_env(instance_id)


def test_a_frozen_lake_is_made_and_walked_over_by_keys(person: Person) -> None:
    """From the list by the form to the goal, recorded as a dataset; the arrows act instead of scrolling, until it is given back."""
    browser = person.browser
    browser.open(f"{person.url}/environments?q=FrozenLake-v1")
    browser.submit("a.make-one[href*='FrozenLake-v1']")
    person.sees(
        "#registered",
        'at most 100 steps; solved at 0.7; renders human, ansi, rgb_array; registered with the arguments {"map_name":"4x4"}',
    )
    browser.find("#kwargs").send_keys('{"is_slippery": false}')
    browser.find("#name").send_keys("a walk")
    browser.submit("#make-it")
    person.instance_id = browser.url.rsplit("/", 1)[1]
    browser.find("#play-name").send_keys("Ada")
    browser.click("#play-take")
    person.sees("#play-holder", "You play")
    assert (person.hold["mode"], person.hold["name"]) == ("exclusive", "Ada")
    browser.click("#play-record summary")
    browser.find("#play-directory").send_keys(str(person.root / "walk"))
    browser.click("#play-monitor")
    person.sees("#play-monitor", "Stop")
    person.reset()
    browser.run("document.getElementById('play').scrollIntoView()")
    place = browser.run("return scrollY")
    person.press(*[Keys.ARROW_RIGHT] * 2, *[Keys.ARROW_DOWN] * 3)
    assert browser.run("return scrollY") == place
    assert browser.run("return document.getElementById('play-frame').width") == 256
    person.press(Keys.ARROW_RIGHT)
    person.hears("The episode has ended after 6 steps with return 1")
    browser.click("#play-monitor")
    person.sees("#play-recorded", "Recorded 1 episodes")
    with open_trajectories(person.root / "walk") as recorded:
        [episode] = recorded
        assert (list(episode.actions), sum(episode.rewards)) == ([2, 2, 1, 1, 1, 2], 1.0)
    browser.click("#play-give")
    person.sees("#play-holder", "Nobody plays")
    assert person.hold is None
    browser.run("scrollTo(0, 0)")
    ActionChains(browser.driver).send_keys(Keys.ARROW_DOWN).perform()
    browser.until(lambda: browser.run("return scrollY") > 0, "the page does not scroll")


def test_an_error_stands_at_the_field_that_it_is_about(person: Person) -> None:
    """What is no JSON is told before it is sent, the constructor's own words after; the query fills the form in."""
    browser = person.browser
    wrappers = json.dumps([{"name": "TimeLimit", "kwargs": {"max_episode_steps": 3}}])
    browser.open(
        f"{person.url}/instances/new?env_id=CartPole-v1&seed=4&kwargs=%7B&labels=owner%3Dada&wrappers={wrappers}"
    )
    browser.click("#make-it")
    person.sees("#kwargs-wrong", "This is not JSON")
    assert browser.run("return document.activeElement.id") == "kwargs"
    browser.find("#kwargs").clear()
    browser.find("#kwargs").send_keys('{"gravity_of": 1}')
    browser.click("#make-it")
    person.sees("#kwargs-wrong", "gravity_of")
    assert browser.find("#problem").get_attribute("role") == "alert"
    browser.find("#kwargs").clear()
    browser.find("#env_id").clear()
    browser.find("#env_id").send_keys("CartPole-v77")
    browser.click("#make-it")
    person.sees("#env_id-wrong", "CartPole")
    # That they were refused are complaints.
    assert all("status of 400" in each for each in browser.complaints())
    browser.find("#env_id").clear()
    browser.find("#env_id").send_keys("CartPole-v1")
    browser.submit("#make-it")
    details = person.client.get_env(browser.url.rsplit("/", 1)[1])
    assert details["wrappers"] == [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 3}}]
    assert details["labels"] == {"owner": "ada"}


def test_a_cart_is_driven_by_a_held_key(person: Person) -> None:
    """While the clock runs a held key acts and nothing happens without one, as no action does nothing; the end stops the clock."""
    person.make("CartPole-v1", seed=1)
    person.take()
    Select(person.browser.find("#play-speed")).select_by_value("60")
    person.browser.click("#play-run")
    ActionChains(person.browser.driver).key_down(Keys.ARROW_RIGHT).perform()
    person.hears("The episode has ended")
    ActionChains(person.browser.driver).key_up(Keys.ARROW_RIGHT).perform()
    assert (person.live["terminated"], person.live["action"]) == (True, 1)
    assert person.shown("run") == "Start"
    assert person.live["length"] == int(person.shown("steps")) > 5


def test_pong_has_the_keys_of_its_own(person: Person) -> None:
    """The clock runs as it is made for the game: D is RIGHT, two keys are one action, and without a key it is NOOP."""
    person.make("ALE/Pong-v5")
    person.take()
    assert [each.text.split()[0] for each in person.browser.all("#play-actions button")][:2] == ["NOOP", "FIRE"]
    person.browser.click("#play-run")
    for key, action in (("d", 2), (Keys.SPACE, 4)):
        ActionChains(person.browser.driver).key_down(key).perform()
        person.browser.until(lambda action=action: person.live["action"] == action, f"{action} is not taken")
    ActionChains(person.browser.driver).key_up("d").key_up(Keys.SPACE).perform()
    person.browser.until(lambda: person.live["action"] == 0, "it does not stop acting")
    person.browser.click("#play-run")


def test_a_pendulum_is_swung_by_slider_and_touch(person: Person) -> None:
    """On a phone, the slider's value is the action of a step that a finger takes, and an arrow is the bound; nothing overflows."""
    browser = person.browser
    browser.resize(PHONE, dark=True)
    person.make("Pendulum-v1", seed=1)
    person.take("beside")
    assert browser.overflow <= 0
    browser.find("#play-actions input").send_keys(Keys.HOME)
    browser.run("document.getElementById('play-step').scrollIntoView({block: 'center'})")
    box = browser.run(
        "const b = document.getElementById('play-step').getBoundingClientRect(); return [b.x + 9, b.y + 9, b.height]"
    )
    assert box[2] >= 44
    for kind, points in (("touchStart", [{"x": box[0], "y": box[1]}]), ("touchEnd", [])):
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.until(lambda: person.shown("steps") == "1", "no step was taken")
    assert person.live["action"] == [-2.0]
    browser.run("document.getElementById('play-stage').focus()")
    person.press(Keys.ARROW_RIGHT)
    assert person.live["action"] == [2.0]
    assert person.hold["mode"] == "shared"


def test_an_agent_waits_while_a_person_plays_and_goes_on_where_it_was(person: Person) -> None:
    """Taken over it is told so; the person saves, plays, goes back and gives back, and the agent's trajectory is its twin's."""
    outcomes: tuple[list[Any], list[Any]] = ([], [])
    refusals: list[InstanceHeld] = []
    is_refused, is_over, may_go_on = threading.Event(), threading.Event(), threading.Event()

    def run(env: RemoteEnv, seen: list[Any]) -> None:
        seen.append(list(env.reset(seed=3)[0]))
        for step in range(8):
            while True:
                try:
                    seen.append(list(env.step(step % 2)[0]))
                    break
                except InstanceHeld as held:
                    refusals.append(held)
                    is_refused.set()
                    is_over.wait(held.retry_after)
            if step == 3:
                may_go_on.wait(SECONDS)

    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(RemoteEnv(person.server.url, "CartPole-v1", api_key=KEY)) for _ in range(2)]
        person.instance_id = made[0].instance_id
        person.browser.open(f"{person.url}/instances/{person.instance_id}")
        thread = threading.Thread(target=run, args=(made[0], outcomes[0]))
        thread.start()
        person.browser.until(lambda: person.live["length"] == 4, "the agent does not step")
        person.browser.click("#play-take")
        person.sees("#play-holder", "its agent waits")
        assert person.shown("steps") == "4"
        may_go_on.set()
        assert is_refused.wait(SECONDS)
        person.browser.click("#play-save")
        person.sees("#play-saved", "Saved after 4 steps")
        person.press("1", Keys.ARROW_LEFT)
        person.browser.click("#play-save")
        person.sees("#play-saved", "Saved after 6 steps, and before that after 4")
        person.press("1")
        for steps in (6, 4, 4):
            person.browser.click("#play-undo")
            person.browser.until(lambda steps=steps: person.live["length"] == steps, "it does not go back")
            person.hears(f"Back after {steps} steps")
        person.browser.click("#play-give")
        person.sees("#play-holder", "Nobody plays")
        is_over.set()
        thread.join(SECONDS)
        run(made[1], outcomes[1])
        person.browser.open("about:blank")
    assert outcomes[0] == outcomes[1]
    assert refusals[0].status == 409


def test_others_see_who_plays_and_can_end_it(person: Person) -> None:
    """Somebody else's hold is refused to the page with a reason, and ended by force; leaving a page gives back."""
    person.make("CartPole-v1")
    with Client(person.server.url, api_key=KEY) as other:
        other.hold_env(person.instance_id, name="Grace")
        person.sees("#play-holder", "Grace plays this instance")
        person.browser.click("#play-take")
        person.sees("#play-problem", "Grace plays this instance")
        assert all("status of 409" in each for each in person.browser.complaints())
        person.browser.click("#play-force")
        person.sees("#play-holder", "Nobody plays")
    person.take()
    assert person.hold is not None
    person.browser.open(f"{person.url}/instances/new")
    person.browser.until(lambda: person.hold is None, "leaving the page does not give back")


def test_any_action_space_has_a_form_and_what_cannot_be_saved_says_why(person: Person) -> None:
    """Dict, Tuple and all inside them are fields, the rest is JSON; a button whose operation is refused for good tells the reason."""
    person.make("tests/Everything-v0")
    person.take()
    sampled = person.client.sample_action(person.instance_id)
    for label in person.browser.all("#play-actions label:has(textarea)"):
        name = label.find_element("css selector", "span").text.partition(",")[0]
        label.find_element("css selector", "textarea").send_keys(json.dumps(sampled[name]))
    person.browser.click("#play-step")
    person.browser.until(lambda: person.shown("steps") == "1", "no step was taken")
    assert person.live["action"]["discrete"] == -2
    assert person.live["action"]["one_of"] == sampled["one_of"]
    person.browser.click("#play-give")
    person.sees("#play-holder", "Nobody plays")
    person.make("tests/Holder-v0", kwargs={"holds": "thread"})
    person.take()
    person.browser.click("#play-save")
    person.sees("#play-saved", "thread")
    assert not person.browser.find("#play-save").is_enabled()
    assert all("status of 409" in each for each in person.browser.complaints())
    person.make("CartPole-v1", num_envs=2)
    assert "cannot play" in person.browser.find("#play").text


def test_the_panel_is_for_everybody_while_it_is_played(person: Person) -> None:
    """Axe-core has no serious finding on the panel and on a filled form, narrow and dark too, and nothing overflows."""
    driver.require(axe=True)
    browser = person.browser
    for size, is_dark in ((DESKTOP, False), (PHONE, True)):
        browser.resize(size, dark=is_dark)
        browser.open(f"{person.url}/instances/new?env_id=CartPole-v1&wrappers=[{{%22name%22:%22TimeLimit%22}}]")
        person.sees("#registered", "at most 500 steps")
        assert (browser.findings(), browser.overflow) == ([], 0)
        person.make("CartPole-v1")
        person.take()
        person.press("1")
        assert (browser.findings(), browser.overflow) == ([], 0)
