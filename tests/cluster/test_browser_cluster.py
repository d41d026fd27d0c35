"""The home page of a router in a browser: its cluster, in every look, with a shard that is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ..support import driver
from ..support.cluster import TestCluster
from ..support.driver import DESKTOP, PHONE, Browser, browsing

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    driver.require(axe=True)
    with browsing(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_cluster_is_for_everybody(browser: Browser, size: tuple[int, int]) -> None:
    """It fits, has no finding, and names each shard, its node and what became of it; the page of an instance works."""
    with TestCluster(2) as cluster:
        kept = cluster.router.create(name="kept", render_mode="rgb_array")
        cluster.router.post(f"{kept}/reset/")
        cluster.router.create(name="another")
        live, lost = sorted(cluster.prefixes, key=lambda prefix: not kept.split("/")[3].startswith(prefix))
        cluster.shards[lost].kill()
        end, html = time.monotonic() + 30.0, {"Accept": "text/html"}
        while "has ended" not in cluster.router.get("/", headers=html, check=False).body.decode():
            assert time.monotonic() < end
            time.sleep(0.1)
        for dark in (False, True):
            browser.resize(size, dark=dark)
            browser.open(cluster.router.url)
            assert browser.overflow == 0
            assert browser.findings() == []
        text = browser.find("#live").text
        assert f"node-{live}" in text
        assert "has ended" in text
        browser.open(f"{cluster.router.url}/instances/{kept.split('/')[3]}")
        browser.find("#frames canvas")
        assert browser.findings() == []
