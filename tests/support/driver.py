"""Chromium driven by Selenium with Debian's chromedriver: what a person does on a page, and what the browser complains of."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 90
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
AXE = os.environ.get("AXE_CORE", "")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
PHONE = (390, 844)
DESKTOP = (1280, 900)


def require(*, axe: bool = False) -> None:
    """Skip where a browser, or axe-core, is missing."""
    missing = [name for name, path in (("chromium", CHROMIUM), ("chromedriver", CHROMEDRIVER)) if path is None]
    missing += ["axe-core (AXE_CORE names its axe.min.js)"] if axe and not AXE else []
    if missing:
        # Where CI installs them, their absence is a mistake of ours.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")


class Browser:
    """One window of a browser with an empty profile.

    Args:
        driver: Selenium's.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    @property
    def url(self) -> str:
        return self.driver.current_url

    @property
    def heading(self) -> str:
        return self.find("h1").text

    def find(self, selector: str) -> WebElement:
        """Return the first element of a CSS selector, once it is there."""
        return self.until(lambda: next(iter(self.all(selector)), None), f"no {selector}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        return self.driver.find_element(By.LINK_TEXT, text)

    def click(self, selector: str) -> None:
        """Click an element, once it is shown."""
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.until(element.is_enabled, f"{selector} is not enabled")
        element.click()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: Callable[[], Any], message: str) -> Any:
        """Wait until a condition holds; an element that the page replaces meanwhile is looked for again."""
        wait = WebDriverWait(self.driver, SECONDS, 0.05, [StaleElementReferenceException])
        try:
            return wait.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"{message} on {self.url}") from None

    def submit(self, selector: str) -> None:
        """Click a button that leads to another page, and wait for that."""
        page = self.find("html")
        self.click(selector)
        self.until(lambda: is_gone(page), "no other page came")

    def log_in(self, key: str) -> None:
        self.find("#key").send_keys(key)
        self.submit(".login button")

    def complaints(self) -> list[str]:
        """Return what the browser wrote to its console since this was asked last, violations of a policy included."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def answered(self) -> list[tuple[str, int]]:
        """Return address and status of every reply since this was asked last."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        replies = (each["params"]["response"] for each in messages if each["method"] == "Network.responseReceived")
        return [(each["url"], each["status"]) for each in replies if each["url"].startswith("http")]

    def links(self) -> set[str]:
        """Return the addresses that the page links to, without their fragments."""
        found: list[str] = self.run("return Array.from(document.querySelectorAll('a[href]'), (each) => each.href)")
        return {each.partition("#")[0] for each in found}

    def findings(self) -> list[str]:
        """Return the critical and serious findings of axe-core on the page as it is."""
        # Colours on their way to others are none that the page is meant to have.
        self.run(
            "document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime !== Infinity)"
            ".forEach((each) => each.finish())"
        )
        self.run(Path(AXE).read_text(encoding="utf-8"))
        violations = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations))"
        )
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:160]} {node['failureSummary'][:200]}"
            for each in violations
            if each["impact"] in ("critical", "serious")
            for node in each["nodes"]
        ]

    def resize(self, size: tuple[int, int], *, dark: bool = False) -> None:
        """Be a screen of that size, in light or dark."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    @property
    def overflow(self) -> int:
        """How many pixels the page is wider than the screen."""
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def is_gone(element: WebElement) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        # While one document follows another, the driver passes on what the browser says of it.
        if "does not belong to the document" not in str(error):
            raise
        return True
    return False


@contextlib.contextmanager
def browsing(home: Path) -> Iterator[Browser]:
    """Run a browser; its profile and downloads lie in `home`."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={home}/profile"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(home)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
